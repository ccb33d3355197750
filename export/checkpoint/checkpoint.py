"""Opens a GPT-Neo checkpoint in Hugging Face layout: its config, and its tensors, not yet read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.export.checkpoint.safetensors_file import read_safetensors
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE

PREFIX = "transformer."
# The causal masks that old versions of transformers saved with every layer.
_MASK_BUFFER = re.compile(r"h\.\d+\.attn\.attention\.(bias|masked_bias)")
_MAX_SHARDS = 1024
_MAX_NAME_BYTES = 255

_Reader = Callable[[Path], dict[str, StoredTensor]]
_FORMATS: tuple[tuple[str, _Reader], ...] = (
    ("model.safetensors", read_safetensors),
    ("pytorch_model.bin", read_torch_file),
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened; `tensors` are named without the prefix `transformer.`."""

    directory: Path
    config: GPTNeoConfig
    tensors: Mapping[str, StoredTensor]

    def tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """Return the weight of that name, not yet read.

        Raises:
            ModelFileError: it is missing, has another shape, or holds whole numbers.
        """
        stored = self.tensors.get(name)
        if stored is None:
            raise ModelFileError(
                f"{self.directory}: the checkpoint has no tensor {name}, which config.json asks "
                "for; fetch the checkpoint again"
            )
        if stored.shape != shape:
            raise ModelFileError(
                f"{self.directory}: {name} has shape {list(stored.shape)}, but config.json makes "
                f"it {list(shape)}; use the config.json that was saved with the weights"
            )
        if stored.dtype.kind in "biu":
            raise ModelFileError(
                f"{self.directory}: {name} holds {stored.dtype.name} numbers: the checkpoint is "
                "quantized; export the float32, float16 or bfloat16 one"
            )
        return stored


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open model.safetensors or pytorch_model.bin, whole or sharded, with the config beside it.

    Only headers are read, no weights yet.

    Raises:
        ModelFileError: a file is missing, damaged or contradicts config.json.
    """
    config = GPTNeoConfig.from_file(directory / CONFIG_FILE)
    files, read = _weight_files(directory)
    stored: dict[str, StoredTensor] = {}
    for file in files:
        stored |= read(file)
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in stored.items()}
    tensors = {name: t for name, t in tensors.items() if not _MASK_BUFFER.fullmatch(name)}
    _check_layer_count(directory, config, tensors)
    return Checkpoint(directory, config, tensors)


def _weight_files(directory: Path) -> tuple[list[Path], _Reader]:
    """Return the files that hold the weights, and what reads them; safetensors are preferred."""
    for file_name, read in _FORMATS:
        if (directory / file_name).is_file():
            return [directory / file_name], read
        index = directory / f"{file_name}.index.json"
        if index.is_file():
            return _shards(index), read
    names = " or ".join(file_name for file_name, _ in _FORMATS)
    raise ModelFileError(
        f"{directory} holds no weights: fetch {names}, or their .index.json and its files"
    )


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


def _check_layer_count(
    directory: Path, config: GPTNeoConfig, tensors: Mapping[str, StoredTensor]
) -> None:
    layers = {int(match[1]) for name in tensors if (match := re.match(r"h\.(\d{1,6})\.", name))}
    if layers and max(layers) >= config.num_layers:
        raise ModelFileError(
            f"{directory}: the checkpoint has {max(layers) + 1} layers, "
            f"but config.json says {config.num_layers}; use the config.json that was saved with it"
        )
