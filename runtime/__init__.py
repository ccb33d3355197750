"""Text from an exported GPT-Neo, on numpy and ONNX Runtime alone."""

import sys
from pathlib import Path

from gptneo_onnx.models.errors import (
    DeviceError,
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
)

try:
    # What is left when one of two builds was uninstalled imports, but has nothing in it.
    from onnxruntime import InferenceSession  # noqa: F401
except ImportError as error:
    _message = (
        "running a model needs ONNX Runtime: pip install 'gptneo-onnx[cpu]', or 'gptneo-onnx[gpu]' "
        "for CUDA (not both: they overwrite each other; after that, uninstall both first)"
    )
    if Path(*sys.argv[:1]).stem == "gptneo-onnx":  # the command line shows a line, no traceback
        print(f"gptneo-onnx: error: {_message}", file=sys.stderr)
        raise SystemExit(2) from error
    raise MissingDependencyError(_message) from error

from gptneo_onnx.runtime.base_model import BaseModelOutput, GPTNeoModel
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation import (
    AsyncTextIteratorStreamer,
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
    GenerationConfig,
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
from gptneo_onnx.runtime.modeling import CausalLMOutput, GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline
from gptneo_onnx.runtime.pipelines.pipeline import pipeline
from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
from gptneo_onnx.runtime.tokenizer import Tokenizer

__all__ = [
    "AsyncTextIteratorStreamer",
    "BaseModelOutput",
    "CausalLMOutput",
    "DeviceError",
    "FeatureExtractionPipeline",
    "GPTNeoForCausalLM",
    "GPTNeoModel",
    "GPTNeoOnnxError",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput",
    "GenerationConfig",
    "InputError",
    "LogitsProcessorList",
    "MissingDependencyError",
    "ModelFileError",
    "PromptCache",
    "StoppingCriteriaList",
    "Streamer",
    "StructuredOutput",
    "SynthIDTextWatermarkingConfig",
    "TextGenerationPipeline",
    "TextIteratorStreamer",
    "TextStreamer",
    "Tokenizer",
    "WatermarkingConfig",
    "pipeline",
    "set_seed",
]
