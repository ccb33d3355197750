"""Exports a checkpoint: plan, open, write, verify, declare, rename into place.

These steps are the body of `export_model`; every other function here serves one of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.arguments import AUTO, ExportPlan, check_task, plan_export
from gptneo_onnx.export.check.verify import verify_graph
from gptneo_onnx.export.checkpoint.adapters.merge import merge_adapter
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint, open_checkpoint
from gptneo_onnx.export.checkpoint.hub import local_adapter, local_checkpoint
from gptneo_onnx.export.companions import write_companions
from gptneo_onnx.export.fingerprint import contents_of, fingerprint
from gptneo_onnx.export.format_files import files_of_formats
from gptneo_onnx.export.graph_files import FormatFiles, weights_of, write_graphs
from gptneo_onnx.export.graphs import optimum_trace
from gptneo_onnx.export.graphs.genai_config import write_genai_config
from gptneo_onnx.export.graphs.model_proto import OPSET
from gptneo_onnx.export.graphs.optimum import write_optimum_graph
from gptneo_onnx.export.output_directory import atomic_directory, check_replaceable
from gptneo_onnx.export.task import chosen_task, notes_on_task
from gptneo_onnx.export.tokenizer_files import tokenizer_of_export
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.denormals import unchanged_float_state
from gptneo_onnx.models.generation_settings import GenerationSettings
from gptneo_onnx.models.graph import GraphContract, Precision
from gptneo_onnx.models.manifest import (
    LEAST_ONNX_RUNTIME,
    TOKENIZER_FILE,
    FileRecord,
    Manifest,
    sha256_of,
)
from gptneo_onnx.models.staging import remove_leftovers
from gptneo_onnx.models.tasks import Task


def export_model(
    checkpoint: str | Path,
    out: str | Path,
    *,
    task: str | Task = AUTO,
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
    variant: str | None = None,
    tokenizer: Any = None,
    adapter: str | Path | None = None,
    progress: bool = False,
    report: Callable[[str], object] | None = None,
) -> Path:
    """Export a GPT-Neo checkpoint to ONNX, without PyTorch.

    Args:
        checkpoint: a directory in Hugging Face layout, or a hub id.
        out: the directory to make; an earlier export there is replaced once the new one is
            complete, as save_pretrained() of transformers overwrites a model. (The command
            `gptneo-onnx export` asks for --force.)
        task: what the model is for, by Optimum's names (models/tasks.py). By default that of the
            checkpoint's class: text-classification for GPTNeoForSequenceClassification, and so on;
            text-generation-with-past for GPTNeoForCausalLM and GPTNeoModel.
        graph: one or more of GRAPH_KINDS: "fused" for this project's runtime and for code that
            drives ONNX Runtime itself, "genai" for onnxruntime-genai, "portable" (standard
            operators, Optimum's names) for every other stack. They share one weights file. The
            first is model.onnx, the others are named after their kind: portable.onnx. By default
            fused; portable in layout transformers.js, with exporter optimum, and for the tasks
            text-generation and feature-extraction, which have no past. genai generates texts only.
        precision: how weights are stored: fp32, fp16 and bf16 (activations and cache too);
            int8 and int4, in blocks with a scale each; w8a8, 7 bits multiplied by activations of 8
            bits, for the CPU. Several ("fp32,int4" or a list) make graphs of each: the first is
            model.onnx, the others are model.int4.onnx and so on, with a weights file each that
            has what no earlier one has.
        activations: fp32, fp16 or bf16, with int8 and int4; by default fp32, for the CPU. CUDA
            needs fp16 or bf16.
        full_range: with w8a8, store weights of full 8 bits. Only for processors with VNNI or AMX:
            other x86 processors saturate the sums of their products.
        calibrate: with int8, w8a8 and int4, a text file (UTF-8, similar to what the model will
            read). The float model reads it first, so that weights are rounded with the least
            change to its results. Precisions that are not rounded stay as they are. Needs the
            checkpoint's tokenizer.
        hidden_states: layers whose hidden states the graphs give, for feature extraction:
            numbered as in transformers (0 is the embeddings, k is the output of block k, the last
            is taken after the final layer normalization), or "all". Fused graphs always give the
            last.
        layout: "flat", or "transformers.js": a folder onnx/ of portable graphs, one for each of
            one or more precisions (fp32, fp16, int8, int4), under the names that transformers.js
            asks for.
        exporter: "direct" builds graphs straight from the checkpoint; "optimum" has
            optimum.exporters.onnx trace the portable graph in fp32, and always compares it with
            transformers over three windows (needs the `optimum` extra).
        verify: compare each exported graph with transformers on random tokens longer than twice
            the window (needs the `optimum` extra), and raise if they differ.
        revision: the branch, tag or commit of a hub id to fetch.
        variant: which weights to take where files are named after it, as in from_pretrained:
            "fp16" for model.fp16.safetensors.
        tokenizer: what is written instead of the checkpoint's, which may have none: that of a
            directory or a hub id, the path of a tokenizer.json, or a tokenizer of transformers,
            tokenizers or gptneo_onnx.runtime.
        adapter: a directory or a hub id of a PEFT adapter (LoRA, DoRA, IA3 or trained tokens),
            which is merged into the weights. Its tokenizer is taken, if it has one.
        progress: draw a progress bar on standard error, if that is a terminal.
        report: called with each line worth telling the user.

    Returns:
        `out`, as a path.

    Raises:
        InputError: an argument that cannot be used.
        MissingDependencyError: verify or exporter needs a package that is not installed.
        ModelFileError: the checkpoint is missing, damaged, or not a GPT-Neo; or a graph differs
            from transformers by more than its precision explains.
        ExportError: the export cannot be written, or ONNX Runtime cannot run it.

    Whatever is raised, Ctrl-C included, nothing of the new export remains, and an earlier one is
    as it was.
    """
    plan = plan_export(
        checkpoint,
        out,
        task=task,
        graph=graph,
        precision=precision,
        activations=activations,
        full_range=full_range,
        calibrate=calibrate,
        hidden_states=hidden_states,
        layout=layout,
        exporter=exporter,
        verify=verify,
        revision=revision,
        variant=variant,
        tokenizer=tokenizer,
        adapter=adapter,
    )
    report = report or _ignore
    for leftover in remove_leftovers(plan.out.absolute().parent):
        report(str(leftover))
    check_replaceable(plan.out.absolute())
    source = open_source(plan)
    task = task_of(plan, source)
    layers = plan.hidden_layers(source.config.num_layers)
    # The directory is renamed to plan.out when the block ends.
    with (
        tokenizer_of_export(plan.tokenizer, source) as read_from,
        unchanged_float_state(),
        atomic_directory(plan.out) as partial,
    ):
        for note in notes_on(plan, task, source):
            report(note)
        write_companions(source, read_from, partial, report, plan.tokenizer is not None)
        stored: list[StoredWeights] = []
        for files in files_of_formats(plan, partial):
            graphs = _write_graphs(
                plan, task, source, partial, files, stored, layers, progress, report
            )
            if plan.verify:
                for path, contract in graphs.items():
                    verify_graph(path, contract, source, files.numbers, report, plan.verify_windows)
        _declare(plan, task, source, read_from.directory, partial, layers)
    return plan.out


def _ignore(line: str) -> None:
    """Stand in for `report` where the caller gives none."""


def open_source(plan: ExportPlan) -> Checkpoint:
    """Open the checkpoint, merged with the adapter if there is one."""
    directory = local_checkpoint(plan.checkpoint, plan.revision, plan.variant)
    source = open_checkpoint(directory, plan.variant)
    if plan.adapter is None:
        return source
    return merge_adapter(source, local_adapter(plan.adapter), plan.checkpoint)


def task_of(plan: ExportPlan, source: Checkpoint) -> Task:
    """Return the task of an export: the one that was asked for, or the checkpoint's.

    Raises:
        InputError, ModelFileError: the checkpoint, or the plan's graphs, do not fit it.
    """
    task = chosen_task(plan.task, source)
    check_task(task, plan)
    return task


def notes_on(plan: ExportPlan, task: Task, source: Checkpoint) -> list[str]:
    """Return lines that tell what was understood of the checkpoint, and in which way."""
    built = plan.graphs if plan.exporter == "direct" else ()
    return [*source.notes, *notes_on_task(plan.task, task, source, built)]


def _write_graphs(
    plan: ExportPlan,
    task: Task,
    source: Checkpoint,
    partial: Path,
    files: FormatFiles,
    stored: list[StoredWeights],
    layers: Sequence[int],
    progress: bool,
    report: Callable[[str], object],
) -> dict[Path, GraphContract]:
    """Write the graphs of one number format, and the weights file that they share.

    Where their weights lie is added to `stored`, which has the formats before, if they are shared.

    Returns:
        The graphs' files, with what their inputs and outputs are.
    """
    files.weights.parent.mkdir(exist_ok=True)
    if plan.exporter == "optimum":
        graph = files.graphs["portable"]
        return {graph: write_optimum_graph(source, task, graph, files.weights, progress)}
    weights = weights_of(source, files, task, partial / TOKENIZER_FILE)
    graphs, written = write_graphs(source, files, weights, layers, task, stored, progress)
    if plan.shares_weights:
        stored.append(written)
    if "genai" in files.graphs:
        settings = GenerationSettings.read(source.directory)
        name = files.graphs["genai"].name
        for note in write_genai_config(partial, name, source.config, settings):
            report(note)
    return {graph.path: graph.contract for graph in graphs}


def _declare(
    plan: ExportPlan,
    task: Task,
    source: Checkpoint,
    tokenizer: Path,
    partial: Path,
    layers: tuple[int, ...],
) -> None:
    """Declare what the directory holds: in our manifest, or where transformers.js looks for it."""
    if plan.layout == "transformers.js":
        files = [transformers_js.graph_file(numbers) for numbers in plan.formats]
        transformers_js.declare_weights(partial, files)
        return
    records = {
        path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in partial.iterdir()
    }
    contents = contents_of(plan, source, tokenizer)
    made_from = fingerprint(plan, task, layers, contents, plan.verify)
    manifest_of(plan, task, records, layers, made_from).write(partial)


def manifest_of(
    plan: ExportPlan,
    task: Task,
    files: Mapping[str, FileRecord],
    layers: tuple[int, ...],
    made_from: str,
) -> Manifest:
    """Return the manifest of an export in layout flat."""
    return Manifest(
        graph=plan.graphs[0],
        numbers=plan.formats[0],
        other_numbers=plan.formats[1:],
        opset=optimum_trace.OPSET if plan.exporter == "optimum" else OPSET,
        least_onnx_runtime=LEAST_ONNX_RUNTIME,
        files=files,
        hidden_states=layers,
        task=task,
        made_from=made_from,
    )
