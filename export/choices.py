"""Arguments that name one of a few choices, or several of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import ACTIVATION_NAMES, NumberFormat, Precision
from gptneo_onnx.models.manifest import GRAPH_KINDS


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise InputError unless the value is one of those allowed."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; one of {', '.join(allowed)} is allowed")


def as_list(value: object) -> list[Any]:
    """Return the items of a list or tuple, or of a text with commas between them.

    Anything else becomes the only item.
    """
    if isinstance(value, str):
        return value.split(",")
    return [*value] if isinstance(value, list | tuple) else [value]


def graph_kinds(graph: str | Sequence[str]) -> tuple[str, ...]:
    """Return one or more of GRAPH_KINDS, each once; raises InputError for anything else."""
    kinds = as_list(graph)
    for kind in kinds or [""]:
        check_choice("graph", kind, GRAPH_KINDS)
    if len(set(kinds)) < len(kinds):
        raise InputError(f"graph names {shown(kinds)}; name each kind once")
    return tuple(kinds)


def number_formats(
    precision: str | Precision | Sequence[str | Precision],
    activations: str | None,
    full_range: bool,
) -> tuple[NumberFormat, ...]:
    """Return the number format of each precision, in their order.

    Raises:
        InputError: there is no such precision, or the others do not go together with one.
    """
    names = as_list(precision)
    for name in names:
        if not isinstance(name, Precision):
            check_choice("precision", name, [each.value for each in Precision])
    precisions = [Precision(name) for name in names]
    if not precisions or len(set(precisions)) < len(precisions):
        raise InputError(f"precision is {shown(names)}; it must name at least one, and each once")
    if full_range and Precision.W8A8 not in precisions:
        raise InputError(
            f"full_range is for precision w8a8, and precision is "
            f"{', '.join(each.value for each in precisions)}; leave it out"
        )
    return tuple(_number_format(each, activations, full_range) for each in precisions)


def _number_format(precision: Precision, activations: str | None, full_range: bool) -> NumberFormat:
    numbers = NumberFormat.of(precision)
    if full_range and precision is Precision.W8A8:
        numbers = replace(numbers, reduce_range=False)
    if activations is None:
        return numbers
    allowed = {ACTIVATION_NAMES[data_type]: data_type for data_type in precision.activations}
    if activations not in allowed:
        raise InputError(
            f"activations is {activations!r}; with precision {precision.value} "
            f"{' or '.join(allowed)} is allowed"
        )
    return replace(numbers, activations=allowed[activations])
