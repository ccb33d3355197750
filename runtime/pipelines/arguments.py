"""The arguments of a text-generation pipeline that are not generate()'s."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.checks import plain


@dataclass(frozen=True)
class CallArguments:
    """The arguments of one call; see TextGenerationPipeline.__call__()."""

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
        """Separate the pipeline's arguments from those of generate().

        Args:
            kwargs: both.
            defaults: replaces arguments that are missing or None.

        Returns:
            The pipeline's arguments, and the others.

        Raises:
            InputError: a value out of range, or two arguments that exclude each other.
        """
        names = {field.name for field in fields(cls)}
        values = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        if values.get("return_tensors") and (
            "return_text" in values or "return_full_text" in values
        ):
            raise InputError(
                "return_tensors returns ids, return_text and return_full_text ask for text; "
                "pass one of them"
            )
        if "return_text" in values and "return_full_text" in values:
            raise InputError(
                "return_text and return_full_text exclude each other; pass one of them"
            )
        arguments = replace(defaults or cls(), **values)
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
    """Raise InputError unless the value is a whole number of at least 1."""
    size = plain(value)
    if type(size) is not int or size < 1:
        raise InputError(f"batch_size is {shown(value)}; a whole number of at least 1 is allowed")


def raise_lengths(kwargs: Mapping[str, Any], prefix_length: int) -> dict[str, Any]:
    """Return arguments of generate() whose lengths do not count the prefix, as in transformers."""
    lengths = dict(kwargs)
    for name in ("max_length", "min_length"):
        value = plain(lengths.get(name))
        if prefix_length and isinstance(value, int):
            lengths[name] = value + prefix_length
    return lengths
