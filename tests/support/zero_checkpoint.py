"""Writes checkpoints of zeros, however large: as sparse files they take neither time nor disk."""

import json
from math import prod
from pathlib import Path

from checkpoints import Shape


def write_zero_checkpoint(directory: Path, shape: Shape) -> Path:
    """Write config.json and a float32 model.safetensors."""
    header = {}
    end = 0
    for name, sizes in _shapes(shape).items():
        start, end = end, end + 4 * prod(sizes)
        header[name] = {"dtype": "F32", "shape": sizes, "data_offsets": [start, end]}
    content = json.dumps(header).encode()
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(shape.config))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + end)
    return directory


def _shapes(shape: Shape) -> dict[str, list[int]]:
    hidden = shape.hidden_size
    inner = shape.intermediate_size or 4 * hidden
    shapes = {
        "wte.weight": [shape.vocab_size, hidden],
        "wpe.weight": [shape.max_position_embeddings, hidden],
        "ln_f.weight": [hidden],
        "ln_f.bias": [hidden],
    }
    for layer in range(len(shape.layers)):
        block = f"h.{layer}"
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.weight": [hidden], f"{block}.{norm}.bias": [hidden]}
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{block}.attn.attention.{part}.weight"] = [hidden, hidden]
        shapes[f"{block}.attn.attention.out_proj.bias"] = [hidden]
        shapes[f"{block}.mlp.c_fc.weight"] = [inner, hidden]
        shapes[f"{block}.mlp.c_fc.bias"] = [inner]
        shapes[f"{block}.mlp.c_proj.weight"] = [hidden, inner]
        shapes[f"{block}.mlp.c_proj.bias"] = [hidden]
    return shapes
