"""Arrays in a file: numpy's .npz without compression, read as strictly as a model is.

numpy.load would allocate whatever size a header claims. Here a header must account for every byte
of its member, and no member is larger than the file.

Format: numpy.lib.format
"""

import math
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError

_SUFFIX = ".npy"
_MAX_HEADER_BYTES = 1024
_TYPES = {np.dtype(name) for name in ("uint8", "int16", "int64", "float16", "float32")}


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name; the file appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.partial-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub has no keyword arrays
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what write_arrays wrote, in its order.

    Raises:
        InputError: the file is missing or not as written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            return {
                member.filename.removesuffix(_SUFFIX): _read(archive, member, size)
                for member in archive.infolist()
            }
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; make one with PromptCache.save()") from error
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise InputError(f"{path} is not a prompt cache, or damaged: {error}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
        raise ValueError(f"{member.filename!r} is compressed, or larger than the file")
    with archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{member.filename!r} is of another version of the format")
        shape, is_fortran, dtype = npy.read_array_header_1_0(
            file, max_header_size=_MAX_HEADER_BYTES
        )
        content = file.read()
    if dtype not in _TYPES or is_fortran:
        raise ValueError(f"{member.filename!r} holds {dtype}, or columns first")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member.filename!r} has {len(content)} bytes for shape {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape)
