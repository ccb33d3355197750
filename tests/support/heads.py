"""Gives a checkpoint another head than the vocabulary, drawn at random."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from gptneo_onnx.models.tasks import Head


def with_head(
    checkpoint: Path,
    head: Head,
    random: np.random.Generator,
    labels: tuple[str, ...] = ("no", "perhaps", "yes"),
    **config: Any,
) -> Path:
    """Change a checkpoint's directory; `config` overrides entries of its config.json."""
    path = checkpoint / "config.json"
    values = json.loads(path.read_text())
    values |= {
        "architectures": [head.value],
        "id2label": {str(column): label for column, label in enumerate(labels)},
        "label2id": {label: column for column, label in enumerate(labels)},
    }
    path.write_text(json.dumps(values | config))
    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    hidden = tensors["transformer.ln_f.bias"].shape[0]
    columns = 2 if head is Head.QUESTION_ANSWERING else len(labels)
    assert head.tensors is not None
    for name in head.tensors.names:
        shape = (columns, hidden) if name == head.tensors.weight else (columns,)
        # Logits whose standard deviation is about 3.
        tensors[name] = (3 * hidden**-0.5 * random.standard_normal(shape)).astype(np.float32)
    save_file(tensors, weights, {"format": "pt"})
    return checkpoint


def head_logits(checkpoint: Path, head: Head, states: np.ndarray) -> np.ndarray:
    """Return the head's logits [..., columns] of hidden states [..., hidden]."""
    assert head.tensors is not None
    tensors = load_file(checkpoint / "model.safetensors")
    logits = states @ tensors[head.tensors.weight].T
    return logits if head.tensors.bias is None else logits + tensors[head.tensors.bias]
