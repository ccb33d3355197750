"""Random checkpoints of the published shapes, written in bounded memory.

The published weights cannot be downloaded everywhere; random ones of the same size do for
measurements of time and memory.
"""

import json
import zlib
from math import prod
from pathlib import Path

import numpy as np

SHAPES = {
    "125M": {"num_layers": 12, "hidden_size": 768, "num_heads": 12},
    "1.3B": {"num_layers": 24, "hidden_size": 2048, "num_heads": 16},
    "2.7B": {"num_layers": 32, "hidden_size": 2560, "num_heads": 20},
}
VOCABULARY, CONTEXT = 50257, 2048
SCALE = 0.02
_BLOCK_ELEMENTS = 4 * 2**20


def write_random_checkpoint(directory: Path, name: str, seed: int = 0) -> Path:
    """Write config.json and a float32 model.safetensors of a published shape to the directory."""
    shape = SHAPES[name]
    directory.mkdir(parents=True, exist_ok=True)
    layers = shape["num_layers"]
    config = {
        "architectures": ["GPTNeoForCausalLM"],
        "model_type": "gpt_neo",
        **shape,
        "attention_types": [[["global", "local"], layers // 2]],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "window_size": 256,
        "bos_token_id": VOCABULARY - 1,
        "eos_token_id": VOCABULARY - 1,
    }
    (directory / "config.json").write_text(json.dumps(config))
    _write_safetensors(directory / "model.safetensors", _shapes(shape["hidden_size"], layers), seed)
    return directory


def _shapes(hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (VOCABULARY, hidden),
        "transformer.wpe.weight": (CONTEXT, hidden),
    }
    for layer in range(layers):
        block = f"transformer.h.{layer}"
        for part in ("q", "k", "v"):
            shapes[f"{block}.attn.attention.{part}_proj.weight"] = (hidden, hidden)
        for linear, outputs, inputs in (
            ("attn.attention.out_proj", hidden, hidden),
            ("mlp.c_fc", 4 * hidden, hidden),
            ("mlp.c_proj", hidden, 4 * hidden),
        ):
            shapes[f"{block}.{linear}.weight"] = (outputs, inputs)
            shapes[f"{block}.{linear}.bias"] = (outputs,)
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.{part}": (hidden,) for part in ("weight", "bias")}
    shapes |= {f"transformer.ln_f.{part}": (hidden,) for part in ("weight", "bias")}
    return shapes


def _write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    block = np.random.default_rng(seed).standard_normal(_BLOCK_ELEMENTS, np.float32) * SCALE
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape in shapes.items():
            is_norm_weight = ".ln_" in name and name.endswith("weight")
            for start in range(0, prod(shape), _BLOCK_ELEMENTS):
                count = min(_BLOCK_ELEMENTS, prod(shape) - start)
                # Each tensor gets another rotation of the block; weights of norms are around 1.
                values = np.roll(block, zlib.crc32(f"{name} {start}".encode()) % 997)[:count]
                file.write((values + np.float32(is_norm_weight)).data)


def write_draft_pair(
    target: Path, draft: Path, name: str, layers: int, weight: float = 0.02, seed: int = 0
) -> None:
    """Write a model of a published shape, and its first `layers` layers as its draft model.

    The outputs of the other layers are scaled by `weight`, so that the two mostly agree.
    """
    write_random_checkpoint(target, name, seed)
    config = json.loads((target / "config.json").read_text())
    header, start = _read_header(target / "model.safetensors")
    file = np.memmap(target / "model.safetensors", np.uint8, "r+")
    draft_shapes: dict[str, tuple[int, ...]] = {}
    for tensor, record in header.items():
        first, last = (start + offset for offset in record["data_offsets"])
        layer = int(tensor.split(".")[2]) if ".h." in tensor else 0
        if layer < layers:
            draft_shapes[tensor] = tuple(record["shape"])
        elif "out_proj" in tensor or "c_proj" in tensor:
            file[first:last].view(np.float32)[:] *= np.float32(weight)
    file.flush()
    draft.mkdir(parents=True, exist_ok=True)
    config |= {"num_layers": layers, "attention_types": [[["global", "local"], layers // 2]]}
    (draft / "config.json").write_text(json.dumps(config))
    _copy_safetensors(file, header, start, draft_shapes, draft / "model.safetensors")


def _read_header(path: Path) -> tuple[dict[str, dict[str, list[int]]], int]:
    """Return a safetensors file's header, and the offset of its data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _copy_safetensors(
    source: np.ndarray,
    header: dict[str, dict[str, list[int]]],
    start: int,
    shapes: dict[str, tuple[int, ...]],
    path: Path,
) -> None:
    """Write some tensors of a safetensors file, whose data begins at `start`, to another file."""
    records, end = {}, 0
    for name, shape in shapes.items():
        first, end = end, end + 4 * prod(shape)
        records[name] = {"dtype": "F32", "shape": shape, "data_offsets": [first, end]}
    encoded = json.dumps(records).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in shapes:
            first, last = (start + offset for offset in header[name]["data_offsets"])
            file.write(source[first:last].data)
