"""A checkpoint's directory: one of its JSON files is mutated, and the checkpoint is exported.

An input is the file's name, a zero byte, and its content.
"""

import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from checkpoints import Shape, draw_tensors
from fuzzing import Random, Target, mutate_json
from wild_weights import save_safetensors

from gptneo_onnx.export import export_model
from gptneo_onnx.models import GPTNeoOnnxError

SHAPE = Shape(vocab_size=32, hidden_size=8, num_heads=2, window_size=4, max_position_embeddings=16)
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
FILES = ("config.json", "model.safetensors.index.json", "generation_config.json")


@functools.cache
def checkpoint() -> Path:
    """Write a checkpoint in two files, and return its directory."""
    folder = Path(tempfile.mkdtemp())
    tensors = draw_tensors(SHAPE, np.random.default_rng(0))
    names = sorted(tensors)
    parts = dict(zip(SHARDS, (names[::2], names[1::2]), strict=True))
    for shard, chosen in parts.items():
        save_safetensors(folder / shard, {name: tensors[name] for name in chosen})
    weight_map = {name: shard for shard, chosen in parts.items() for name in chosen}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    contents = SHAPE.config, index, {"eos_token_id": 0, "do_sample": True, "temperature": 0.7}
    for name, content in zip(FILES, contents, strict=True):
        (folder / name).write_text(json.dumps(content))
    return folder


def seeds() -> list[bytes]:
    return [name.encode() + b"\0" + (checkpoint() / name).read_bytes() for name in FILES]


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    name, _, content = data.partition(b"\0")
    return name + b"\0" + mutate_json(random, content, seeds)


def run(data: bytes, folder: Path) -> None:
    name, _, content = data.partition(b"\0")
    copy = folder / "checkpoint"
    shutil.copytree(checkpoint(), copy, copy_function=shutil.copy)
    if name.decode(errors="replace") in FILES:
        (copy / name.decode()).write_bytes(content)
    try:
        export_model(copy, folder / "out")
    except GPTNeoOnnxError:
        left = [path.name for path in folder.iterdir() if path != copy]
        assert left == [], f"a refused export left {left}"
        raise


TARGET = Target(seeds, run, mutate)
