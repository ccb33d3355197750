"""The command `gptneo-onnx info`: the shape, precision and sizes of an exported model."""

import argparse
import json
import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import printable
from gptneo_onnx.models.graph import ACTIVATION_NAMES, BATCH, CAPACITY, Precision
from gptneo_onnx.models.manifest import CONFIG_FILE, Manifest
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.cli.options import add_graph_choice, add_json, add_model, chosen_graph
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped

_SHOWN_LABELS = 8
# The column of values in the table.
_VALUES = 28

if TYPE_CHECKING:
    from gptneo_onnx.runtime.model_files.directory import FusedModel, PortableModel


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "info",
        help="describe an exported model",
        description="Describe an exported model: its shape, precision, files and cache size.",
    )
    add_model(command)
    add_graph_choice(command.add_argument_group("model"))
    add_json(command.add_argument_group("output"))
    add_examples(command, "info gpt-neo-125m", "info gpt-neo-125m --json")
    command.set_defaults(run=run_info)


def run_info(options: argparse.Namespace) -> None:
    """Print what model_info() returns, as a table or as JSON."""
    info = model_info(*chosen_graph(options.model, options))
    print(json.dumps(info) if options.json else wrapped(_table(info), sys.stdout, _VALUES))


def model_info(directory: str | Path, file_name: str | None = None) -> dict[str, Any]:
    """Return the model's shape, precision and sizes in bytes; every file is checked on the way.

    Raises:
        InputError, ModelFileError: as open_model_directory().
    """
    from gptneo_onnx.runtime.model_files.directory import (
        FusedModel,
        PortableModel,
        open_model_directory,
    )
    from gptneo_onnx.runtime.model_files.hashes import FileVerification

    model = open_model_directory(directory, file_name)
    model.verification.finish()
    if model.manifest is not None:  # the files that only other graphs read, too
        FileVerification(model.path, model.manifest.files).finish()
    if isinstance(model, FusedModel):
        kind, graph, facts = "fused", model.graph, _fused_facts(model)
    else:
        assert isinstance(model, PortableModel)
        kind, graph, facts = "portable", model.graphs[-1], _portable_facts(model)
    config = model.config
    return {
        "graph": kind,
        **({} if model.manifest is None else _export_settings(model.manifest, config, graph.name)),
        "layers": config.num_layers,
        "local_layers": config.layer_kinds.count("local"),
        "window": config.window_size,
        "hidden_size": config.hidden_size,
        "heads": config.num_heads,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        **facts,
    }


def _export_settings(manifest: Manifest, config: GPTNeoConfig, graph: str) -> dict[str, Any]:
    """Return what only exports of our own record of a graph, by its name, and of the others.

    Labels are in the order of the columns.
    """
    numbers, labels = manifest.graphs[graph].numbers, config.labels.id2label
    settings: dict[str, Any] = {"task": manifest.task.value}
    if manifest.task.has_labels:
        settings["labels"] = [labels[column] for column in sorted(labels)]
    settings["precision"] = numbers.precision.value
    if numbers.precision is Precision.W8A8:  # the only precision with two ranges of weights
        settings["weights"] = "7-bit" if numbers.reduce_range else "full-range"
    settings["activations"] = ACTIVATION_NAMES[numbers.activations]
    settings["least_onnx_runtime"] = manifest.least_onnx_runtime
    if len(manifest.graphs) > 1:
        settings["graphs"] = {
            name: f"{entry.kind}, {entry.numbers.precision.value}"
            for name, entry in manifest.graphs.items()
        }
    return settings


def _fused_facts(model: "FusedModel") -> dict[str, Any]:
    sizes = {BATCH: 1, CAPACITY: model.config.max_position_embeddings}
    cache_bytes = sum(
        prod(spec.shape(sizes)) * spec.data_type.itemsize
        for cache in model.contract.caches
        for spec in cache.past
    )
    return {
        "hidden_states": [*model.contract.hidden_states],
        "cache_bytes_per_sequence": cache_bytes,
        "files": _recorded_sizes(model.manifest),
    }


def _portable_facts(model: "PortableModel") -> dict[str, Any]:
    from gptneo_onnx.runtime.model_files.portable_interface import hidden_state_layers

    last, config = model.interfaces[-1], model.config
    row_bytes = config.hidden_size * last.cache_type.itemsize
    sizes = _sizes_on_disk(model) if model.manifest is None else _recorded_sizes(model.manifest)
    return {
        "hidden_states": [*hidden_state_layers(model.interfaces)],
        "cache_bytes_per_sequence": len(last.past) * config.max_position_embeddings * row_bytes,
        "files": sizes,
    }


def _recorded_sizes(manifest: Manifest) -> dict[str, int]:
    return {name: record.size for name, record in sorted(manifest.files.items())}


def _sizes_on_disk(model: "PortableModel") -> dict[str, int]:
    files = (model.path / CONFIG_FILE, *model.graphs, *model.data_files)
    return {str(file.relative_to(model.path)): file.stat().st_size for file in sorted(files)}


def _cell(name: str, value: Any) -> str:
    if name == "labels":
        more = len(value) - _SHOWN_LABELS
        shown_labels = [printable(label, 80) for label in value[:_SHOWN_LABELS]]
        return ", ".join(shown_labels) + (f" and {more} more" if more > 0 else "")
    return readable_size(value) if name.startswith("cache_bytes") else printable(str(value))


def _table(info: dict[str, Any]) -> str:
    lines = []
    for name, value in info.items():
        if name == "files":
            lines += [
                f"{'':{_VALUES}}{printable(file)} ({readable_size(size)})"
                for file, size in value.items()
            ]
        elif name == "graphs":
            lines += [f"{'':{_VALUES}}{printable(graph)} ({what})" for graph, what in value.items()]
        else:
            lines.append(f"{name.replace('_', ' '):{_VALUES}}{_cell(name, value)}")
    return "\n".join(lines)
