"""Says what an export would do, and writes nothing that stays.

Graphs are built as export_model builds them, and small files are written into a temporary
directory, so that every size is exact. No weights are read.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.arguments import AUTO, ExportPlan, plan_export
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.companions import write_companions
from gptneo_onnx.export.exporter import (
    manifest_of,
    notes_on,
    open_source,
    task_of,
)
from gptneo_onnx.export.format_files import files_of_formats
from gptneo_onnx.export.graph_files import FormatFiles, build_graphs, weights_of
from gptneo_onnx.export.graphs.genai_config import write_genai_config
from gptneo_onnx.export.memory import BASE_BYTES, cache_bytes, export_memory, run_memory
from gptneo_onnx.export.output_directory import check_replaceable
from gptneo_onnx.export.sources import (
    WeightFile,
    describe_model,
    not_finite,
    unknown_entries,
    weight_files,
)
from gptneo_onnx.export.tokenizer_files import TokenizerSource, tokenizer_of_export
from gptneo_onnx.export.weights.weights_file import StoredWeights
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.generation_settings import GenerationSettings
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import (
    MANIFEST_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    FileRecord,
)
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.models.tokenizer_check.content import read_backend
from gptneo_onnx.models.tokenizer_files import has_tokenizer

_NO_HASH = "0" * 64
# Files that say something about tokens, besides the vocabulary.
_TOKEN_FILES = (TOKENIZER_CONFIG_FILE, "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class ExportReport:
    """What an export would do.

    Attributes:
        checkpoint: the directory that it reads.
        model: the model's dimensions by name.
        weights: the files that its weights are in.
        tokenizer: where it is read from, its tokens and those added to its vocabulary; None for
            none.
        generation_settings: the file that they are read from, and how many there are.
        notes: what export_model would report.
        unknown_entries: of config.json, which are passed over.
        not_finite: how many numbers of a tensor are infinite or not numbers; None if not counted.
        task: what the graphs are for.
        graphs, precisions: what is written.
        files: the size of each file that is written, in bytes.
        export_memory: about how many bytes of memory the export takes.
        run_memory: about how many its first graph takes for a text as long as the context.
        cache_per_sequence: of those, the bytes of the cache.
        self_draft_memory: about how many two graphs take together, the first one and the smallest
            in another precision, which drafts for it; None where there is a single precision.
    """

    checkpoint: str
    model: dict[str, Any]
    weights: list[WeightFile]
    tokenizer: dict[str, Any] | None
    generation_settings: dict[str, Any]
    notes: list[str]
    unknown_entries: list[str]
    not_finite: dict[str, int] | None
    task: str
    graphs: list[str]
    precisions: list[str]
    files: dict[str, int]
    export_memory: int
    run_memory: int
    cache_per_sequence: int
    self_draft_memory: int | None

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return asdict(self) | {"total": self.total}


def check_export(
    checkpoint: str | Path,
    out: str | Path | None = None,
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
    variant: str | None = None,
    tokenizer: Any = None,
    adapter: str | Path | None = None,
    task: str = AUTO,
    full: bool = False,
) -> ExportReport:
    """Return what export_model would do with these arguments, without doing it.

    Args:
        checkpoint: a hub id or a directory. It and what is not listed here are as in export_model.
        out: the directory that would be made; None leaves it unchecked.
        exporter: "direct": sizes of Optimum's graphs are not known before it traces them.
        full: read every weight, and count the numbers that are not finite.

    Raises:
        InputError, MissingDependencyError, ModelFileError: as export_model, with its messages.
    """
    plan = plan_export(
        checkpoint,
        out or "OUT",
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
        task=task,
    )
    if plan.exporter != "direct":
        raise InputError(
            "exporter is 'optimum', whose graphs have no size before they are traced; leave it out"
        )
    if out is not None:
        check_replaceable(plan.out.absolute())
    return _report(plan, open_source(plan), full)


def _report(plan: ExportPlan, source: Checkpoint, full: bool) -> ExportReport:
    task = task_of(plan, source)
    layers = plan.hidden_layers(source.config.num_layers)
    notes = notes_on(plan, task, source)
    with (
        tokenizer_of_export(plan.tokenizer, source) as read_from,
        tempfile.TemporaryDirectory() as name,
    ):
        directory = Path(name)
        write_companions(source, read_from, directory, notes.append, plan.tokenizer is not None)
        files: dict[str, int] = {}
        stored: list[StoredWeights] = []
        for each in files_of_formats(plan, directory):
            places = (source, directory, each, stored, layers, files)
            stored.append(_plan_graphs(plan, task, *places, notes.append))
        weights = {
            numbers: each.file_bytes + each.shared_bytes
            for numbers, each in zip(plan.formats, stored, strict=True)
        }
        tokenizer = _describe_tokenizer(read_from, directory)
        files = _all_files(plan, task, directory, files, layers)
    model, settings = describe_model(source.config), GenerationSettings.read(source.directory)
    kind, parameters = plan.graphs[0], model["parameters"]
    memories = [
        run_memory(source.config, kind, numbers, size, parameters)
        for numbers, size in weights.items()
    ]
    return ExportReport(
        checkpoint=str(source.directory),
        model=model,
        weights=weight_files(source),
        tokenizer=tokenizer,
        generation_settings={"file": settings.path.name, "settings": len(settings.values)},
        notes=notes,
        unknown_entries=unknown_entries(source),
        not_finite=not_finite(source) if full else None,
        task=task.value,
        graphs=[*plan.graphs],
        precisions=[numbers.precision.value for numbers in plan.formats],
        files=files,
        export_memory=max(
            export_memory(source.config, numbers, size) for numbers, size in weights.items()
        ),
        run_memory=max(memories),
        cache_per_sequence=max(
            cache_bytes(source.config, kind, numbers) for numbers in plan.formats
        ),
        self_draft_memory=memories[0] + min(memories[1:]) - BASE_BYTES
        if plan.shares_weights and len(memories) > 1
        else None,
    )


def _plan_graphs(
    plan: ExportPlan,
    task: Task,
    source: Checkpoint,
    directory: Path,
    planned: FormatFiles,
    earlier: Sequence[StoredWeights],
    layers: Sequence[int],
    files: dict[str, int],
    report: Callable[[str], object],
) -> StoredWeights:
    """Add the sizes of the graphs of one number format and of their weights to `files`."""
    if planned.calibration_text is not None:  # checks the text; its weights are not computed
        weights_of(source, planned, task, directory / TOKENIZER_FILE)
    if not plan.shares_weights:
        earlier = ()
    built, stored = build_graphs(source, planned, layers, task, earlier)
    for graph in built:
        files[graph.path.relative_to(directory).as_posix()] = graph.model.ByteSize()
    files[planned.weights.relative_to(directory).as_posix()] = stored.file_bytes
    if "genai" in planned.graphs:
        settings, name = GenerationSettings.read(source.directory), planned.graphs["genai"].name
        for note in write_genai_config(directory, name, source.config, settings):
            report(note)
    return stored


def _all_files(
    plan: ExportPlan,
    task: Task,
    directory: Path,
    files: dict[str, int],
    layers: tuple[int, ...],
) -> dict[str, int]:
    """Return the sizes of all files: the planned ones, those written, and the declaration."""
    if plan.layout == "transformers.js":
        graphs = [transformers_js.graph_file(numbers) for numbers in plan.formats]
        transformers_js.declare_weights(directory, graphs)
    files = files | {path.name: path.stat().st_size for path in directory.iterdir()}
    if plan.layout == "flat":
        records = {name: FileRecord(size, _NO_HASH) for name, size in files.items()}
        manifest_of(plan, task, records, layers, _NO_HASH).write(directory)
        files[MANIFEST_FILE] = (directory / MANIFEST_FILE).stat().st_size
    return dict(sorted(files.items()))


def _describe_tokenizer(read_from: TokenizerSource, written: Path) -> dict[str, Any] | None:
    source = read_from.directory
    if not has_tokenizer(source):
        return None
    path = written / TOKENIZER_FILE
    tokenizer = read_backend(Tokenizer.from_str, read_json_object(path), f"{path} is")
    has_json = (source / TOKENIZER_FILE).is_file()
    vocabulary = (TOKENIZER_FILE,) if has_json else ("vocab.json", "merges.txt")
    names = (*vocabulary, *_TOKEN_FILES)
    added = tokenizer.get_added_tokens_decoder().values()
    return {
        "directory": read_from.name,
        "files": [name for name in names if (source / name).is_file()],
        "tokens": tokenizer.get_vocab_size(),
        "added": [token.content for token in added],
    }
