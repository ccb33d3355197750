"""Finds the files of a checkpoint that hold its weights, in from_pretrained's order."""

import re
from collections.abc import Callable
from pathlib import Path

from gptneo_onnx.export.checkpoint.flax_file import read_flax_file
from gptneo_onnx.export.checkpoint.other_formats import describe_other_formats
from gptneo_onnx.export.checkpoint.safetensors_file import read_safetensors
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.export.checkpoint.weights_elsewhere import describe_weights_elsewhere
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object

_MAX_SHARDS = 1024
_MAX_NAME_BYTES = 255

Reader = Callable[[Path], dict[str, StoredTensor]]
# transformers reads Flax's file if asked to (from_flax); here it is read where there is no other.
_FORMATS: dict[str, Reader] = {
    "model.safetensors": read_safetensors,
    "pytorch_model.bin": read_torch_file,
    "flax_model.msgpack": read_flax_file,
}
WEIGHT_FILES = tuple(_FORMATS)
_NAME = "[A-Za-z0-9_-]{1,64}"
_VARIANT = re.compile(
    rf"(?:model|pytorch_model)\.({_NAME})\.(?:safetensors|bin)"
    rf"|(?:model\.safetensors|pytorch_model\.bin)\.index\.({_NAME})\.json"
)


def find_weights(directory: Path, variant: str | None) -> tuple[list[Path], Reader]:
    """Return the files that hold the weights, and what reads them.

    Args:
        directory: the checkpoint.
        variant: "fp16" for model.fp16.safetensors, and so on; None for model.safetensors.

    Raises:
        ModelFileError: there are none, or they are of a format that is not read.
    """
    for file_name, read in _FORMATS.items():
        path, index = _paths(directory, file_name, variant)
        if path.is_file():
            return [path], read
        if index.is_file():
            return _shards(index), read
    raise _no_weights(directory, variant)


def has_weights(directory: Path, file_name: str, variant: str | None) -> bool:
    """Return whether a directory has a file of WEIGHT_FILES or its index, in that variant."""
    return any(path.is_file() for path in _paths(directory, file_name, variant))


def _paths(directory: Path, file_name: str, variant: str | None) -> tuple[Path, Path]:
    """Return the paths of a weight file and of its index; transformers puts a variant so."""
    names = [file_name, f"{file_name}.index.json"]
    if variant is not None:
        names = ["{0}.{2}.{1}".format(*name.rsplit(".", 1), variant) for name in names]
    return directory / names[0], directory / names[1]


def _no_weights(directory: Path, variant: str | None) -> ModelFileError:
    wanted = "" if variant is None else f" of variant {shown(variant)}"
    variants = _variants(directory)
    if variants:
        return ModelFileError(
            f"{directory} holds no weights{wanted}, but those of {shown(', '.join(variants))}: "
            f"pass --variant {variants[0]} (variant={variants[0]!r})"
        )
    if any(has_weights(directory, file_name, None) for file_name in WEIGHT_FILES):
        return ModelFileError(
            f"{directory} holds no weights{wanted}, but those without a variant: "
            "leave --variant (variant=) out"
        )
    others = describe_other_formats(directory) or describe_weights_elsewhere(directory)
    if others:
        return ModelFileError(others)
    names = " or ".join(WEIGHT_FILES[:2])
    return ModelFileError(
        f"{directory} holds no weights{wanted}: fetch {names}, or their .index.json and its files"
    )


def _variants(directory: Path) -> list[str]:
    """Return the variants that the directory has, by the names of whole files and of indexes."""
    found = (_VARIANT.fullmatch(path.name) for path in directory.iterdir())
    return sorted({match[1] or match[2] for match in found if match})


def _shards(index: Path) -> list[Path]:
    """Return the files beside the index that it names."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise ModelFileError(f"{index}: weight_map must map tensor names to file names")
    shards = sorted(set(weight_map.values()))
    if len(shards) > _MAX_SHARDS:
        raise ModelFileError(f"{index} names {len(shards)} files; at most {_MAX_SHARDS} are read")
    for shard in shards:
        if not _is_plain_name(shard):
            raise ModelFileError(
                f"{index}: {shown(shard)} is not a plain name of a file beside it; fetch it again"
            )
        if not (index.parent / shard).is_file():
            raise ModelFileError(f"{index} names {shown(shard)}, which is missing; fetch it")
    return [index.parent / shard for shard in shards]


def _is_plain_name(name: str) -> bool:
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        return False
    return name.isprintable() and len(name.encode()) <= _MAX_NAME_BYTES
