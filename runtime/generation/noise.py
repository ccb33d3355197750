"""Random draws that depend only on a sequence's seed, the position and the scores.

The token with the largest score + Gumbel noise is drawn, which gives the softmax's distribution
(Gumbel 1954). The noise is a hash of the sequence's seed, the position and the token. It depends
neither on the rest of the batch nor on how the scores were computed. Therefore tokens that a draft
model or the text itself proposes do not change the result (drafter-invariant speculative decoding,
Daliri et al. 2024, arXiv:2408.07978).
"""

import functools
import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Floats, Ids, Scores
from gptneo_onnx.runtime.generation.processors.checks import check_whole_number
from gptneo_onnx.runtime.generation.workspace import Workspace

_workspace = Workspace()
_seeds = np.random.default_rng()
_seeds_lock = threading.Lock()

# The constants of MurmurHash3's finalizer (Appleby 2011), and of Fibonacci hashing.
_FACTORS = (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))
_GOLDEN = np.uint32(0x9E3779B9)
_BITS = 2**32 - 1
# With more candidates than this it is faster to find first which of them can win.
_MANY = 4096
_MARGIN = 1.001  # allows for the rounding of float32
_LEAST_LIKELIHOOD = 1e-30  # smaller ones, relative to the likeliest token's, lose digits
_FAR = 4.0  # margins beyond are as good as any


def set_seed(seed: int) -> None:
    """Make the following calls reproducible, as transformers.set_seed does.

    A call of generate() without a seed takes the next number of the sequence that starts here.

    Raises:
        InputError: the seed is not a whole number of at least 0.
    """
    global _seeds
    check_whole_number("seed", seed, least=0)
    with _seeds_lock:
        _seeds = np.random.default_rng(seed)


def next_seed() -> int:
    """Return the next number of the sequence that set_seed() starts."""
    with _seeds_lock:
        return int(_seeds.integers(2**63))


class TokenNoise:
    """The Gumbel noise of one sequence, for each token at each position."""

    def __init__(self, seed: Sequence[int]) -> None:
        state = np.random.SeedSequence(seed).generate_state(4, np.uint32)
        self._keys: NDArray[np.uint32] = state.astype(np.uint32)

    def at(self, position: int, tokens: Ids) -> NDArray[np.float64]:
        """Return the noise of tokens [candidates], of the standard Gumbel distribution."""
        return np.asarray(-np.log(self.exponential(position, tokens)))

    def exponential(self, position: int, tokens: Ids) -> NDArray[np.float64]:
        """Return the exponential noise of tokens; Gumbel noise is its negative logarithm."""
        scattered = _scattered(tokens)
        coarse, fine = (self._hashes(position, scattered, key) for key in (0, 2))
        # Uniform above 0 and below 1; small values keep all their digits.
        uniform = (coarse + (fine + 0.5) * 2.0**-32) * 2.0**-32
        return np.asarray(-np.log1p(-uniform))

    def lower_bounds(
        self, position: int, vocab_size: int, tokens: Ids | None = None
    ) -> NDArray[np.uint32]:
        """Return lower bounds of tokens' exponential noise, times 2**32; until the next call.

        Args:
            position: the position that the noise is for.
            vocab_size: how many tokens there are.
            tokens: those whose bounds are asked for; None for all of them.
        """
        scattered = _every_token(vocab_size) if tokens is None else _scattered(tokens)
        return self._hashes(position, scattered, 0, _arrays(len(scattered)))

    def _hashes(
        self,
        position: int,
        scattered: NDArray[np.uint32],
        key: int,
        arrays: tuple[NDArray[np.uint32], NDArray[np.uint32]] | None = None,
    ) -> NDArray[np.uint32]:
        """Return the hashes of tokens; `arrays` are for them and for what is in between."""
        first, second = self._keys[key : key + 2].tolist()
        position_hash = _mixed_number(position * int(_GOLDEN) + first, second)
        result, scratch = arrays or (np.empty_like(scattered), np.empty_like(scattered))
        np.add(scattered, np.uint32(position_hash), out=result)
        return _mixed(result, np.uint32(position_hash ^ second), scratch)


def _arrays(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return an array for hashes, and one for what is in between."""
    hashes = _workspace.array("hashes", count, np.uint32)
    return hashes, _workspace.array("mixed", count, np.uint32)


def sequence_noise(seed: int | Sequence[int] | None, prompts: Sequence[Ids]) -> list[TokenNoise]:
    """Return the noise of each prompt, from the seed and how often the prompt occurred before it.

    The same prompt twice in a call is thus continued in two ways, but a prompt's continuation does
    not depend on the other prompts of the call, or on its place among them.

    Raises:
        InputError: there are more or fewer seeds than prompts.
    """
    if seed is None:
        seed = next_seed()
    seeds = (seed,) * len(prompts) if isinstance(seed, int) else seed
    if len(seeds) != len(prompts):
        raise InputError(f"seed has {len(seeds)} numbers; one for each of {len(prompts)} results")
    occurrences: Counter[tuple[int, bytes]] = Counter()
    noise = []
    for prompt_seed, prompt in zip(seeds, prompts, strict=True):
        key = (prompt_seed, prompt.tobytes())
        noise.append(TokenNoise([prompt_seed, occurrences[key]]))
        occurrences[key] += 1
    return noise


def sample(scores: Scores, noise: TokenNoise, position: int, count: int = 1) -> Ids:
    """Draw tokens from softmax(scores) [vocab] without replacement, in the order of the draws.

    Returns fewer than `count` tokens if fewer have a probability (Gumbel-top-k: Kool et al. 2019,
    arXiv:1903.06059).

    Raises:
        InputError: a score is infinite or NaN, as a temperature near 0 makes them.
    """
    greatest = scores.max()
    if not greatest < np.inf:
        raise InputError(
            f"a score is {greatest} after the processors: no token can be drawn; raise "
            "temperature, or pass do_sample=False for greedy decoding"
        )
    if count == 1:
        candidates = _contenders(scores, noise, position)
    else:
        candidates = np.flatnonzero(scores > -np.inf)
    keys = scores[candidates] + noise.at(position, candidates)
    if count == 1 and len(candidates):
        return candidates[[keys.argmax()]]
    return candidates[np.argsort(-keys, kind="stable")[:count]]


def sample_with_margin(scores: Scores, noise: TokenNoise, position: int) -> tuple[Ids, float]:
    """Return what sample() draws, and by how much its key exceeds the next, up to _FAR."""
    candidates = _contenders(scores, noise, position, _FAR)
    if len(candidates) == 0:
        return candidates, 0.0
    keys = scores[candidates] + noise.at(position, candidates)
    first = int(keys.argmax())
    margin = keys[first] - np.delete(keys, first).max(initial=-np.inf)
    return candidates[[first]], min(float(margin), _FAR)


def _contenders(scores: Scores, noise: TokenNoise, position: int, distance: float = 0.0) -> Ids:
    """Return the tokens that can have the largest key; most of a large vocabulary cannot.

    In terms of exponential noise, the token with the smallest noise / likelihood is drawn. A token
    can be left out if even a lower bound of its ratio exceeds the likeliest token's ratio. Those
    whose key can be that `distance` below are returned too.
    """
    possible = scores > -np.inf
    if np.count_nonzero(possible) <= _MANY:
        return np.flatnonzero(possible)
    best = scores.argmax()
    likelihoods = np.exp(scores - scores[best])
    lower_bounds = noise.lower_bounds(position, len(scores)).astype(np.float32)
    # Whatever wins beats this token, which is likely to win.
    rival = _likely_winner(lower_bounds, likelihoods, best)
    to_beat = noise.exponential(position, np.array([rival]))[0] * 2.0**32 / likelihoods[rival]
    can_win = lower_bounds <= likelihoods * np.float32(to_beat * _MARGIN * np.exp(distance))
    can_win[best] = True
    return np.flatnonzero(can_win & possible)


def _likely_winner(lower_bounds: Floats, likelihoods: Floats, best: np.intp) -> np.intp:
    """Return a token whose key is likely the largest, and whose likelihood is not too rough."""
    with np.errstate(divide="ignore", over="ignore"):
        winner = ((lower_bounds + 1) / likelihoods).argmin()
    return winner if likelihoods[winner] > _LEAST_LIKELIHOOD else best


def _scattered(values: Ids) -> NDArray[np.uint32]:
    """Spread neighbouring numbers over the whole range of uint32."""
    return values.astype(np.uint32) * _GOLDEN


@functools.lru_cache(maxsize=4)
def _every_token(vocab_size: int) -> NDArray[np.uint32]:
    return _scattered(np.arange(vocab_size))


def _mixed_number(value: int, key: int) -> int:
    """Return what _mixed() makes of one number, of which 32 bits count."""
    value &= _BITS
    value ^= value >> 16
    value = (value * int(_FACTORS[0]) & _BITS) ^ key
    value ^= value >> 13
    value = value * int(_FACTORS[1]) & _BITS
    return value ^ value >> 16


def _mixed(
    values: NDArray[np.uint32], key: np.uint32, shifted: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """Apply MurmurHash3's finalizer with a key in its midst, in place; products wrap around.

    `shifted` is overwritten.
    """
    values ^= np.right_shift(values, np.uint32(16), out=shifted)
    values *= _FACTORS[0]
    values ^= key
    values ^= np.right_shift(values, np.uint32(13), out=shifted)
    values *= _FACTORS[1]
    values ^= np.right_shift(values, np.uint32(16), out=shifted)
    return values
