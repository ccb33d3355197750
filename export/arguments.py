"""Checks the arguments of export_model, and makes a plan of them, before any work is done."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.check.verify import check_can_verify
from gptneo_onnx.export.choices import check_choice, graph_kinds, number_formats
from gptneo_onnx.export.tokenizer_files import check_tokenizer
from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.models.graph import NumberFormat, Precision, layer_number
from gptneo_onnx.models.named_file import is_utf8
from gptneo_onnx.models.tasks import PAST_SUFFIX, Task

EXPORTERS = ("direct", "optimum")
LAYOUTS = ("flat", "transformers.js")
ALL_LAYERS = "all"
AUTO = "auto"
_VARIANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class ExportPlan:
    """What one export writes, from where and to where; made and checked by `plan_export`.

    Attributes:
        checkpoint: a directory, or a hub id.
        revision: the branch, tag or commit of a hub id.
        variant: of the weight files; None for those without one.
        tokenizer: whatever tokenizer_source() takes; None takes the checkpoint's.
        adapter: a directory or a hub id of an adapter that is merged, or None.
        out: the directory to make.
        task: what the graphs are for; None for the task of the checkpoint.
        graphs: kinds of graphs, of GRAPH_KINDS. The first becomes model.onnx.
        formats: one number format or several, each with its graphs. The first becomes model.onnx.
        layout: one of LAYOUTS.
        exporter: one of EXPORTERS.
        calibration_text: the file that the float model reads before weights are rounded.
        hidden_states: layers as the caller numbers them, or ALL_LAYERS; see `hidden_layers`.
        verify: whether graphs are compared with transformers.
    """

    checkpoint: str | Path
    revision: str | None
    variant: str | None
    tokenizer: Any
    adapter: str | Path | None
    out: Path
    task: Task | None
    graphs: tuple[str, ...]
    formats: tuple[NumberFormat, ...]
    layout: str
    exporter: str
    calibration_text: Path | None
    hidden_states: tuple[Any, ...] | str
    verify: bool

    @property
    def shares_weights(self) -> bool:
        """Whether formats store once what they have alike; transformers.js loads a file each."""
        return self.layout == "flat"

    def text_for(self, numbers: NumberFormat) -> Path | None:
        """Return what a format's weights are calibrated by: nothing where none are rounded."""
        return self.calibration_text if numbers.precision.is_quantized else None

    @property
    def verify_windows(self) -> int:
        """The windows of tokens to compare over; Optimum checks its own traces on 16 tokens."""
        return 3 if self.exporter == "optimum" else 2

    def hidden_layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the layers whose hidden states graphs give, from 0 to num_layers, in order.

        Raises:
            InputError: the model has no such layer.
        """
        if self.hidden_states == ALL_LAYERS:
            return tuple(range(num_layers + 1))
        return tuple(sorted({layer_number(layer, num_layers) for layer in self.hidden_states}))


def plan_export(
    checkpoint: str | Path,
    out: str | Path,
    *,
    task: str | Task,
    graph: str | Sequence[str] | None,
    precision: str | Precision | Sequence[str | Precision],
    activations: str | None,
    full_range: bool,
    calibrate: str | Path | None,
    hidden_states: str | Iterable[int] | None,
    layout: str,
    exporter: str,
    verify: bool,
    revision: str | None,
    variant: str | None,
    tokenizer: Any = None,
    adapter: str | Path | None = None,
) -> ExportPlan:
    """Check the arguments of export_model, one by one and in combination.

    No file is looked at yet: neither the checkpoint, nor `out`, nor the text to calibrate with.

    Raises:
        InputError: an argument that is not allowed, or not with the others.
        MissingDependencyError: verify or exporter needs a package that is not installed.
    """
    check_choice("layout", layout, LAYOUTS)
    check_choice("exporter", exporter, EXPORTERS)
    if tokenizer is not None:
        check_tokenizer(tokenizer)
    asked = None if task == AUTO else Task.named(task)
    if graph is None:
        # A checkpoint's own task always has a fused graph (export/task.py).
        default = asked.graph_kinds[0] if asked else "fused"
        graph = default if layout == "flat" and exporter == "direct" else "portable"
    plan = ExportPlan(
        checkpoint=checkpoint,
        revision=revision,
        variant=checked_variant(variant),
        tokenizer=tokenizer,
        adapter=checked_adapter(adapter),
        out=Path(out),
        task=asked,
        graphs=graph_kinds(graph),
        formats=number_formats(precision, activations, full_range),
        layout=layout,
        exporter=exporter,
        calibration_text=None if calibrate is None else Path(calibrate),
        hidden_states=requested_layers(hidden_states),
        verify=verify or exporter == "optimum",
    )
    _check_name(plan.out)
    _check_layout(plan)
    _check_exporter(plan)
    _check_calibration(plan)
    if asked:
        check_task(asked, plan)
    if hidden_states is not None:
        _check_hidden_states(plan)
    _check_packages(plan)
    return plan


def check_task(task: Task, plan: ExportPlan) -> None:
    """Raise InputError if there are no such graphs for the task, or Optimum does not trace it."""
    for kind in plan.graphs:
        if kind not in task.graph_kinds:
            with_past = f"; a fused graph has a past, as task {task.value}{PAST_SUFFIX}"
            raise InputError(
                f"graph is {kind}, and with task {task.value} "
                f"{' or '.join(task.graph_kinds)} is allowed"
                + (with_past if task.graph_kinds == ("portable",) and kind == "fused" else "")
            )
    if plan.exporter == "optimum" and not task.is_optimums:
        raise InputError(
            f"task is {task.value}, which Optimum does not trace for GPT-Neo; take exporter direct"
        )


def checked_variant(variant: object) -> str | None:
    """Return the variant; raises InputError if it is no part of a file's name."""
    if variant is None or (isinstance(variant, str) and _VARIANT.fullmatch(variant)):
        return variant
    raise InputError(
        f"variant is {shown(variant)}; what stands between dots in the name of the weight files is "
        "allowed, as fp16 in model.fp16.safetensors"
    )


def checked_adapter(adapter: Any) -> str | Path | None:
    """Return the one adapter that is named; raises InputError for anything else."""
    if isinstance(adapter, list | tuple) and len(adapter) == 1:
        return checked_adapter(adapter[0])
    if isinstance(adapter, list | tuple) and adapter:
        raise InputError(
            f"adapter names {shown(adapter)}; one is merged: make an export for each, or combine "
            "them with add_weighted_adapter() of peft, save_pretrained that one, and name it"
        )
    if isinstance(adapter, str | Path | None):
        return adapter
    raise InputError(
        f"adapter is of type {type(adapter).__name__}; a directory or a hub id is allowed: save "
        "the PeftModel with save_pretrained(), and pass where"
    )


def requested_layers(hidden_states: Any) -> tuple[Any, ...] | str:
    """Return ALL_LAYERS or the requested layers; their range depends on the checkpoint."""
    if hidden_states is None:
        return ()
    if isinstance(hidden_states, str):
        check_choice("hidden_states", hidden_states, (ALL_LAYERS,))
        return hidden_states
    return tuple(hidden_states) if isinstance(hidden_states, Iterable) else (hidden_states,)


def _check_name(out: Path) -> None:
    """Raise InputError for a name that programs cannot open which run the export."""
    if not is_utf8(out):
        raise InputError(
            f"out is {shown(str(out))}, which is not UTF-8, and ONNX Runtime could not open the "
            "export; name another directory"
        )


def _check_layout(plan: ExportPlan) -> None:
    if plan.layout == "flat":
        if len(plan.formats) > 1 and "genai" in plan.graphs:
            raise InputError(
                f"precision names {', '.join(_precisions(plan))}, and genai_config.json names one "
                "graph; leave graph genai out, or name one precision"
            )
        return
    if plan.graphs != ("portable",):
        raise InputError(
            f"graph is {shown([*plan.graphs])}; transformers.js runs portable graphs only"
        )
    for numbers in plan.formats:
        transformers_js.graph_file(numbers)  # raises InputError where there is no name


def _check_exporter(plan: ExportPlan) -> None:
    """Raise InputError if Optimum would have to trace anything but one graph in float32."""
    if plan.exporter == "direct":
        return
    precisions = _precisions(plan)
    if plan.graphs != ("portable",) or precisions != ["fp32"] or plan.layout != "flat":
        raise InputError(
            f"exporter optimum traces graph portable in precision fp32 and layout flat; asked for "
            f"are {', '.join(plan.graphs)}, {', '.join(precisions)} and {plan.layout}: take "
            "exporter direct"
        )


def _check_calibration(plan: ExportPlan) -> None:
    """Raise InputError if there is a text to calibrate with and weights that are not rounded."""
    if plan.calibration_text is None:
        return
    quantized = [precision.value for precision in Precision if precision.is_quantized]
    if not any(numbers.precision.is_quantized for numbers in plan.formats):
        raise InputError(
            f"calibrate is for precision {', '.join(quantized)}, and precision is "
            f"{', '.join(_precisions(plan))}; leave it out"
        )


def _check_hidden_states(plan: ExportPlan) -> None:
    if plan.exporter == "optimum" or plan.graphs == ("genai",):
        raise InputError(
            "hidden_states is for graphs fused and portable by exporter direct, and asked for are "
            f"{', '.join(plan.graphs)} by {plan.exporter}; leave it out"
        )


def _check_packages(plan: ExportPlan) -> None:
    """Raise MissingDependencyError now, rather than after minutes of writing."""
    if plan.exporter == "optimum":
        for package in ("torch", "transformers", "optimum"):
            if find_spec(package) is None:
                raise MissingDependencyError(
                    f"exporter optimum needs {package}: pip install 'gptneo-onnx[optimum]'"
                )
    if plan.verify:
        for numbers in plan.formats:
            check_can_verify(numbers)


def _precisions(plan: ExportPlan) -> list[str]:
    return [numbers.precision.value for numbers in plan.formats]
