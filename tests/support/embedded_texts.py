"""Prompts that other stacks continue greedily, far past the embedded model's window of 64."""

import numpy as np

from gptneo_onnx.runtime import Tokenizer

PROMPTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune",
    "She was",
    "Emma",
]
NEW_TOKENS = 150


def left_padded(export):
    """Return the prompts' ids and mask by an export's tokenizer, int64 [prompts, length]."""
    prompts = [Tokenizer.from_pretrained(export).encode(prompt) for prompt in PROMPTS]
    length = max(map(len, prompts))
    ids = np.array([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = np.array([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask
