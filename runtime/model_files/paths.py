"""A model's files may only be in its own directory: checks of paths and links."""

import os
import stat
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError


def check_inside(directory: Path, name: str, *, hashed: bool = False) -> os.stat_result:
    """Return a file's status.

    Args:
        directory: the model's.
        name: the file's.
        hashed: whether the manifest says what the file holds, or it is the manifest. Then it may
            have other hard links, as `cp -al` makes: nothing can be read by them that whoever wrote
            the manifest did not have.

    Raises:
        ModelFileError: it is missing or not a regular file, or it is a link, hard or symbolic, to a
            file outside the directory.
    """
    path = directory / name
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f"{path} is missing; fetch or export the model again") from error
    if path.is_symlink() and not any(
        map(resolved.is_relative_to, _allowed_folders(directory.resolve()))
    ):
        raise ModelFileError(f"{path} links out of its directory; copy the file instead")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file; fetch or export the model again")
    if status.st_nlink > 1 and not hashed:
        raise ModelFileError(
            f"{path} has another hard link elsewhere; copy the file instead, or the whole "
            f"directory: cp -r {directory} COPY"
        )
    return status


def _allowed_folders(directory: Path) -> list[Path]:
    """Return the folders that symbolic links may lead into.

    A snapshot in Hugging Face's cache links to the folder of blobs beside it.
    """
    for snapshot in (directory, directory.parent):  # the parent: where `directory` is its onnx/
        if snapshot.parent.name == "snapshots":
            return [snapshot, snapshot.parent.parent / "blobs"]
    return [directory]
