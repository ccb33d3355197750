"""Text from an exported GPT-Neo, on numpy and ONNX Runtime alone.

Names are imported when they are first used: the command line needs few of them, and --help none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import (
    DeviceError,
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
)
from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime

if TYPE_CHECKING:
    from gptneo_onnx.runtime.base_model import BaseModelOutput, GPTNeoModel
    from gptneo_onnx.runtime.engine.engine import Engine
    from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
    from gptneo_onnx.runtime.generation import (
        AsyncTextIteratorStreamer,
        GenerateBeamDecoderOnlyOutput,
        GenerateDecoderOnlyOutput,
        GenerationConfig,
        GenerationMode,
        LogitsProcessorList,
        StoppingCriteriaList,
        Streamer,
        StructuredOutput,
        SynthIDTextWatermarkingConfig,
        TextIteratorStreamer,
        TextStreamer,
        WatermarkingConfig,
    )
    from gptneo_onnx.runtime.generation.noise import set_seed
    from gptneo_onnx.runtime.heads import (
        GPTNeoForQuestionAnswering,
        GPTNeoForSequenceClassification,
        GPTNeoForTokenClassification,
        QuestionAnsweringModelOutput,
        SequenceClassifierOutput,
        TokenClassifierOutput,
    )
    from gptneo_onnx.runtime.model_output import CausalLMOutput
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
    from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline
    from gptneo_onnx.runtime.pipelines.pipeline import pipeline
    from gptneo_onnx.runtime.pipelines.question_answering import QuestionAnsweringPipeline
    from gptneo_onnx.runtime.pipelines.text_classification import TextClassificationPipeline
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
    from gptneo_onnx.runtime.pipelines.token_classification import TokenClassificationPipeline
    from gptneo_onnx.runtime.tokenizer import Tokenizer

__all__ = [
    "AsyncTextIteratorStreamer",
    "BaseModelOutput",
    "CausalLMOutput",
    "DeviceError",
    "Engine",
    "FeatureExtractionPipeline",
    "GPTNeoForCausalLM",
    "GPTNeoForQuestionAnswering",
    "GPTNeoForSequenceClassification",
    "GPTNeoForTokenClassification",
    "GPTNeoModel",
    "GPTNeoOnnxError",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput",
    "GenerationConfig",
    "GenerationMode",
    "InputError",
    "LogitsProcessorList",
    "MissingDependencyError",
    "ModelFileError",
    "PromptCache",
    "QuestionAnsweringModelOutput",
    "QuestionAnsweringPipeline",
    "SequenceClassifierOutput",
    "StoppingCriteriaList",
    "Streamer",
    "StructuredOutput",
    "SynthIDTextWatermarkingConfig",
    "TextClassificationPipeline",
    "TextGenerationPipeline",
    "TextIteratorStreamer",
    "TextStreamer",
    "TokenClassificationPipeline",
    "TokenClassifierOutput",
    "Tokenizer",
    "WatermarkingConfig",
    "pipeline",
    "set_seed",
]

# The module of each name above that is imported on first use.
_MODULES = {
    "AsyncTextIteratorStreamer": "generation",
    "BaseModelOutput": "base_model",
    "CausalLMOutput": "model_output",
    "Engine": "engine.engine",
    "FeatureExtractionPipeline": "pipelines.feature_extraction",
    "GPTNeoForCausalLM": "modeling",
    "GPTNeoForQuestionAnswering": "heads",
    "GPTNeoForSequenceClassification": "heads",
    "GPTNeoForTokenClassification": "heads",
    "GPTNeoModel": "base_model",
    "GenerateBeamDecoderOnlyOutput": "generation",
    "GenerateDecoderOnlyOutput": "generation",
    "GenerationConfig": "generation",
    "GenerationMode": "generation",
    "LogitsProcessorList": "generation",
    "PromptCache": "engine.prompt_cache",
    "QuestionAnsweringModelOutput": "heads",
    "QuestionAnsweringPipeline": "pipelines.question_answering",
    "SequenceClassifierOutput": "heads",
    "StoppingCriteriaList": "generation",
    "Streamer": "generation",
    "StructuredOutput": "generation",
    "SynthIDTextWatermarkingConfig": "generation",
    "TextClassificationPipeline": "pipelines.text_classification",
    "TextGenerationPipeline": "pipelines.text_generation",
    "TextIteratorStreamer": "generation",
    "TextStreamer": "generation",
    "TokenClassificationPipeline": "pipelines.token_classification",
    "TokenClassifierOutput": "heads",
    "Tokenizer": "tokenizer",
    "WatermarkingConfig": "generation",
    "pipeline": "pipelines.pipeline",
    "set_seed": "generation.noise",
}
# Public as an attribute too, after nothing but `import gptneo_onnx.runtime`.
_SUBPACKAGES = ("generation",)

if not TYPE_CHECKING:  # type checkers see the imports above, and refuse names that are not there

    def __getattr__(name: str) -> Any:
        """Import a public name on first use.

        Raises:
            MissingDependencyError: ONNX Runtime is not installed.
        """
        if name in _SUBPACKAGES:
            require_onnx_runtime()
            return import_module(f"{__name__}.{name}")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        require_onnx_runtime()
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
