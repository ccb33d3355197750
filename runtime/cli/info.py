"""What `gptneo-onnx info` tells about an exported model."""

from math import prod
from pathlib import Path
from typing import Any

from gptneo_onnx.models.graph import ACTIVATION_NAMES, BATCH, CAPACITY, NumberFormat, Precision
from gptneo_onnx.models.manifest import CONFIG_FILE, Manifest
from gptneo_onnx.runtime.model_files.directory import (
    FusedModel,
    ModelDirectory,
    PortableModel,
    open_model_directory,
)
from gptneo_onnx.runtime.model_files.portable_interface import hidden_state_layers


def model_info(directory: str | Path, file_name: str | None = None) -> dict[str, Any]:
    """The model's shape, precision and sizes in bytes; every file is checked on the way.

    Raises:
        InputError, ModelFileError: as open_model_directory().
    """
    model = open_model_directory(directory, file_name)
    model.verification.finish()
    config = model.config
    return {
        "graph": "fused" if isinstance(model, FusedModel) else "portable",
        **_of_manifest(model.manifest),
        "layers": config.num_layers,
        "local_layers": config.layer_kinds.count("local"),
        "window": config.window_size,
        "hidden_size": config.hidden_size,
        "heads": config.num_heads,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        "hidden_states": _hidden_layers(model),
        "cache_bytes_per_sequence": _cache_bytes(model),
        "files": _file_sizes(model),
    }


def _of_manifest(manifest: Manifest | None) -> dict[str, Any]:
    """Other exporters' directories do not say."""
    if manifest is None:
        return {}
    return {
        "precision": manifest.numbers.precision.value,
        **_range_of_weights(manifest.numbers),
        "activations": ACTIVATION_NAMES[manifest.numbers.activations],
        "least_onnx_runtime": manifest.least_onnx_runtime,
    }


def _range_of_weights(numbers: NumberFormat) -> dict[str, str]:
    """With w8a8 there are two."""
    if numbers.precision is not Precision.W8A8:
        return {}
    return {"weights": "7-bit" if numbers.reduce_range else "full-range"}


def _hidden_layers(model: ModelDirectory) -> list[int]:
    """The layers whose hidden states the graph gives."""
    if isinstance(model, FusedModel):
        return [*model.contract.hidden_states]
    assert isinstance(model, PortableModel)
    return [*hidden_state_layers(model.interfaces)]


def _file_sizes(model: ModelDirectory) -> dict[str, int]:
    if model.manifest is not None:
        return {name: record.size for name, record in sorted(model.manifest.files.items())}
    assert isinstance(model, PortableModel)
    files = (model.path / CONFIG_FILE, *model.graphs, *model.data_files)
    return {str(file.relative_to(model.path)): file.stat().st_size for file in sorted(files)}


def _cache_bytes(model: ModelDirectory) -> int:
    if isinstance(model, PortableModel):
        last, config = model.interfaces[-1], model.config
        row = config.hidden_size * last.cache_type.itemsize
        return len(last.past) * config.max_position_embeddings * row
    assert isinstance(model, FusedModel)
    sizes = {BATCH: 1, CAPACITY: model.config.max_position_embeddings}
    return sum(
        prod(spec.shape(sizes)) * spec.data_type.itemsize
        for cache in model.contract.caches
        for spec in cache.past
    )
