"""Each logits processor against transformers' class of that name."""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation import logits_process

CASES = 300


def classes():
    from transformers.generation import logits_process as peers

    def draw_float(random, low, high):
        return float(random.uniform(low, high))

    return {
        "repetition_penalty": lambda random: (
            {"penalty": (value := draw_float(random, 0.5, 2))},
            peers.RepetitionPenaltyLogitsProcessor(value),
        ),
        "min_length": lambda random: (
            {"length": (value := int(random.integers(0, 20))), "eos_token_ids": (1, 3)},
            peers.MinLengthLogitsProcessor(value, [1, 3]),
        ),
        "temperature": lambda random: (
            {"value": (value := draw_float(random, 0.1, 3))},
            peers.TemperatureLogitsWarper(value),
        ),
        "top_k": lambda random: (
            {"k": (value := int(random.integers(1, 120)))},
            peers.TopKLogitsWarper(value),
        ),
        "top_p": lambda random: (
            {"p": (value := draw_float(random, 0.05, 0.99))},
            peers.TopPLogitsWarper(value),
        ),
    }


@pytest.mark.parametrize(
    "name", ["repetition_penalty", "min_length", "temperature", "top_k", "top_p"]
)
def test_equal_scores_and_the_same_tokens_gone(random, name):
    import torch

    draw = classes()[name]
    for _ in range(CASES):
        arguments, peer = draw(random)
        scores = random.normal(scale=3, size=100).astype(np.float32)
        scores[random.random(100) < 0.1] = -np.inf  # as an earlier processor would
        ids = random.integers(0, 100, 10)
        ours = getattr(logits_process, name)(ids, scores, **arguments)
        theirs = peer(torch.from_numpy(ids)[None], torch.from_numpy(scores.copy())[None])[0]
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
