"""Random draws that depend on a sequence's seed, on the position and on the scores alone.

A token is drawn as the largest of score + Gumbel noise, which has the softmax's distribution
(Gumbel 1954). The noise of a token at a position is a hash of the sequence's seed: never of what
else is in the batch, nor of how the scores came about. So a draft model, or the text itself, may
propose tokens, and the result stays what it would have been without (drafter-invariant speculative
decoding, Daliri et al. 2024, arXiv:2408.07978).
"""

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError

_seeds = np.random.default_rng()
_seeds_lock = threading.Lock()

# SplitMix64 (Steele, Lea and Flood 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def set_seed(seed: int) -> None:
    """Make all that follows reproducible, as transformers.set_seed does.

    Calls of generate() without a seed of their own take theirs from a sequence that starts here.
    """
    global _seeds
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed is {seed!r}; a whole number of at least 0 is allowed")
    with _seeds_lock:
        _seeds = np.random.default_rng(seed)


class TokenNoise:
    """The Gumbel noise of one sequence: of each token, at each position."""

    def __init__(self, seed: Sequence[int]) -> None:
        state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        self._key = np.uint64(state[0])

    def at(self, position: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noise of tokens [candidates], drawn from the standard Gumbel distribution."""
        place = _mixed(self._key + _GOLDEN * np.array([position], np.uint64))
        hashes = _mixed(place + _GOLDEN * (tokens.astype(np.uint64) + np.uint64(1)))
        uniform = (hashes >> np.uint64(11)) * 2.0**-53 + 2.0**-54
        return np.asarray(-np.log(-np.log(uniform)))


def sequence_noise(
    seed: int | tuple[int, ...] | None, prompts: Sequence[NDArray[np.int64]]
) -> list[TokenNoise]:
    """The noise for each prompt, made of the seed, and of how often the prompt came before.

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
    noise = []
    for own_seed, prompt in zip(seeds, prompts, strict=True):
        key = (own_seed, prompt.tobytes())
        noise.append(TokenNoise([own_seed, seen[key]]))
        seen[key] += 1
    return noise


def sample(
    scores: NDArray[np.float32], noise: TokenNoise, position: int, count: int = 1
) -> NDArray[np.int64]:
    """Tokens drawn from softmax(scores) [vocab] without replacement, in the order of the draws.

    Fewer than `count` come back where fewer have a probability (Gumbel-top-k: Kool et al. 2019,
    arXiv:1903.06059).
    """
    candidates = np.flatnonzero(scores > -np.inf)
    keys = scores[candidates] + noise.at(position, candidates)
    if count == 1 and len(candidates):
        return candidates[[keys.argmax()]]
    return candidates[np.argsort(-keys, kind="stable")[:count]]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer; whole numbers wrap around."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))
