"""The pipeline's own arguments, and the prompts that they make of texts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.json_file import shown
from gptneo_onnx.runtime.generation.generation_config import DEFAULT_NEW_TOKENS, GenerationConfig
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class CallArguments:
    """What a call takes besides the arguments of generate(); see TextGenerationPipeline."""

    return_full_text: bool = True
    return_text: bool | None = None
    return_tensors: bool = False
    clean_up_tokenization_spaces: bool = True
    skip_special_tokens: bool = True
    prefix: str = ""
    handle_long_generation: str | None = None
    stop_sequence: str | None = None
    batch_size: int = 1

    @classmethod
    def split(
        cls, kwargs: Mapping[str, Any], defaults: "CallArguments | None" = None
    ) -> tuple["CallArguments", dict[str, Any]]:
        """Ours out of a call's arguments, and what is left for generate().

        Raises:
            InputError: a value that cannot be used, or two that exclude each other.
        """
        names = {field.name for field in fields(cls)}
        own = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        if own.get("return_tensors") and ("return_text" in own or "return_full_text" in own):
            raise InputError(
                "return_tensors returns ids, return_text and return_full_text ask for text; "
                "pass one of them"
            )
        arguments = replace(defaults or cls(), **own)
        arguments._check()
        return arguments, {name: value for name, value in kwargs.items() if name not in names}

    def _check(self) -> None:
        if self.handle_long_generation not in (None, "hole"):
            raise InputError(
                f"handle_long_generation is {shown(self.handle_long_generation)}; "
                "None or 'hole' is allowed"
            )
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise InputError(
                f"batch_size is {shown(self.batch_size)}; a whole number of at least 1 is allowed"
            )
        for name in ("prefix", "stop_sequence"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name} is {shown(value)}; a text is allowed")


def with_lengths(
    kwargs: Mapping[str, Any], arguments: CallArguments, tokenizer: Tokenizer
) -> dict[str, Any]:
    """A call's arguments with lengths as they are meant.

    max_length lifts the default max_new_tokens, and a prefix does not count.
    """
    lengths = {name: value for name, value in kwargs.items() if value is not None}
    if "max_length" in lengths and "max_new_tokens" not in lengths:
        lengths["max_new_tokens"] = None
    prefix = len(tokenizer.encode(arguments.prefix)) if arguments.prefix else 0
    for name in ("max_length", "min_length"):
        if prefix and isinstance(lengths.get(name), int):
            lengths[name] += prefix
    return lengths


def prompt_ids(
    texts: list[str],
    arguments: CallArguments,
    tokenizer: Tokenizer,
    config: GenerationConfig,
    context: int,
) -> list[list[int]]:
    """The tokens of each text, behind the prefix, cut on the left if that was asked for.

    Raises:
        InputError: an empty prompt, or one that leaves no room even when it is cut.
    """
    prompts = [tokenizer.encode(arguments.prefix + checked_text(text)) for text in texts]
    for prompt in prompts:
        if not prompt:
            raise InputError(
                f"the prompt is empty; give at least one character, or "
                f"{tokenizer.eos_token or 'the end-of-text token'} to start from nothing"
            )
    if arguments.handle_long_generation != "hole":
        return prompts
    return [_with_hole(prompt, config, context) for prompt in prompts]


def checked_text(text: Any) -> str:
    """The text, unless it is none."""
    if not isinstance(text, str):
        raise InputError(f"a prompt is of type {type(text).__name__}; a text is expected")
    return text


def _with_hole(prompt: list[int], config: GenerationConfig, context: int) -> list[int]:
    """The end of a prompt, so much of it that the tokens that are to follow fit."""
    if config.max_new_tokens is not None:
        wanted = config.max_new_tokens
    elif config.max_length is not None:
        wanted = config.max_length - len(prompt)
    else:
        wanted = DEFAULT_NEW_TOKENS
    if wanted < 0 or wanted >= context:
        raise InputError(
            f"{wanted} new tokens are wanted of a context of {context}: no prompt can be cut to "
            "make room for them; set max_new_tokens"
        )
    return prompt[-(context - wanted) :]
