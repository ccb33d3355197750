"""Prompts that every stack continues greedily, far past the embedded model's window of 64."""

import numpy as np

from gptneo_onnx.runtime import Tokenizer

PROMPTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune",
    "She was",
    "Emma",
]
NEW_TOKENS = 150


def left_padded(export):
    """The prompts' ids and mask, int64 [prompts, length]."""
    encoded = [Tokenizer.from_pretrained(export).encode(prompt) for prompt in PROMPTS]
    length = max(map(len, encoded))
    ids = np.array([[0] * (length - len(each)) + each for each in encoded])
    mask = np.array([[0] * (length - len(each)) + [1] * len(each) for each in encoded])
    return ids, mask
