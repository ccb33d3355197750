"""The file of a prompt cache: numpy's .npz without compression, read as strictly as a model.

numpy.load would allocate whatever size a header claims, and evaluates the header. Here a header
must be as numpy writes it and account for every byte of its member, whose checksum was compared
before; and all members together are no larger than the file.

Format: numpy.lib.format
"""

import math
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.named_file import open_file
from gptneo_onnx.runtime.files import replace_atomically

_SUFFIX = ".npy"
_MAX_REASON = 200
_TYPES = {np.dtype(name) for name in ("uint8", "int16", "int64", "float16", "float32")}
_BY_DESCRIPTION = {dtype.str.encode(): dtype for dtype in _TYPES}
_START = b"\x93NUMPY\x01\x00"  # the header's length follows, two bytes, little-endian
_HEADER = re.compile(
    rb"\{'descr': '([^']*)', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,18}, ?){0,4}(?:\d{1,18})?)\), \} *\n"
)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with replace_atomically(path, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub has no keyword arrays
    except OSError as error:  # its own message would name the temporary file
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what write_arrays wrote, in its order.

    Raises:
        InputError: the file is missing or not as written.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
                raise ValueError("its members are larger than the file")
            return {
                member.filename.removesuffix(_SUFFIX): _read(archive, member) for member in members
            }
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; make one with PromptCache.save()") from error
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        # An error of zipfile quotes names, which may be all of the file.
        reason = (getattr(error, "strerror", None) or str(error))[:_MAX_REASON]
        raise InputError(f"{path} is not a prompt cache, or damaged: {reason}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename!r} is compressed")
    content = memoryview(archive.read(member))
    start = len(_START) + 2
    length = int.from_bytes(content[start - 2 : start], "little")
    header = _HEADER.fullmatch(content[start : start + length])
    if content[: len(_START)] != _START or header is None or header[1] not in _BY_DESCRIPTION:
        raise ValueError(f"{member.filename!r} is no array of a kind that is written here")
    dtype = _BY_DESCRIPTION[header[1]]
    shape = [int(size) for size in re.findall(rb"\d+", header[2])]
    content = content[start + length :]
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member.filename!r} has {len(content)} bytes for shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape)
