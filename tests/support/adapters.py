"""Writes adapters in PEFT's layout by hand, without peft."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Shape, Tensors
from safetensors.numpy import save_file
from torch_archive import save_torch

LORA = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "base_model_name_or_path": None}
PREFIX = "base_model.model.transformer."


def draw_lora(
    name: str, outputs: int, inputs: int, random: np.random.Generator, rank: int = 3
) -> Tensors:
    """Draw lora_A [rank, inputs] and lora_B [outputs, rank] of a layer, by their names."""
    return {
        f"{PREFIX}{name}.lora_A.weight": _normal(random, rank, inputs),
        f"{PREFIX}{name}.lora_B.weight": _normal(random, outputs, rank),
    }


def draw_attention(shape: Shape, random: np.random.Generator, rank: int = 3) -> Tensors:
    """Draw LoRA of the query projections of every layer."""
    size, tensors = shape.hidden_size, {}
    for layer in range(len(shape.layers)):
        name = f"h.{layer}.attn.attention.q_proj"
        tensors |= draw_lora(name, size, size, random, rank)
    return tensors


def write_adapter(directory: Path, tensors: Tensors, pickled: bool = False, **config: Any) -> Path:
    """Write adapter_config.json, LORA with entries overridden by `config`, and the tensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(LORA | config))
    if pickled:
        save_torch(directory / "adapter_model.bin", tensors)
    else:
        save_file(tensors, directory / "adapter_model.safetensors", {"format": "pt"})
    return directory


def _normal(random: np.random.Generator, *size: int) -> Any:
    return (0.2 * random.standard_normal(size)).astype(np.float32)
