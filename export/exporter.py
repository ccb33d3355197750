"""From a checkpoint to an exported directory."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gptneo_onnx.export.calibration import Calibration
from gptneo_onnx.export.calibration_text import calibration_windows
from gptneo_onnx.export.checkpoint import Checkpoint, open_checkpoint
from gptneo_onnx.export.first_step import first_logits
from gptneo_onnx.export.fused_graph import build_fused_graph
from gptneo_onnx.export.graph_model import OPSET
from gptneo_onnx.export.graph_weight import GraphWeight
from gptneo_onnx.export.hub import local_checkpoint
from gptneo_onnx.export.output_directory import check_replaceable, whole_directory
from gptneo_onnx.export.portable_graph import build_portable_graph
from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.export.weights import graph_weights
from gptneo_onnx.export.weights_file import weight_offsets, write_weights
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ExportError, GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.models.graph import (
    ACTIVATION_NAMES,
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
    fused_contract,
)
from gptneo_onnx.models.json_file import read_json_object, shown
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    GRAPH_FILE,
    GRAPH_KINDS,
    LEAST_ONNX_RUNTIME,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    FileRecord,
    Manifest,
    sha256_of,
)
from gptneo_onnx.models.portable_graph import portable_contract

EXPORTERS = ("direct",)
_BUILDERS = {
    "fused": (fused_contract, build_fused_graph),
    "portable": (portable_contract, build_portable_graph),
}


def export_model(
    checkpoint: str | Path,
    out: str | Path,
    *,
    graph: str | Sequence[str] = "fused",
    precision: str | Precision = "fp32",
    activations: str | None = None,
    reduce_range: bool = False,
    calibrate: str | Path | None = None,
    exporter: str = "direct",
    verify: bool = False,
    revision: str | None = None,
    progress: bool = False,
    report: Callable[[str], object] | None = None,
) -> Path:
    """Export a GPT-Neo checkpoint to ONNX, without PyTorch.

    Args:
        checkpoint: a directory in Hugging Face layout, or a hub id.
        out: the directory to make; an earlier export there is replaced once the new one is whole.
        graph: one of GRAPH_KINDS or several: "fused" for this project's runtime and for whoever
            drives ONNX Runtime, "portable" (standard operators, Optimum's names) for every other
            stack. They share one weights file. The first is model.onnx, others are called after
            themselves: portable.onnx.
        precision: what weights are stored as: fp32, fp16 and bf16 (activations and cache too);
            int8 and int4, in blocks with a scale each; w8a8, 8 bits multiplied by activations of 8
            bits, for the CPU.
        activations: fp32, fp16 or bf16, with int8 and int4; by default fp32, for the CPU. CUDA
            takes the two others.
        reduce_range: with w8a8, store weights of 7 bits, for x86 processors without VNNI or AMX,
            which cut off sums of full 8-bit products (as ONNX Runtime's quantizer calls it).
        calibrate: with int8, w8a8 and int4, a text (UTF-8, like what the model will read) that the
            float model reads first, to round weights so that its results change least. Needs the
            checkpoint's tokenizer.
        exporter: "direct" builds the graph straight from the checkpoint.
        verify: compare the exported graph with transformers on random tokens longer than twice the
            window (needs the `optimum` extra), and raise if they differ.
        revision: of a hub id, the branch, tag or commit to fetch.
        progress: draw a progress bar on standard error, if that is a terminal.
        report: called with each line worth telling the user.

    Returns:
        The directory.

    Raises:
        InputError: an argument that cannot be used.
        ModelFileError: the checkpoint is missing, damaged, or no GPT-Neo.
        ExportError: the export cannot be written; nothing is left behind.
    """
    report = report or _say_nothing
    kinds = _graph_kinds(graph)
    _check_choice("exporter", exporter, EXPORTERS)
    numbers = _number_format(precision, activations, reduce_range)
    _check_calibrate(calibrate, numbers)
    out = Path(out)
    check_replaceable(out.absolute())
    if verify:
        from gptneo_onnx.export.verify import check_can_verify

        check_can_verify(numbers)
    source = open_checkpoint(local_checkpoint(checkpoint, revision))
    with whole_directory(out) as partial:
        _write_companions(source, partial, report)
        weights = _weights(source, partial, numbers, calibrate)
        graphs = _write_graphs(source.config, partial, kinds, numbers, weights)
        write_weights(partial / WEIGHTS_FILE, weights, weight_offsets(weights), progress)
        for graph_file in graphs:
            _check(graph_file, source, numbers)
        if verify:
            from gptneo_onnx.export.verify import verify_graph

            for graph_file in graphs:
                verify_graph(graph_file.path, graph_file.contract, source, numbers, report)
        _write_manifest(partial, kinds[0], numbers)
    return out


def _say_nothing(line: str) -> None:
    """For callers who want no reports."""


def _graph_kinds(graph: str | Sequence[str]) -> list[str]:
    kinds: list[Any] = [*graph] if isinstance(graph, list | tuple) else [graph]
    for kind in kinds or [""]:
        _check_choice("graph", kind, GRAPH_KINDS)
    if len(set(kinds)) < len(kinds):
        raise InputError(f"graph names {shown(kinds)}; name each kind once")
    return kinds


def _number_format(
    precision: str | Precision, activations: str | None, reduce_range: bool
) -> NumberFormat:
    if not isinstance(precision, Precision):
        _check_choice("precision", precision, [p.value for p in Precision])
    precision = Precision(precision)
    if reduce_range and precision is not Precision.W8A8:
        raise InputError(
            f"reduce_range is for precision w8a8, and precision is {precision.value}; leave it out"
        )
    if activations is None:
        return replace(NumberFormat.of(precision), reduce_range=reduce_range)
    allowed = {ACTIVATION_NAMES[each]: each for each in precision.activations}
    if activations not in allowed:
        raise InputError(
            f"activations is {activations!r}; with precision {precision.value} "
            f"{' or '.join(allowed)} is allowed"
        )
    return NumberFormat(precision, allowed[activations], reduce_range)


def _check_calibrate(calibrate: str | Path | None, numbers: NumberFormat) -> None:
    if calibrate is not None and not numbers.precision.is_quantized:
        quantized = [precision.value for precision in Precision if precision.is_quantized]
        raise InputError(
            f"calibrate is for precision {', '.join(quantized)}, and precision is "
            f"{numbers.precision.value}; leave it out"
        )


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; one of {', '.join(allowed)} is allowed")


def _weights(
    source: Checkpoint, partial: Path, numbers: NumberFormat, calibrate: str | Path | None
) -> list[GraphWeight]:
    if calibrate is None:
        return graph_weights(source, numbers)
    config = source.config
    ids = calibration_windows(
        Path(calibrate),
        partial / TOKENIZER_FILE,
        config.vocab_size,
        config.max_position_embeddings,
    )
    calibration = Calibration(source, ids)
    return graph_weights(calibration.checkpoint, numbers, calibration.moments)


@dataclass(frozen=True)
class _GraphFile:
    path: Path
    model: onnx.ModelProto
    contract: GraphContract


def _write_graphs(
    config: GPTNeoConfig,
    partial: Path,
    kinds: Sequence[str],
    numbers: NumberFormat,
    weights: Sequence[GraphWeight],
) -> list[_GraphFile]:
    """The first as model.onnx, others as KIND.onnx."""
    offsets = weight_offsets(weights)
    graphs = []
    for index, kind in enumerate(kinds):
        make_contract, build = _BUILDERS[kind]
        contract = make_contract(config, numbers)
        model = build(config, contract, numbers, weights, offsets)
        path = partial / (f"{kind}.onnx" if index else GRAPH_FILE)
        path.write_bytes(model.SerializeToString())
        graphs.append(_GraphFile(path, model, contract))
    return graphs


def _write_companions(source: Checkpoint, partial: Path, report: Callable[[str], object]) -> None:
    """config.json, generation_config.json and the tokenizer, as the checkpoint has them."""
    shutil.copyfile(source.directory / CONFIG_FILE, partial / CONFIG_FILE)
    generation = _generation_config(source)
    (partial / GENERATION_CONFIG_FILE).write_text(json.dumps(generation, indent=2) + "\n")
    if not write_tokenizer(source.directory, partial):
        report(
            f"{source.directory} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): "
            "the model takes token ids only"
        )


def _generation_config(source: Checkpoint) -> dict[str, Any]:
    path = source.directory / GENERATION_CONFIG_FILE
    if path.is_file():
        return read_json_object(path)
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    values = read_json_object(source.directory / CONFIG_FILE)
    return {name: values[name] for name in ids if values.get(name) is not None}


def _check(graph: _GraphFile, source: Checkpoint, numbers: NumberFormat) -> None:
    """onnx's own checker, and one step through ONNX Runtime where its CPU has the kernels."""
    onnx.checker.check_model(str(graph.path))
    if numbers.activations is DataType.BFLOAT16:
        return  # ONNX Runtime's CPU provider has no bfloat16 kernels
    try:
        logits = first_logits(graph.model, graph.path.parent, graph.contract)
    except (GPTNeoOnnxError, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ExportError(
            f"ONNX Runtime cannot run the exported graph ({str(error)[:200]!r}); "
            f"version {LEAST_ONNX_RUNTIME} or later is needed"
        ) from error
    if not np.isfinite(logits).all():
        advice = (
            "export with --precision bf16 or fp32"
            if numbers.activations is DataType.FLOAT16
            else "the weights are damaged: fetch the checkpoint again"
        )
        raise ModelFileError(
            f"{source.directory}: its first logits in {numbers.precision.value} are not finite "
            "numbers; " + advice
        )


def _write_manifest(partial: Path, graph: str, numbers: NumberFormat) -> None:
    files = {
        path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in partial.iterdir()
    }
    Manifest(graph, numbers, OPSET, LEAST_ONNX_RUNTIME, files).write(partial)
