"""Compares samples of lm-evaluation-harness."""

from typing import Any

import pytest


def same(found: Any, expected: Any) -> bool:
    """Compare likelihoods to 1e-4, all else exactly."""
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, rel=1e-4, abs=1e-4))
    return bool(found == expected)
