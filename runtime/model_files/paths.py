"""Where the files of a model may lie: in its own directory, and nowhere else."""

import os
import stat
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError


def check_inside(directory: Path, name: str) -> os.stat_result:
    """The file's status, if it is a regular file and nowhere but in the directory."""
    path = directory / name
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f"{path} is missing; fetch or export the model again") from error
    if path.is_symlink() and not any(map(resolved.is_relative_to, _homes(directory.resolve()))):
        raise ModelFileError(f"{path} links out of its directory; copy the file instead")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file; fetch or export the model again")
    if status.st_nlink > 1:
        raise ModelFileError(f"{path} has another hard link elsewhere; copy the file instead")
    return status


def _homes(directory: Path) -> list[Path]:
    """Where links may lead: a snapshot in Hugging Face's cache links to the blobs beside it."""
    for snapshot in (directory, directory.parent):  # or a folder of one
        if snapshot.parent.name == "snapshots":
            return [snapshot, snapshot.parent.parent / "blobs"]
    return [directory]
