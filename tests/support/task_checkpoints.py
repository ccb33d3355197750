"""Writes small random checkpoints of every class that a task has: their heads are peaked, too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Shape, Tensors, draw_tensors
from safetensors.numpy import save_file

from gptneo_onnx.models.tasks import Head

NUM_LABELS = 3


def draw_head(
    head: Head, shape: Shape, random: np.random.Generator, labels: int = NUM_LABELS
) -> Tensors:
    """Draw the tensors of a head, float32; none for the vocabulary's product."""
    if head.tensors is None:
        return {}
    columns = 2 if head is Head.QUESTION_ANSWERING else labels
    shapes = [(columns, shape.hidden_size), (columns,)]
    return {
        name: random.standard_normal(size).astype(np.float32)
        for name, size in zip(head.tensors.names, shapes, strict=False)
    }


def write_task_checkpoint(
    directory: Path, head: Head, shape: Shape, random: np.random.Generator, **config: Any
) -> Path:
    """Write a checkpoint as transformers' class of that name saves it, of NUM_LABELS labels."""
    tensors = draw_tensors(shape, random)
    if head is not Head.CAUSAL_LM:
        tensors.pop("lm_head.weight", None)
    if head is Head.NONE:
        tensors = {name.removeprefix("transformer."): part for name, part in tensors.items()}
    labels = {"id2label": {str(column): f"label {column}" for column in range(NUM_LABELS)}}
    values = shape.config | labels | {"architectures": [head.value]} | config
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(values))
    tensors |= draw_head(head, shape, random)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory
