"""The arguments of pipelines for type checkers and editors: each name with its type.

The pipelines say what their own mean, GenerationConfig what those of generate() mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from gptneo_onnx.runtime.generation.argument_types import HookArguments
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.field_types import GenerationArguments
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.load_arguments import LoadArguments


class _BatchArguments(TypedDict, total=False):
    batch_size: int
    num_workers: int | None


class PipelineArguments(LoadArguments, total=False):
    """The arguments of pipeline() itself that are not in its signature."""

    batch_size: int
    model_kwargs: Mapping[str, Any] | None


class _OwnArguments(TypedDict, total=False):
    """The arguments of text generation that generate() has not; see CallArguments."""

    return_full_text: bool | None
    return_text: bool | None
    return_tensors: bool | None
    clean_up_tokenization_spaces: bool | None
    skip_special_tokens: bool | None
    prefix: str | None
    handle_long_generation: str | None
    stop_sequence: str | None
    continue_final_message: bool | None
    tokenizer_encode_kwargs: Mapping[str, Any] | None
    truncation: bool | str | None
    padding: bool | str | None
    add_special_tokens: bool | None


class _TextGeneration(GenerationArguments, HookArguments, _OwnArguments, total=False):
    streamer: Streamer | None


class TextGenerationCall(_TextGeneration, _BatchArguments, total=False):
    """The arguments of a call of TextGenerationPipeline."""

    generation_config: GenerationConfig | None
    assistant_model: Any


class FeatureCall(_BatchArguments, total=False):
    """The arguments of a call of FeatureExtractionPipeline."""

    pooling: str | None
    normalize: bool | None
    layer: int | None
    truncation: bool | None
    return_tensors: bool | str | None


class ClassificationCall(_BatchArguments, total=False):
    """The arguments of a call of TextClassificationPipeline."""

    top_k: int | None
    return_all_scores: bool | None
    function_to_apply: str | None
    truncation: bool | str | None
    max_length: int | None
    padding: bool | str | None


class EntityCall(_BatchArguments, total=False):
    """The arguments of a call of TokenClassificationPipeline."""

    aggregation_strategy: str | None
    ignore_labels: Sequence[str] | None
    stride: int | None


class AnswerCall(_BatchArguments, total=False):
    """The arguments of a call of QuestionAnsweringPipeline, but for question and context."""

    top_k: int | None
    doc_stride: int | None
    max_answer_len: int | None
    max_seq_len: int | None
    max_question_len: int | None
    handle_impossible_answer: bool | None
    align_to_words: bool | None
    padding: bool | str | None


class TextGenerationDefaults(_TextGeneration, PipelineArguments, total=False):
    """What pipeline("text-generation") takes besides: to load a model, and for every call."""


class FeatureDefaults(FeatureCall, PipelineArguments, total=False):
    """What pipeline("feature-extraction") takes besides."""


class ClassificationDefaults(ClassificationCall, PipelineArguments, total=False):
    """What pipeline("text-classification") takes besides."""


class EntityDefaults(EntityCall, PipelineArguments, total=False):
    """What pipeline("token-classification") takes besides."""


class AnswerDefaults(AnswerCall, PipelineArguments, total=False):
    """What pipeline("question-answering") takes besides."""
