"""The fingerprint of an export: of everything that decides what its files hold.

The tokenizer counts only where a text was read by it, to calibrate: set_tokenizer() can replace it.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gptneo_onnx.export.arguments import ExportPlan
from gptneo_onnx.export.checkpoint.adapters.adapter_tensors import ADAPTER_FILES
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.other_formats import ADAPTER_CONFIG
from gptneo_onnx.models.manifest import CONFIG_FILE, GENERATION_CONFIG_FILE, sha256_of
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.models.tokenizer_files import READ_FILES

# What an export reads of a directory, besides the weights.
_READ = (CONFIG_FILE, GENERATION_CONFIG_FILE, ADAPTER_CONFIG, *ADAPTER_FILES)


def contents_of(plan: ExportPlan, source: Checkpoint, tokenizer: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that an export reads, by what it is; reads all of them.

    Args:
        plan: names the text to calibrate with.
        source: the checkpoint, which names its weights and its adapter.
        tokenizer: the directory that the tokenizer is read from.
    """
    files: dict[str, Path] = {}
    directories = {"checkpoint": source.directory, "adapter": source.adapter}
    if plan.calibration_text is not None:
        directories["tokenizer"] = tokenizer
        files["calibrate"] = plan.calibration_text
    for role, directory in directories.items():
        names = READ_FILES if role == "tokenizer" else _READ
        for path in (directory / name for name in names) if directory else ():
            if path.is_file():
                files[f"{role} {path.name}"] = path
    for path in {tensor.path for tensor in source.tensors.values()}:
        files[f"weights {path.name}"] = path
    return {what: sha256_of(path) for what, path in sorted(files.items())}


def fingerprint(
    plan: ExportPlan,
    task: Task,
    layers: Sequence[int],
    contents: dict[str, str],
    verified: bool,
) -> str:
    """Return a SHA-256 of an export's source and options, and of the version that makes it.

    Args:
        plan: the options.
        task: what the graphs are for.
        layers: whose hidden states the graphs give.
        contents: what contents_of() returns.
        verified: whether the graphs were compared with transformers.
    """
    values: dict[str, Any] = {
        "contents": contents,
        "exporter": plan.exporter,
        "formats": [
            [numbers.precision.value, numbers.activations.value, numbers.reduce_range]
            for numbers in plan.formats
        ],
        "graphs": [*plan.graphs],
        "layers": [*layers],
        "task": task.value,
        "verified": verified,
        "version": _version(),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _version() -> str:
    try:
        return metadata.version("gptneo-onnx")
    except metadata.PackageNotFoundError:
        return ""
