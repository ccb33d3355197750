"""Random draws: one generator for each sequence, so that no draw depends on the rest of a batch."""

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.logits_process import probabilities

_seeds = np.random.default_rng()
_seeds_lock = threading.Lock()


def set_seed(seed: int) -> None:
    """Make all that follows reproducible, as transformers.set_seed does.

    Calls of generate() without a seed of their own take theirs from a sequence that starts here.
    """
    global _seeds
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed is {seed!r}; a whole number of at least 0 is allowed")
    with _seeds_lock:
        _seeds = np.random.default_rng(seed)


def sequence_generators(
    seed: int | tuple[int, ...] | None, prompts: Sequence[NDArray[np.int64]]
) -> list[np.random.Generator]:
    """A generator for each prompt, made of the seed, and of how often the prompt came before.

    The same prompt twice in a call is thus continued in two ways, but a prompt's continuation does
    not depend on which others are in the call, or where among them it stands.

    Raises:
        InputError: a list of seeds of another length than the prompts.
    """
    if seed is None:
        with _seeds_lock:
            seed = int(_seeds.integers(2**63))
    seeds = seed if isinstance(seed, tuple) else (seed,) * len(prompts)
    if len(seeds) != len(prompts):
        raise InputError(f"seed has {len(seeds)} numbers; one for each of {len(prompts)} results")
    seen: Counter[tuple[int, bytes]] = Counter()
    generators = []
    for own_seed, prompt in zip(seeds, prompts, strict=True):
        key = (own_seed, prompt.tobytes())
        generators.append(np.random.default_rng([own_seed, seen[key]]))
        seen[key] += 1
    return generators


def sample(scores: NDArray[np.float32], generator: np.random.Generator) -> int:
    """A token drawn from softmax(scores), by inverting its cumulative distribution."""
    candidates = np.flatnonzero(scores > -np.inf)
    cumulative = np.cumsum(probabilities(scores[candidates].astype(np.float64)))
    drawn = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
    return int(candidates[min(drawn, len(candidates) - 1)])
