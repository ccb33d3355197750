"""Open an exported directory, and check all of it before a session is made."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.graph import GraphContract, NumberFormat, fused_contract
from gptneo_onnx.models.json_file import json_object
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    GraphEntry,
    Manifest,
    sha256_of,
)
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.runtime.files import is_directory
from gptneo_onnx.runtime.model_files.foreign import find_graphs
from gptneo_onnx.runtime.model_files.fused_check import check_fused_graph
from gptneo_onnx.runtime.model_files.hashes import FileVerification
from gptneo_onnx.runtime.model_files.held_file import HeldFile, HeldGraph
from gptneo_onnx.runtime.model_files.listed_files import (
    check_listed,
    check_sizes,
    verified_small_files,
)
from gptneo_onnx.runtime.model_files.paths import check_inside
from gptneo_onnx.runtime.model_files.portable_check import check_portable_graph
from gptneo_onnx.runtime.model_files.portable_interface import PortableInterface, check_pair
from gptneo_onnx.runtime.onnx_runtime import check_onnx_runtime


@dataclass(frozen=True)
class ModelDirectory(ABC):
    """A model directory whose files were checked.

    Attributes:
        path: the directory.
        config: the model's config.json.
        manifest: the export's manifest; None if another exporter wrote the directory.
        verification: may still be hashing the weights: call its `finish()` before trusting a
            result.
        held: the graph or graphs, each with the files of its weights: open until finish().
    """

    path: Path
    config: GPTNeoConfig
    manifest: Manifest | None
    verification: FileVerification
    held: tuple[HeldGraph, ...]

    @property
    @abstractmethod
    def task(self) -> Task:
        """What the graph is for."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The graph or graphs that sessions read, then the files of their weights."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies graph and weights; a prompt cache is only valid for the same fingerprint."""


@dataclass(frozen=True)
class FusedModel(ModelDirectory):
    """A directory with a fused graph, which only this project writes.

    Attributes:
        contract: the graph's inputs and outputs.
        graph: its file.
        numbers: its number format.
        data_files: the names of the files that hold its weights.
    """

    manifest: Manifest
    contract: GraphContract
    graph: Path
    numbers: NumberFormat
    data_files: tuple[str, ...]

    @property
    def task(self) -> Task:
        return self.manifest.task

    @property
    def files(self) -> tuple[Path, ...]:
        return self.graph, *(self.path / name for name in self.data_files)

    @property
    def fingerprint(self) -> str:
        files = self.manifest.files
        return "-".join(files[name].sha256 for name in (self.graph.name, *self.data_files))


@dataclass(frozen=True)
class PortableModel(ModelDirectory):
    """A directory with a portable graph, whoever wrote it.

    Attributes:
        graphs: the graph that begins a sequence, and the graph that continues it if the first
            cannot.
        interfaces: the interface of each graph.
        data_files: the files that hold weights, besides the graphs' own.
        unbounded: describes the operators whose results have sizes that are not known; see
            GraphSignature.
    """

    graphs: tuple[Path, ...]
    interfaces: tuple[PortableInterface, ...]
    data_files: tuple[Path, ...]
    unbounded: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        return self.interfaces[-1].task

    @property
    def files(self) -> tuple[Path, ...]:
        return *self.graphs, *self.data_files

    @functools.cached_property
    def fingerprint(self) -> str:
        """As in ModelDirectory; the first time, this reads and hashes all weights."""
        return "-".join(map(sha256_of, self.files))


def open_model_directory(directory: str | Path, file_name: str | None = None) -> ModelDirectory:
    """Open and check an exported directory: our own, Optimum's or one for transformers.js.

    Args:
        directory: the exported directory.
        file_name: the graph to run; by default model.onnx, or the name that other exporters use.

    Raises:
        InputError: there is no such directory or graph, or the directory is a checkpoint that was
            not exported.
        ModelFileError: a file is missing, unlisted or changed, or the graph cannot be run here.
        MissingDependencyError: the model needs a newer ONNX Runtime.
    """
    path = Path(directory)
    if not is_directory(path):
        raise InputError(
            f"{directory} is not a directory; a checkpoint or hub id must be exported first: "
            f"gptneo-onnx export {directory} OUT"
        )
    if (path / MANIFEST_FILE).exists():
        return _open_own_export(path, GRAPH_FILE if file_name is None else file_name)
    graphs = find_graphs(path, file_name)
    if graphs is None:
        raise _not_exported(directory)
    names = [name for name in (graphs.first, graphs.with_past) if name is not None]
    return _open_portable(path, names, None, {CONFIG_FILE: HeldFile.inside(path, CONFIG_FILE)})


def _open_own_export(path: Path, file_name: str) -> ModelDirectory:
    check_inside(path, MANIFEST_FILE, hashed=True)
    manifest = Manifest.read(path)
    check_listed(path, manifest)
    graphs = manifest.graphs
    if file_name not in graphs:
        raise InputError(
            f"file_name is {shown(file_name)}; {path} has "
            f"{', '.join(f'{name} ({_described(entry)})' for name, entry in graphs.items())}"
        )
    kind, numbers = graphs[file_name].kind, graphs[file_name].numbers
    if kind == "genai":
        raise ModelFileError(
            f"{path}: its {file_name} is a genai graph, for onnxruntime-genai; export with "
            "--graph fused,genai for this runtime and for it"
        )
    check_onnx_runtime(manifest.least_onnx_runtime)
    check_sizes(path, manifest)
    held = verified_small_files(path, manifest)
    if kind == "portable":
        return _open_portable(path, [file_name], manifest, held)
    config_values = _config_values(held[CONFIG_FILE])
    config = GPTNeoConfig.from_dict(config_values, str(path / CONFIG_FILE))
    contract = fused_contract(config, numbers, manifest.hidden_states, manifest.task)
    graph = held[file_name]
    names = check_fused_graph(graph.path, contract, config, manifest.weights_files, graph.view())
    weights = {name: HeldFile.inside(path, name, hashed=True) for name in names}
    held_graph = HeldGraph(graph, tuple(weights.values()))
    watched = [held[CONFIG_FILE], *held_graph.files]
    verification = _verify_weights(path, manifest, weights, watched)
    return FusedModel(
        path, config, manifest, verification, (held_graph,), contract, graph.path, numbers, names
    )


def _described(entry: GraphEntry) -> str:
    return f"{entry.kind}, {entry.numbers.precision.value}"


def _open_portable(
    path: Path, names: Sequence[str], manifest: Manifest | None, opened: Mapping[str, HeldFile]
) -> PortableModel:
    config_file = opened[CONFIG_FILE]
    values = _config_values(config_file)
    config = GPTNeoConfig.from_dict(values, str(config_file.path))
    hashed = manifest is not None
    held = _Held(hashed, {path / name: opened[name] for name in names if name in opened})
    graphs = [held.file(path / name) for name in names]
    signatures = [
        check_portable_graph(graph.path, config, hashed=hashed, content=graph.view())
        for graph in graphs
    ]
    task = None if manifest is None else manifest.task
    architecture = _architecture(values)
    interfaces = [
        PortableInterface.recognise(graph.path, signature, config, task, architecture)
        for graph, signature in zip(graphs, signatures, strict=True)
    ]
    check_pair(path, names, interfaces)
    held_graphs = tuple(
        HeldGraph(graph, tuple(map(held.file, signature.data_files)))
        for graph, signature in zip(graphs, signatures, strict=True)
    )
    data_files = sorted({file for signature in signatures for file in signature.data_files})
    weights = {file.name: held.file(file) for file in data_files}
    unbounded = {operator for signature in signatures for operator in signature.unbounded}
    return PortableModel(
        path,
        config,
        manifest,
        _verify_weights(path, manifest, weights, [config_file, *held.files.values()]),
        held_graphs,
        tuple(graph.path for graph in graphs),
        tuple(interfaces),
        tuple(data_files),
        tuple(sorted(unbounded)),
    )


class _Held:
    """Files of a model's directory, each opened once; some are open already."""

    def __init__(self, hashed: bool, files: dict[Path, HeldFile]) -> None:
        self.hashed = hashed
        self.files = files

    def file(self, path: Path) -> HeldFile:
        if path not in self.files:
            self.files[path] = HeldFile.inside(path.parent, path.name, hashed=self.hashed)
        return self.files[path]


def _config_values(file: HeldFile) -> dict[str, Any]:
    return json_object(file.content(), file.path, max_bytes=1024 * 1024)


def _architecture(values: Mapping[str, Any]) -> str | None:
    """Return the class of transformers that config.json names first."""
    architectures = values.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    return first if isinstance(first, str) else None


def _verify_weights(
    path: Path,
    manifest: Manifest | None,
    weights: Mapping[str, HeldFile],
    watched: Sequence[HeldFile],
) -> FileVerification:
    """Begin to hash a graph's weights; without a manifest there is nothing to compare them with.

    Args:
        weights: their files by name.
        watched: these and all other files that must stay as they are until the end.
    """
    if manifest is None:
        return FileVerification(path, {}, watched=watched)
    for name in weights:
        if name not in manifest.weights_files:
            raise ModelFileError(
                f"{path}: a graph reads {shown(name)}, which is no file of weights; "
                "export the checkpoint again"
            )
    records = {name: manifest.files[name] for name in weights}
    return FileVerification(path, records, weights, watched)


def _not_exported(directory: str | Path) -> InputError:
    if (Path(directory) / CONFIG_FILE).is_file():
        return InputError(
            f"{directory} is a checkpoint; export it first: gptneo-onnx export {directory} OUT"
        )
    return InputError(
        f"{directory} is not an exported model: it has neither {MANIFEST_FILE} nor a graph; "
        "make one with: gptneo-onnx export CHECKPOINT OUT"
    )
