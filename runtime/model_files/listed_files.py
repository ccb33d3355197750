"""Check that a directory holds the files that its manifest lists, and no others."""

import os
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    FileRecord,
    Manifest,
)
from gptneo_onnx.runtime.model_files.hashes import FileVerification
from gptneo_onnx.runtime.model_files.held_file import HeldFile
from gptneo_onnx.runtime.model_files.paths import check_inside

# Files that hubs and people add to a folder; they are never read.
_IGNORED = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md")


def check_listed(path: Path, manifest: Manifest) -> None:
    """Raise ModelFileError unless the manifest lists what every export has."""
    for name in (GRAPH_FILE, *manifest.weights_files, CONFIG_FILE):
        if name not in manifest.files:
            raise ModelFileError(
                f"{path / MANIFEST_FILE} does not list {name}; export the checkpoint again"
            )


def check_sizes(path: Path, manifest: Manifest) -> None:
    """Raise ModelFileError for a file that is missing, of another size, or not listed."""
    for name, record in manifest.files.items():
        _check_size(path / name, check_inside(path, name, hashed=True), record)
    for file in path.iterdir():
        name = file.name
        if name in manifest.files or name == MANIFEST_FILE or name in _IGNORED or name[0] == ".":
            continue
        raise ModelFileError(f"{file} is not listed in {MANIFEST_FILE}; remove it")


def _check_size(path: Path, status: os.stat_result, record: FileRecord) -> None:
    if status.st_size != record.size:
        raise ModelFileError(
            f"{path} has {status.st_size} bytes, {MANIFEST_FILE} says {record.size}; "
            "fetch or export the model again"
        )


def verified_small_files(path: Path, manifest: Manifest) -> dict[str, HeldFile]:
    """Check the hash of every file but the weights: they decide how the rest is checked.

    Returns:
        These files by name, open.
    """
    weights = manifest.weights_files
    small = {name: record for name, record in manifest.files.items() if name not in weights}
    held = {name: HeldFile.inside(path, name, hashed=True) for name in small}
    FileVerification(path, small, held).finish()
    return held
