"""Reads a pytorch_model.bin, without PyTorch.

torch.save writes an uncompressed zip: NAME/data.pkl, a pickle of the state dict in which tensors
refer to storages by key, and NAME/data/KEY, the bytes of each storage. torch_pickle.py reads the
pickle. Before version 1.6 it wrote no zip: legacy_torch_file.py reads those files.
"""

import io
import struct
import zipfile
from pathlib import Path

from gptneo_onnx.export.checkpoint.legacy_torch_file import is_legacy_file, read_legacy_file
from gptneo_onnx.export.checkpoint.other_formats import refuse_quantized
from gptneo_onnx.export.checkpoint.storage_view import tensor_in
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.torch_pickle import (
    MAX_PICKLE_BYTES,
    StorageView,
    read_tensor_pickle,
)
from gptneo_onnx.models.errors import ModelFileError, shown

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and the extra field


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the file by name, not yet read.

    Raises:
        ModelFileError: the file is not such a zip, or is damaged or big-endian; a tensor reaches
            beyond its storage or is not contiguous; or the pickle asks for anything but tensors.
    """
    if is_legacy_file(path):
        return read_legacy_file(path)
    try:
        with _SmallReads(path) as file, zipfile.ZipFile(file) as archive:
            entries = _entries(path, archive)
            _check_byte_order(path, archive, entries.get("byteorder"))
            content = _read_pickle(path, archive, entries["data.pkl"])
            views = read_tensor_pickle(path, content)
            refuse_quantized(path, views)
            return {
                name: _locate(path, name, view, entries.get(f"data/{view.storage.key}"))
                for name, view in views.items()
            }
    except ModelFileError:
        raise
    except Exception as error:  # zipfile raises nearly anything for a damaged archive
        raise ModelFileError(
            f"{path} is not a whole zip archive as torch.save writes it: "
            f"{str(error)[:200]!r}; fetch it again"
        ) from error


class _SmallReads(io.FileIO):
    """A file that refuses large reads: zipfile reads as many bytes as an archive claims to have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_PICKLE_BYTES:
            raise zipfile.BadZipFile(f"its directory or its data.pkl has {size} bytes")
        return super().read(size)


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's entries by their names within its one folder."""
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(set(names)) < len(names):
        raise ModelFileError(
            f"{path} holds {len(pickles)} data.pkl and {len(names) - len(set(names))} names twice; "
            "a file of torch.save holds one and none: fetch it again"
        )
    root = pickles[0].removesuffix("data.pkl")
    return {info.filename.removeprefix(root): info for info in archive.infolist()}


def _check_byte_order(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> None:
    """Refuse big-endian numbers; archives from before PyTorch 2.1 name no order: little-endian."""
    if entry is not None and (not _is_stored(entry) or archive.read(entry) != b"little"):
        raise ModelFileError(
            f"{path} does not say that its numbers are little-endian; "
            "save it again with safetensors"
        )


def _read_pickle(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > MAX_PICKLE_BYTES or not _is_stored(entry):
        raise ModelFileError(
            f"{path}: its data.pkl is compressed or larger than {MAX_PICKLE_BYTES} bytes; "
            "torch.save writes no such file: fetch it again"
        )
    return archive.read(entry)


def _locate(
    path: Path, name: str, view: StorageView, entry: zipfile.ZipInfo | None
) -> StoredTensor:
    storage = view.storage
    itemsize = storage.dtype.itemsize
    if entry is None or not _is_stored(entry):
        raise ModelFileError(
            f"{path}: the storage of {shown(name)} is missing or compressed; fetch it again"
        )
    if entry.file_size < storage.elements * itemsize:
        raise ModelFileError(
            f"{path}: the storage of {shown(name)} is shorter than its data.pkl says; "
            "fetch it again"
        )
    return tensor_in(path, name, view, _data_start(path, entry))


def _is_stored(entry: zipfile.ZipInfo) -> bool:
    return entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size


def _data_start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return the offset of an uncompressed entry's bytes: after local header, name, extra field."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
    if len(header) < 30:
        raise ModelFileError(f"{path} is truncated; fetch it again")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = entry.header_offset + 30 + name_length + extra_length
    if signature != b"PK\x03\x04" or start + entry.file_size > path.stat().st_size:
        raise ModelFileError(
            f"{path}: the entry {shown(entry.filename)} is damaged; fetch the file again"
        )
    return int(start)
