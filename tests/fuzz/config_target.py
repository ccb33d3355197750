"""config.json of a checkpoint."""

import json
from pathlib import Path

from fuzzing import Target, mutate_json

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.config import GPTNeoConfig

SPARSE = {"model_type": "gpt_neo", "hidden_size": 16, "num_heads": 2, "num_layers": 2,
          "attention_types": [[["global", "local"], 1]], "vocab_size": 50}  # fmt: skip


def seeds() -> list[bytes]:
    return [(EMBEDDED_CHECKPOINT / "config.json").read_bytes(), json.dumps(SPARSE).encode()]


def run(data: bytes, folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(data)
    GPTNeoConfig.from_file(path)


TARGET = Target(seeds, run, mutate_json)
