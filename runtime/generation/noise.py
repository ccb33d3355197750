"""Random draws that depend on a sequence's seed, on the position and on the scores alone.

A token is drawn as the largest of score + Gumbel noise, which has the softmax's distribution
(Gumbel 1954). The noise of a token at a position is a hash of the sequence's seed: never of what
else is in the batch, nor of how the scores came about. So a draft model, or the text itself, may
propose tokens, and the result stays what it would have been without (drafter-invariant speculative
decoding, Daliri et al. 2024, arXiv:2408.07978).
"""

import functools
import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError

_seeds = np.random.default_rng()
_seeds_lock = threading.Lock()

# The constants of MurmurHash3's finalizer (Appleby 2011), and of Fibonacci hashing.
_FACTORS = (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))
_GOLDEN = np.uint32(0x9E3779B9)
# Above so many candidates it pays to look first which of them can win.
_MANY = 4096
_MARGIN = 1.001  # for the rounding of float32


def set_seed(seed: int) -> None:
    """Make all that follows reproducible, as transformers.set_seed does.

    Calls of generate() without a seed of their own take theirs from a sequence that starts here.
    """
    global _seeds
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed is {seed!r}; a whole number of at least 0 is allowed")
    with _seeds_lock:
        _seeds = np.random.default_rng(seed)


def next_seed() -> int:
    """The next of the sequence that set_seed() starts."""
    with _seeds_lock:
        return int(_seeds.integers(2**63))


class TokenNoise:
    """The Gumbel noise of one sequence: of each token, at each position."""

    def __init__(self, seed: Sequence[int]) -> None:
        state = np.random.SeedSequence(seed).generate_state(4, np.uint32)
        self._keys: NDArray[np.uint32] = state.astype(np.uint32)

    def at(self, position: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noise of tokens [candidates], drawn from the standard Gumbel distribution."""
        return np.asarray(-np.log(self.exponential(position, tokens)))

    def exponential(self, position: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same as exponential noise: Gumbel noise is its negative logarithm."""
        scattered = _scattered(tokens)
        coarse, fine = (self._hashes(position, scattered, key) for key in (0, 2))
        # Uniform above 0 and below 1, with all its digits where it is small.
        uniform = (coarse + (fine + 0.5) * 2.0**-32) * 2.0**-32
        return np.asarray(-np.log1p(-uniform))

    def lower_bounds(self, position: int, vocab_size: int) -> NDArray[np.uint32]:
        """Of the exponential noise of every token, times 2**32."""
        return self._hashes(position, _every_token(vocab_size), 0)

    def _hashes(self, position: int, scattered: NDArray[np.uint32], key: int) -> NDArray[np.uint32]:
        keys = self._keys[key : key + 2]
        place = _mixed(_scattered(np.array([position])) + keys[0], keys[1:])
        return _mixed(scattered + place, place ^ keys[1])


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
        seed = next_seed()
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
    if count == 1:
        candidates = _contenders(scores, noise, position)
    else:
        candidates = np.flatnonzero(scores > -np.inf)
    keys = scores[candidates] + noise.at(position, candidates)
    if count == 1 and len(candidates):
        return candidates[[keys.argmax()]]
    return candidates[np.argsort(-keys, kind="stable")[:count]]


def _contenders(scores: NDArray[np.float32], noise: TokenNoise, position: int) -> NDArray[np.int64]:
    """The tokens that can have the largest key; of many, all but a few are sure not to.

    By exponential noise, the least noise over likelihood wins. So a token is out if a lower bound
    of its noise is above its likelihood, by the likeliest token's, times that one's noise.
    """
    left = scores > -np.inf
    if np.count_nonzero(left) <= _MANY:
        return np.flatnonzero(left)
    best = scores.argmax()
    to_beat = noise.exponential(position, np.array([best]))[0] * 2.0**32 * _MARGIN
    likelihoods = np.exp(scores - scores[best])
    lower_bounds = noise.lower_bounds(position, len(scores)).astype(np.float32)
    can_win = lower_bounds <= likelihoods * np.float32(to_beat)
    can_win[best] = True
    return np.flatnonzero(can_win & left)


def _scattered(values: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Neighbouring numbers made distant ones."""
    return values.astype(np.uint32) * _GOLDEN


@functools.lru_cache(maxsize=4)
def _every_token(vocab_size: int) -> NDArray[np.uint32]:
    return _scattered(np.arange(vocab_size))


def _mixed(values: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finalizer with a key in its midst, in place; whole numbers wrap around."""
    shifted = values >> np.uint32(16)
    values ^= shifted
    values *= _FACTORS[0]
    values ^= key
    values ^= np.right_shift(values, np.uint32(13), out=shifted)
    values *= _FACTORS[1]
    values ^= np.right_shift(values, np.uint32(16), out=shifted)
    return values
