"""What a pipeline takes besides the arguments of generate()."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.checks import plain
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
        check_batch_size(self.batch_size)
        for name in ("prefix", "stop_sequence"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name} is {shown(value)}; a text is allowed")


def check_batch_size(value: object) -> None:
    """Raise InputError unless that many can be read together."""
    size = plain(value)
    if type(size) is not int or size < 1:
        raise InputError(f"batch_size is {shown(value)}; a whole number of at least 1 is allowed")


def with_prefix(
    kwargs: Mapping[str, Any], arguments: CallArguments, tokenizer: Tokenizer
) -> dict[str, Any]:
    """A call's arguments with lengths to which the prefix does not count."""
    lengths = dict(kwargs)
    prefix = len(tokenizer.encode(arguments.prefix)) if arguments.prefix else 0
    for name in ("max_length", "min_length"):
        value = plain(lengths.get(name))
        if prefix and isinstance(value, int):
            lengths[name] = value + prefix
    return lengths
