"""Copies an exported directory, for save_pretrained()."""

import shutil
from pathlib import Path

from gptneo_onnx.models.errors import ExportError, InputError
from gptneo_onnx.models.interruption import renaming
from gptneo_onnx.models.manifest import MANIFEST_FILE, Manifest
from gptneo_onnx.models.staging import remove_leftovers, staging_directory


def copy_export(source: Path, out: Path) -> None:
    """Copy an exported directory.

    A new folder, or an empty one, appears whole or not at all. Into any other folder the files are
    put one by one, the list of them last; whoever loads it in between is told that it does not fit.

    Args:
        source: the exported directory, which was checked.
        out: the folder of the copy. It may hold files of the same names, which are replaced.

    Raises:
        InputError: out is a file, holds files that the export has not, or cannot be written.
        ExportError: another process is writing out.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"save_directory is {out}, which is a file; name a folder")
    if out.exists() and out.samefile(source):
        return
    files = _files(source)
    foreign = sorted({path.name for path in out.glob("*")} - {file.parts[0] for file in files})
    if foreign:
        raise InputError(
            f"save_directory {out} holds {foreign[0]}, which is no file of the export; name a new "
            "or an empty folder"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out.parent)
        with staging_directory(out) as staging:
            for file in files:
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, staging / file)
            _put(staging, out, files)
    except ExportError:
        raise
    except OSError as error:
        raise InputError(
            f"save_directory {out} cannot be written: {error.strerror}; name another folder"
        ) from error


def _files(source: Path) -> list[Path]:
    """Return what is copied, relative to the directory: the listed files, or else all, list last.

    Hidden files are no part of an export.
    """
    if (source / MANIFEST_FILE).is_file():
        return [*map(Path, Manifest.read(source).files), Path(MANIFEST_FILE)]
    found = (path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file())
    return [path for path in found if not any(part[0] == "." for part in path.parts)]


def _put(staging: Path, out: Path, files: list[Path]) -> None:
    """Move the staged files to their place."""
    if not out.is_dir() or not any(out.iterdir()):
        if out.is_dir():
            out.rmdir()
        with renaming():
            staging.rename(out)
        return
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (staging / file).replace(out / file)
