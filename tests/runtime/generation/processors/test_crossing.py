"""Where the cumulative mass crosses a threshold, against sorting all tokens."""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation.processors.base import probabilities
from gptneo_onnx.runtime.generation.processors.crossing import crossing


@pytest.mark.parametrize("vocab", [1, 2, 600, 5000])
def test_it_is_where_a_sort_finds_it(random, vocab):
    found_some = 0
    for _ in range(50):
        scores = random.normal(size=vocab, scale=random.uniform(0.1, 6)).astype(np.float32)
        scores[random.random(vocab) < random.choice([0, 0.99])] = -np.inf
        scores[0] = 1
        masses, target = probabilities(scores), float(random.uniform(0.02, 0.98))
        order = np.argsort(masses, kind="stable")
        position = int(np.searchsorted(np.cumsum(masses[order], dtype=np.float64), target))
        found = crossing(masses, masses, target)
        if found is not None:
            found_some += 1
            assert found == (position, masses[order[position]])
    assert found_some > 40


@pytest.mark.parametrize("target", [0.5, 0.75, 1.0])
def test_none_where_rounding_decides(target):
    masses = np.array([0.25, 0.25, 0.25, 0.25], np.float32)
    assert crossing(masses, masses, target) is None
    assert crossing(np.tile(masses, 500), np.tile(masses, 500) / 500, target) is None


def test_keys_may_be_others_than_masses():
    keys, masses = np.array([3, 1, 2], np.float32), np.array([0.5, 0.2, 0.3], np.float32)
    assert crossing(keys, masses, 0.4) == (1, 2)
