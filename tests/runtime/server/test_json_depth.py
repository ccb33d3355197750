"""How deep a JSON text is, told without parsing it."""

import json

import numpy as np
import pytest

from gptneo_onnx.runtime.server.operations.json_depth import is_too_deep, json_depth


def depth_of(value) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(each) for each in value), default=0)
    return 0


def drawn(random: np.random.Generator, most: int):
    """Draw a value with strings that look like structure."""
    kind = random.integers(0, 5) if most else random.integers(2, 5)
    if kind == 0:
        return [drawn(random, most - 1) for _ in range(random.integers(0, 4))]
    if kind == 1:
        return {f'[{{"{i}': drawn(random, most - 1) for i in range(random.integers(0, 4))}
    return random.choice(['[[[{"', "\\", '\\"]}', "}}]]", "ü", "\n", "1"]).item()


def test_it_is_the_depth_that_a_parser_finds(random):
    for _ in range(500):
        value = drawn(random, 8)
        assert json_depth(json.dumps(value).encode()) == depth_of(value)
        assert json_depth(json.dumps(value, ensure_ascii=False).encode()) == depth_of(value)


@pytest.mark.parametrize("depth", [63, 64, 65, 100_000])
def test_the_limit_is_exact(depth):
    assert is_too_deep(b"[" * depth + b"]" * depth, 64) == (depth > 64)
    assert is_too_deep(b"[" * depth, 64) == (depth > 64)
