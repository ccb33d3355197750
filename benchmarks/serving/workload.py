"""Requests of mixed lengths, the same for every engine: prompts of drawn words, from a seed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Tokens of a prompt and of a result: from short questions to pages, most of them short.
PROMPT_TOKENS = (16, 512)
RESULT_TOKENS = (16, 128)


@dataclass(frozen=True)
class Work:
    """A request to send: a prompt, and how many tokens are wanted."""

    prompt: str
    prompt_tokens: int
    max_tokens: int


def draw_work(
    words: list[str],
    count: int,
    seed: int,
    prompt_tokens: tuple[int, int] = PROMPT_TOKENS,
    result_tokens: tuple[int, int] = RESULT_TOKENS,
) -> list[Work]:
    """Draw requests; the logarithms of their lengths are uniform. No two begin alike."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        length, limit = (
            round(float(np.exp(random.uniform(*np.log(bounds)))))
            for bounds in (prompt_tokens, result_tokens)
        )
        drawn.append(Work("".join(random.choice(words, length)), length, limit))
    return drawn


def single_token_words(directory: Path) -> list[str]:
    """Return words that are a token each, wherever they stand, with the space before them."""
    if (directory / "vocab.json").exists():
        vocabulary = json.loads((directory / "vocab.json").read_text())
    else:
        vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    # Bytes' alphabet writes a space as this letter.
    found = [re.fullmatch("\u0120([a-z]{2,})", token) for token in vocabulary]
    return sorted(f" {match[1]}" for match in found if match)


def poisson_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Return when requests arrive that come at random: seconds, `rate` of them a second."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    return np.cumsum(gaps).tolist()
