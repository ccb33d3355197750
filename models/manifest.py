"""gptneo_onnx.json: lists the files of an exported directory, so that changes are noticed."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from gptneo_onnx.models.config import MAX_LAYERS
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.named_file import open_file
from gptneo_onnx.models.tasks import Task

MANIFEST_FILE = "gptneo_onnx.json"
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx_data"  # transformers.js accepts no other spelling
CONFIG_FILE = "config.json"
GENERATION_CONFIG_FILE = "generation_config.json"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

FORMAT_VERSION = 1
GRAPH_KINDS = ("fused", "portable", "genai")
# The first release with sliding_window_cache of GroupQueryAttention.
LEAST_ONNX_RUNTIME = "1.30.0"

_HASH_BLOCK = 1024 * 1024
_MAX_FILES = 64
# Not a path on any platform, not hidden, and not too long for a file system.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class FileRecord:
    """A file of an exported directory: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class GraphEntry:
    """What a graph of an exported directory is: its kind, one of GRAPH_KINDS, and its numbers."""

    kind: str
    numbers: NumberFormat


@dataclass(frozen=True)
class Manifest:
    """The contents of gptneo_onnx.json.

    Attributes:
        graph: the kind of model.onnx, one of GRAPH_KINDS.
        numbers: the types of weights, activations and cache of model.onnx.
        opset: version of the standard operators.
        least_onnx_runtime: the oldest ONNX Runtime that has every operator of the graph.
        files: every file of the directory except the manifest, by base name.
        hidden_states: the layers whose hidden states were asked for, from 0 to the number of
            layers.
        task: what the graphs are for; a graph of kind genai is always for generation.
        other_numbers: those of the same graphs in other precisions, each once.
        made_from: a SHA-256 of the checkpoint, the options and the version that the export was
            made with (export/fingerprint.py); None where it is not known, as in older exports.
    """

    graph: str
    numbers: NumberFormat
    opset: int
    least_onnx_runtime: str
    files: Mapping[str, FileRecord]
    hidden_states: tuple[int, ...] = ()
    task: Task = Task.TEXT_GENERATION_WITH_PAST
    other_numbers: tuple[NumberFormat, ...] = ()
    made_from: str | None = None

    @property
    def graphs(self) -> dict[str, GraphEntry]:
        """Each graph by file name: model.onnx, KIND.onnx for each other kind, then precisions."""
        kinds = {GRAPH_FILE: self.graph, **{f"{kind}.onnx": kind for kind in GRAPH_KINDS}}
        entries = {name: GraphEntry(kind, self.numbers) for name, kind in kinds.items()}
        for numbers in self.other_numbers:
            for name, kind in kinds.items():
                entries[in_precision(name, numbers.precision)] = GraphEntry(kind, numbers)
        return {name: entry for name, entry in entries.items() if name in self.files}

    @property
    def weights_files(self) -> tuple[str, ...]:
        """The files of weights, one for each number format."""
        others = (in_precision(WEIGHTS_FILE, each.precision) for each in self.other_numbers)
        return WEIGHTS_FILE, *others

    def write(self, directory: Path) -> None:
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "task": self.task.value,
            "graph": self.graph,
            **_number_values(self.numbers),
            "opset": self.opset,
            "hidden_states": list(self.hidden_states),
            "least_onnx_runtime": self.least_onnx_runtime,
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }
        if self.other_numbers:
            values["other_precisions"] = [*map(_number_values, self.other_numbers)]
        if self.made_from is not None:
            values["made_from"] = self.made_from
        (directory / MANIFEST_FILE).write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Read gptneo_onnx.json.

        Raises:
            ModelFileError: it is missing, damaged, or of another version of the format.
        """
        path = directory / MANIFEST_FILE
        if not path.is_file():
            raise ModelFileError(
                f"{directory} is not an exported model: it has no {MANIFEST_FILE}; "
                f"make one with: gptneo-onnx export CHECKPOINT OUT"
            )
        values = read_json_object(path, max_bytes=1024 * 1024)
        version = values.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path}: format_version is {shown(version)}; this version reads {FORMAT_VERSION}: "
                "export the checkpoint again, or update gptneo-onnx"
            )
        return cls(
            graph=_one_of(path, values, "graph", GRAPH_KINDS),
            numbers=_numbers(path, values),
            opset=_integer(path, values, "opset"),
            least_onnx_runtime=_version(path, values, "least_onnx_runtime"),
            files=_read_files(path, values.get("files")),
            hidden_states=_layers(path, values),
            task=_task(path, values),
            other_numbers=_other_numbers(path, values),
            made_from=_made_from(path, values),
        )


def record_files(directory: Path, *names: str) -> None:
    """Record the sizes and hashes of files that were rewritten in a directory's manifest.

    A directory without a manifest stays as it is.

    Raises:
        ModelFileError: the manifest is damaged.
    """
    if not (directory / MANIFEST_FILE).is_file():
        return
    manifest = Manifest.read(directory)
    records = {
        name: FileRecord((directory / name).stat().st_size, sha256_of(directory / name))
        for name in names
    }
    replace(manifest, files={**manifest.files, **records}).write(directory)


def partial_prefix(name: str) -> str:
    """Return how the hidden name begins of a directory that is renamed `name` once it is whole."""
    return f".{name}.partial-"


def in_precision(name: str, precision: Precision) -> str:
    """Return the name that a graph or its weights have in another precision than the first.

    model.onnx becomes model.int4.onnx, and model.onnx_data model.int4.onnx_data.
    """
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{precision.value}.{suffix}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's contents in hexadecimal; reads a megabyte at a time.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_file(path) as file:
        return sha256_of_stream(file)


def sha256_of_stream(file: IO[bytes]) -> str:
    """Return the SHA-256 of what is left of an open file; see sha256_of()."""
    digest = hashlib.sha256()
    while block := file.read(_HASH_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _one_of(path: Path, values: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    value = values.get(name)
    if value not in allowed:
        raise ModelFileError(
            f"{path}: {name} is {shown(value)}; one of {', '.join(allowed)} is allowed"
        )
    return str(value)


def _task(path: Path, values: Mapping[str, Any]) -> Task:
    """Read the task; exports that name none are for generation."""
    if "task" not in values:
        return Task.TEXT_GENERATION_WITH_PAST
    return Task(_one_of(path, values, "task", [task.value for task in Task]))


def _numbers(path: Path, values: Mapping[str, Any]) -> NumberFormat:
    """Read the number format; the first exports name only the precision.

    Their activations are of its default type, and their weights of full range.
    """
    precision = Precision(_one_of(path, values, "precision", [p.value for p in Precision]))
    if "activations" not in values:
        return NumberFormat(precision, precision.activations[0])
    allowed = [activations.value for activations in precision.activations]
    activations = DataType(_one_of(path, values, "activations", allowed))
    reduce_range = values.get("reduce_range", False)
    if type(reduce_range) is not bool:
        raise ModelFileError(
            f"{path}: reduce_range is {shown(reduce_range)}; true or false is allowed"
        )
    return NumberFormat(precision, activations, reduce_range)


def _number_values(numbers: NumberFormat) -> dict[str, Any]:
    """Return a number format as it stands in the file; _numbers() reads it."""
    return {
        "precision": numbers.precision.value,
        "activations": numbers.activations.value,
        "reduce_range": numbers.reduce_range,
    }


def _other_numbers(path: Path, values: Mapping[str, Any]) -> tuple[NumberFormat, ...]:
    """Read other_precisions, which exports of a single precision lack."""
    others = values.get("other_precisions", [])
    if not isinstance(others, list) or not all(isinstance(other, dict) for other in others):
        raise ModelFileError(f"{path}: other_precisions must be a list of number formats")
    precisions = [values.get("precision"), *(other.get("precision") for other in others)]
    if len({*map(str, precisions)}) < len(precisions):
        raise ModelFileError(f"{path}: other_precisions must name each precision once")
    return tuple(_numbers(path, other) for other in others)


def _layers(path: Path, values: Mapping[str, Any]) -> tuple[int, ...]:
    """Read hidden_states, which the first exports lack: they return only the last layer's."""
    layers = values.get("hidden_states", [])
    valid = isinstance(layers, list) and all(
        type(layer) is int and 0 <= layer <= MAX_LAYERS for layer in layers
    )
    if not valid or len(set(layers)) < len(layers):
        raise ModelFileError(
            f"{path}: hidden_states is {shown(layers)}; a list of layers, each once, is allowed"
        )
    return tuple(layers)


def _made_from(path: Path, values: Mapping[str, Any]) -> str | None:
    """Read made_from, which older exports lack."""
    return _digest(path, "made_from", values["made_from"]) if "made_from" in values else None


def _integer(path: Path, values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if type(value) is not int or value < 0:
        raise ModelFileError(f"{path}: {name} is {shown(value)}; a whole number is allowed")
    return value


def _version(path: Path, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}", value):
        raise ModelFileError(
            f"{path}: {name} is {shown(value)}; a version such as 1.30.0 is allowed"
        )
    return value


def _read_files(path: Path, files: Any) -> dict[str, FileRecord]:
    if not isinstance(files, dict) or len(files) > _MAX_FILES:
        raise ModelFileError(
            f"{path}: files must map at most {_MAX_FILES} names to size and sha256"
        )
    return {name: _read_record(path, name, record) for name, record in files.items()}


def _read_record(path: Path, name: str, record: Any) -> FileRecord:
    if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST_FILE:
        raise ModelFileError(f"{path}: {shown(name)} is not a plain file name")
    if not isinstance(record, dict):
        raise ModelFileError(f"{path}: the record of {name} must hold size and sha256")
    digest = _digest(path, f"sha256 of {name}", record.get("sha256"))
    return FileRecord(size=_integer(path, record, "size"), sha256=digest)


def _digest(path: Path, what: str, digest: Any) -> str:
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ModelFileError(
            f"{path}: {what} is {shown(digest)}; 64 hexadecimal digits are allowed"
        )
    return digest
