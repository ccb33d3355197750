"""The arguments of pipelines, of text generation those that are not generate()'s."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.checks import plain

TRUNCATIONS = ("longest_first", "only_first", "only_second")
# transformers' arguments of a call that change no result.
PASSED_OVER = ("binary_output", "num_workers", "padding")


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
    continue_final_message: bool | None = None
    tokenizer_encode_kwargs: Mapping[str, Any] = field(default_factory=dict)
    truncation: bool | str | None = None
    add_special_tokens: bool | None = None
    batch_size: int = 1

    @property
    def is_cut(self) -> bool:
        """Whether prompts are cut on the right, to max_length tokens."""
        return self.truncation not in (None, False)

    @property
    def encoding(self) -> dict[str, Any]:
        """The arguments that the tokenizer gets."""
        special = self.add_special_tokens
        own = {} if special is None else {"add_special_tokens": special}
        return own | dict(self.tokenizer_encode_kwargs)

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
        names = {each.name for each in fields(cls)}
        kwargs = {name: kwargs[name] for name in kwargs if name not in PASSED_OVER}
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
        if not isinstance(self.truncation, bool | None) and self.truncation not in TRUNCATIONS:
            raise InputError(
                f"truncation is {shown(self.truncation)}; True, False, {', '.join(TRUNCATIONS)} "
                "are allowed"
            )
        if not isinstance(self.tokenizer_encode_kwargs, Mapping):
            raise InputError(
                f"tokenizer_encode_kwargs is {shown(self.tokenizer_encode_kwargs)}; arguments of "
                "the tokenizer by name are allowed"
            )
        for name in ("prefix", "stop_sequence"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name} is {shown(value)}; a text is allowed")


@dataclass(frozen=True)
class BatchArguments:
    """The arguments that every pipeline but that of text generation has.

    Attributes:
        batch_size: how many short texts one step reads together, at most.
    """

    batch_size: int = 1


Arguments = TypeVar("Arguments", bound=BatchArguments)


def updated(
    arguments: Arguments, changes: Mapping[str, Any], task: str, keeps_none: Collection[str] = ()
) -> Arguments:
    """Return a pipeline's arguments with changes; those that are None are not changed.

    Args:
        arguments: a pipeline's.
        changes: what a caller passes.
        task: the pipeline's, for the message.
        keeps_none: arguments that None is a value of.

    Raises:
        InputError: an unknown argument, or a batch_size out of range.
    """
    names = [each.name for each in fields(arguments)]
    changes = {
        name: value for name, value in changes.items() if name in names or name not in PASSED_OVER
    }
    unknown = [name for name in changes if name not in names]
    if unknown:
        raise InputError(
            f"{task} has no argument {shown(unknown[0])}; {', '.join(names)} are allowed"
        )
    values = {
        name: plain(value)
        for name, value in changes.items()
        if value is not None or name in keeps_none
    }
    changed = replace(arguments, **values)
    check_batch_size(changed.batch_size)
    return changed


def check_flags(arguments: object, *names: str) -> None:
    """Raise InputError unless the arguments of these names are True or False."""
    for name in names:
        value = getattr(arguments, name)
        if not isinstance(value, bool):
            raise InputError(f"{name} is {shown(value)}; True or False is allowed")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise InputError unless an argument is a whole number of at least `least`."""
    if type(value) is not int or value < least:
        raise InputError(f"{name} is {shown(value)}; a whole number of at least {least} is allowed")


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
