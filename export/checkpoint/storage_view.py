"""Locates a tensor within the storage of a PyTorch file."""

from math import prod
from pathlib import Path

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.torch_pickle import StorageView
from gptneo_onnx.models.errors import ModelFileError, shown


def tensor_in(path: Path, name: str, view: StorageView, storage_start: int) -> StoredTensor:
    """Return the tensor of a view, whose storage's bytes begin at an offset of the file.

    Raises:
        ModelFileError: the tensor reaches beyond its storage, or is neither contiguous nor the
            transpose of a contiguous matrix.
    """
    shape, stride = view.shape, view.stride
    transposed = not _is_contiguous(shape, stride)
    if transposed and not (len(shape) == 2 and _is_contiguous(shape[::-1], stride[::-1])):
        raise ModelFileError(
            f"{path}: {shown(name)} is not contiguous; save it again with safetensors"
        )
    if view.offset + prod(shape) > view.storage.elements:
        raise ModelFileError(f"{path}: {shown(name)} reaches beyond its storage; fetch it again")
    dtype = view.storage.dtype
    start = storage_start + view.offset * dtype.itemsize
    return StoredTensor(path, name, start, dtype, shape, transposed)


def _is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return whether a tensor is contiguous to PyTorch: an axis of size 1 may have any stride."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True
