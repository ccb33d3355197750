"""The arguments of generate() for type checkers and editors: each name with its type.

GenerationConfig says what its fields mean, generate() what the others do. A test compares the names
with those that generate() takes.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from numpy.typing import ArrayLike

from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.chain import PrefixAllowedTokens
from gptneo_onnx.runtime.generation.field_types import FieldArguments, ResultKind
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria


class HookArguments(TypedDict, total=False):
    """The arguments of generate() that no config has, and that pipelines take too."""

    logits_processor: Sequence[LogitsProcessor] | None
    stopping_criteria: Sequence[StoppingCriteria] | None
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None
    negative_prompt_ids: ArrayLike | None
    negative_prompt_attention_mask: ArrayLike | None
    past_key_values: PromptCache | None
    use_model_defaults: bool | None
    self_draft: bool
    synced_gpus: bool | None


class _ModelArguments(TypedDict, total=False):
    assistant_model: Any
    tokenizer: Any
    inputs: ArrayLike | None


class PromptedArguments(FieldArguments, HookArguments, _ModelArguments, total=False):
    """generate()'s arguments after the streamer, but for return_dict_in_generate."""


class TokenArguments(PromptedArguments, ResultKind, total=False):
    """generate()'s arguments after the streamer."""
