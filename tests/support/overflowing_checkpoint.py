"""Writes a checkpoint whose activations overflow float16 once a text begins with "x"."""

from pathlib import Path

import numpy as np
from checkpoints import Shape, write_checkpoint
from safetensors.numpy import load_file, save_file

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer

TEXT = "x"


def overflowing_checkpoint(directory: Path, random: np.random.Generator) -> Path:
    """Write it, with the embedded model's tokenizer; its weights fit fp16, so that it exports."""
    shape = Shape(vocab_size=4096, tie_word_embeddings=False)
    write_checkpoint(directory, shape, random)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((EMBEDDED_CHECKPOINT / name).read_bytes())
    tensors = load_file(directory / "model.safetensors")
    [token] = Tokenizer.from_pretrained(directory).encode(TEXT)
    tensors["transformer.wte.weight"][token, 0] = 60_000
    tensors["transformer.wpe.weight"][:2, 0] = 10_000
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory
