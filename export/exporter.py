"""From a checkpoint to an exported directory."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.arguments import (
    LAYOUTS,
    check_calibrate,
    check_choice,
    check_exporter,
    graph_kinds,
    hidden_layers,
    number_format,
    several,
)
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint, open_checkpoint
from gptneo_onnx.export.checkpoint.hub import local_checkpoint
from gptneo_onnx.export.graph_files import GraphFile, weights_of, write_graphs
from gptneo_onnx.export.graphs.genai import write_genai_config
from gptneo_onnx.export.graphs.model import OPSET
from gptneo_onnx.export.output_directory import atomic_directory, check_replaceable
from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    GRAPH_FILE,
    LEAST_ONNX_RUNTIME,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    FileRecord,
    Manifest,
    sha256_of,
)


def export_model(
    checkpoint: str | Path,
    out: str | Path,
    *,
    graph: str | Sequence[str] | None = None,
    precision: str | Precision | Sequence[str | Precision] = "fp32",
    activations: str | None = None,
    full_range: bool = False,
    calibrate: str | Path | None = None,
    hidden_states: str | Iterable[int] | None = None,
    layout: str = "flat",
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
            drives ONNX Runtime, "genai" for onnxruntime-genai, "portable" (standard operators,
            Optimum's names) for every other stack. They share one weights file. The first is
            model.onnx, others are called after themselves: portable.onnx. By default fused, and
            portable with transformers.js.
        precision: what weights are stored as: fp32, fp16 and bf16 (activations and cache too);
            int8 and int4, in blocks with a scale each; w8a8, 7 bits multiplied by activations of 8
            bits, for the CPU.
        activations: fp32, fp16 or bf16, with int8 and int4; by default fp32, for the CPU. CUDA
            takes the two others.
        full_range: with w8a8, store weights of full 8 bits. Only for processors with VNNI or AMX:
            other x86 processors cut off the sums of their products.
        calibrate: with int8, w8a8 and int4, a text (UTF-8, like what the model will read) that the
            float model reads first, to round weights so that its results change least. Needs the
            checkpoint's tokenizer.
        hidden_states: layers whose hidden states graphs are to give, for feature extraction: their
            numbers as in transformers (0 is the embeddings, k is behind block k, the last behind
            the final layer normalization too), or "all". Fused graphs always give the last.
        layout: "flat", or "transformers.js": a folder onnx/ of portable graphs, one for each of
            several precisions (fp32, fp16, int8, int4), as transformers.js asks for them.
        exporter: "direct" builds graphs straight from the checkpoint; "optimum" has
            optimum.exporters.onnx trace the portable graph in fp32, and always compares it with
            transformers over three windows (needs the `optimum` extra).
        verify: compare the exported graph with transformers on random tokens longer than twice the
            window (needs the `optimum` extra), and raise if they differ.
        revision: of a hub id, the branch, tag or commit to fetch.
        progress: draw a progress bar on standard error, if that is a terminal.
        report: called with each line worth telling the user.

    Returns:
        The directory.

    Raises:
        InputError: an argument that cannot be used.
        MissingDependencyError: verify or exporter needs a package that is not installed.
        ModelFileError: the checkpoint is missing, damaged, or no GPT-Neo.
        ExportError: the export cannot be written; nothing is left behind.
    """
    report = report or _say_nothing
    check_choice("layout", layout, LAYOUTS)
    if graph is None:
        graph = "fused" if layout == "flat" and exporter != "optimum" else "portable"
    kinds = graph_kinds(graph)
    formats = [number_format(each, activations, full_range) for each in several(precision)]
    _check_layout(layout, kinds, formats)
    check_exporter(exporter, kinds, formats, layout)
    for numbers in formats:
        check_calibrate(calibrate, numbers)
    out = Path(out)
    check_replaceable(out.absolute())
    if verify:
        from gptneo_onnx.export.check.verify import check_can_verify

        for numbers in formats:
            check_can_verify(numbers)
    source = open_checkpoint(local_checkpoint(checkpoint, revision))
    layers = hidden_layers(hidden_states, source.config.num_layers, kinds, exporter)
    with atomic_directory(out) as partial:
        _write_companions(source, partial, report)
        if exporter == "optimum":
            _trace(source, partial, formats[0], report, progress)
            return out
        for numbers in formats:
            text = None if calibrate is None else Path(calibrate)
            weights = weights_of(source, numbers, text, partial / TOKENIZER_FILE)
            places, weights_file = _places(partial, layout, kinds, numbers)
            graphs = write_graphs(source, places, numbers, weights, weights_file, layers, progress)
            if verify:
                _verify(graphs, source, numbers, report)
            if "genai" in kinds:
                name = dict(places)["genai"].name
                write_genai_config(partial, name, source.config, _generation_config(source))
        _declare(partial, layout, kinds, formats, layers)
    return out


def _say_nothing(line: str) -> None:
    """For callers who want no reports."""


def _check_layout(layout: str, kinds: list[str], formats: list[NumberFormat]) -> None:
    if layout == "flat":
        if len(formats) != 1:
            names = [numbers.precision.value for numbers in formats]
            raise InputError(
                f"precision names {shown(names)}; name one, or take layout transformers.js, "
                "which has a file for each"
            )
        return
    if kinds != ["portable"]:
        raise InputError(f"graph is {shown(kinds)}; transformers.js runs portable graphs only")
    files = [transformers_js.graph_file(numbers) for numbers in formats]
    if not files or len(set(files)) < len(files):
        raise InputError("precision must name at least one, and each once")


def _places(
    directory: Path, layout: str, kinds: list[str], numbers: NumberFormat
) -> tuple[list[tuple[str, Path]], Path]:
    """Where each kind of graph goes, and the weights of all."""
    if layout == "flat":
        first, *others = kinds
        graphs = [(first, directory / GRAPH_FILE)]
        graphs += [(kind, directory / f"{kind}.onnx") for kind in others]
        return graphs, directory / WEIGHTS_FILE
    folder = directory / transformers_js.FOLDER
    folder.mkdir(exist_ok=True)
    graph = folder / transformers_js.graph_file(numbers)
    return [("portable", graph)], graph.with_suffix(".onnx_data")


def _verify(
    graphs: list[GraphFile],
    source: Checkpoint,
    numbers: NumberFormat,
    report: Callable[[str], object],
) -> None:
    from gptneo_onnx.export.check.verify import verify_graph

    for graph in graphs:
        verify_graph(graph.path, graph.contract, source, numbers, report)


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


def _declare(
    partial: Path,
    layout: str,
    kinds: list[str],
    formats: list[NumberFormat],
    hidden_states: tuple[int, ...],
) -> None:
    """Say what the directory holds, where those who load it look for that."""
    if layout == "flat":
        _write_manifest(partial, kinds[0], formats[0], OPSET, hidden_states)
        return
    files = [transformers_js.graph_file(numbers) for numbers in formats]
    transformers_js.declare_weights(partial, files)


def _trace(
    source: Checkpoint,
    partial: Path,
    numbers: NumberFormat,
    report: Callable[[str], object],
    progress: bool,
) -> None:
    """The portable graph by Optimum: compared over three windows, where Optimum takes 16 tokens."""
    from gptneo_onnx.export.check.verify import verify_graph
    from gptneo_onnx.export.graphs import optimum as optimum_graph
    from gptneo_onnx.export.graphs import optimum_trace

    graph = partial / GRAPH_FILE
    contract = optimum_graph.write_optimum_graph(source, graph, partial / WEIGHTS_FILE, progress)
    verify_graph(graph, contract, source, numbers, report, windows=3)
    _write_manifest(partial, "portable", numbers, optimum_trace.OPSET)


def _write_manifest(
    partial: Path,
    graph: str,
    numbers: NumberFormat,
    opset: int,
    hidden_states: tuple[int, ...] = (),
) -> None:
    files = {
        path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in partial.iterdir()
    }
    manifest = Manifest(graph, numbers, opset, LEAST_ONNX_RUNTIME, files, hidden_states)
    manifest.write(partial)
