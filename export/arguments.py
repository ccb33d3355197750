"""The arguments of export_model, checked before any work is done."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.models.graph import ACTIVATION_NAMES, NumberFormat, Precision, layer_number
from gptneo_onnx.models.manifest import GRAPH_KINDS

EXPORTERS = ("direct", "optimum")
LAYOUTS = ("flat", "transformers.js")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise InputError unless the value is one of those allowed."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; one of {', '.join(allowed)} is allowed")


def several(value: object) -> list[Any]:
    """A list or tuple as it is, anything else as the only one."""
    return [*value] if isinstance(value, list | tuple) else [value]


def graph_kinds(graph: str | Sequence[str]) -> list[str]:
    """One or several of GRAPH_KINDS; raises InputError for anything else."""
    kinds = several(graph)
    for kind in kinds or [""]:
        check_choice("graph", kind, GRAPH_KINDS)
    if len(set(kinds)) < len(kinds):
        raise InputError(f"graph names {shown(kinds)}; name each kind once")
    return kinds


def number_format(
    precision: str | Precision, activations: str | None, full_range: bool
) -> NumberFormat:
    """What the arguments stand for; raises InputError if they do not go together."""
    if not isinstance(precision, Precision):
        check_choice("precision", precision, [p.value for p in Precision])
    precision = Precision(precision)
    if full_range and precision is not Precision.W8A8:
        raise InputError(
            f"full_range is for precision w8a8, and precision is {precision.value}; leave it out"
        )
    numbers = NumberFormat.of(precision)
    if full_range:
        numbers = replace(numbers, reduce_range=False)
    if activations is None:
        return numbers
    allowed = {ACTIVATION_NAMES[each]: each for each in precision.activations}
    if activations not in allowed:
        raise InputError(
            f"activations is {activations!r}; with precision {precision.value} "
            f"{' or '.join(allowed)} is allowed"
        )
    return replace(numbers, activations=allowed[activations])


def check_exporter(
    exporter: str, kinds: list[str], formats: list[NumberFormat], layout: str
) -> None:
    """Raise unless the exporter can make what is asked for.

    Raises:
        InputError: Optimum traces one graph of one precision.
        MissingDependencyError: it is not installed.
    """
    check_choice("exporter", exporter, EXPORTERS)
    if exporter == "direct":
        return
    precisions = [numbers.precision.value for numbers in formats]
    if kinds != ["portable"] or precisions != ["fp32"] or layout != "flat":
        raise InputError(
            f"exporter optimum traces graph portable in precision fp32 and layout flat; asked for "
            f"are {', '.join(kinds)}, {', '.join(precisions)} and {layout}: take exporter direct"
        )
    for package in ("torch", "transformers", "optimum"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"exporter optimum needs {package}: pip install 'gptneo-onnx[optimum]'"
            )


def hidden_layers(
    hidden_states: Any, num_layers: int, kinds: list[str], exporter: str
) -> tuple[int, ...]:
    """The layers whose hidden states are asked for, from 0 to num_layers, in order.

    Raises:
        InputError: a layer that there is not, or graphs that give none.
    """
    if hidden_states is None:
        return ()
    if exporter == "optimum" or kinds == ["genai"]:
        raise InputError(
            "hidden_states is for graphs fused and portable by exporter direct, and asked for are "
            f"{', '.join(kinds)} by {exporter}; leave it out"
        )
    if isinstance(hidden_states, str):
        check_choice("hidden_states", hidden_states, ("all",))
        return tuple(range(num_layers + 1))
    if not isinstance(hidden_states, Iterable):
        hidden_states = [hidden_states]
    return tuple(sorted({layer_number(layer, num_layers) for layer in hidden_states}))


def check_calibrate(calibrate: str | Path | None, numbers: NumberFormat) -> None:
    """Raise InputError if there is a text to calibrate with, and nothing to round."""
    if calibrate is not None and not numbers.precision.is_quantized:
        quantized = [precision.value for precision in Precision if precision.is_quantized]
        raise InputError(
            f"calibrate is for precision {', '.join(quantized)}, and precision is "
            f"{numbers.precision.value}; leave it out"
        )
