"""Generation written as plainly as possible: the reference for generate()'s strategies.

Slow, without caches or batches. Here a model is a function from tokens to the log probabilities of
the next one, so that guidance and processors can be put in front of any search.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference import ReferenceGPTNeo

Ids = NDArray[np.int64]
# Maps the tokens so far to log probabilities, float64 [vocab].
NextScores = Callable[[list[int]], NDArray[np.float64]]


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Take the log softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def next_scores(oracle: ReferenceGPTNeo) -> NextScores:
    """Return the oracle's next-token function; it remembers results, as searches ask again."""
    known: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def scores(ids: list[int]) -> NDArray[np.float64]:
        if tuple(ids) not in known:
            known[tuple(ids)] = log_softmax(oracle.logits(np.array(ids))[-1])
        return known[tuple(ids)]

    return scores


def greedy(scores: NextScores, prompt: Sequence[int], count: int) -> list[int]:
    """Return the `count` tokens that follow a prompt."""
    ids = [int(token) for token in prompt]
    for _ in range(count):
        ids.append(int(scores(ids).argmax()))
    return ids[len(prompt) :]


def beam_search(
    scores: NextScores,
    prompt: Sequence[int],
    beams: int,
    count: int,
    ends: Sequence[int] = (),
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
) -> list[tuple[float, list[int]]]:
    """Return (score, generated tokens) of at most `beams` results, the best first."""
    start = [int(token) for token in prompt]
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, count + 1):
        candidates = [
            (score + token_score, [*tokens, token])
            for score, tokens in running
            for token, token_score in enumerate(scores(start + tokens).tolist())
        ]
        candidates = sorted(candidates, reverse=True)[: max(2, 1 + len(ends)) * beams]
        for score, tokens in candidates[:beams]:
            if tokens[-1] in ends or length == count:
                finished.append((score / length**length_penalty, tokens))
        finished = sorted(finished, reverse=True)[:beams]
        running = [(score, tokens) for score, tokens in candidates if tokens[-1] not in ends]
        running = running[:beams]
        if len(finished) < beams:
            continue
        reachable = count if early_stopping == "never" and length_penalty > 0 else length
        if early_stopping is True or running[0][0] / reachable**length_penalty <= finished[-1][0]:
            break
    return finished


def left_padded(prompts: Sequence[Sequence[int] | Ids], padding: int = 7) -> tuple[Ids, Ids]:
    """Pad prompts to input_ids and attention_mask, int64 [prompts, longest]."""
    width = max(map(len, prompts))
    ids = np.full((len(prompts), width), padding, np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    return ids, mask
