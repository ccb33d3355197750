"""What `gptneo-onnx info` tells about an exported model."""

from math import prod
from pathlib import Path
from typing import Any

from gptneo_onnx.models.graph import ACTIVATION_NAMES, BATCH, CAPACITY
from gptneo_onnx.runtime.model_directory import ModelDirectory, open_model_directory


def model_info(directory: str | Path) -> dict[str, Any]:
    """The model's shape, precision and sizes in bytes; every file is checked on the way.

    Raises:
        InputError, ModelFileError: as open_model_directory().
    """
    model = open_model_directory(directory)
    model.verification.finish()
    config, manifest = model.config, model.manifest
    return {
        "graph": manifest.graph,
        "precision": manifest.numbers.precision.value,
        "activations": ACTIVATION_NAMES[manifest.numbers.activations],
        "layers": config.num_layers,
        "local_layers": config.layer_kinds.count("local"),
        "window": config.window_size,
        "hidden_size": config.hidden_size,
        "heads": config.num_heads,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        "cache_bytes_per_sequence": _cache_bytes(model),
        "least_onnx_runtime": manifest.least_onnx_runtime,
        "files": {name: record.size for name, record in sorted(manifest.files.items())},
    }


def _cache_bytes(model: ModelDirectory) -> int:
    sizes = {BATCH: 1, CAPACITY: model.config.max_position_embeddings}
    return sum(
        prod(spec.shape(sizes)) * spec.data_type.itemsize
        for cache in model.contract.caches
        for spec in cache.past
    )
