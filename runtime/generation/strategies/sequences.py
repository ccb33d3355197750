"""The sequences of a call: those that grow token by token, and the beams of a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.noise import TokenNoise, sample, sample_with_margin
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList, log_probabilities
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteriaList


@dataclass(kw_only=True)
class SequenceGroup:
    """The sequences of one prompt: a single one, or its beams.

    Attributes:
        ids: int64 [rows, length], prompt and generated tokens, without padding and holes.
        prompt: int64 [width], the prompt as the caller passed it, its padding and holes included.
        prompt_length: the prompt's tokens; the first ones of ids.
        processors: the config's processors that come before the caller's.
        warpers: the config's processors that come after the caller's.
        criteria: end tokens, stop strings and times; each strategy counts lengths itself.
        is_finished: whether nothing follows.
    """

    ids: Ids
    prompt: Ids
    prompt_length: int
    processors: LogitsProcessorList
    warpers: LogitsProcessorList
    criteria: StoppingCriteriaList
    is_finished: bool = False

    @property
    def padded(self) -> Ids:
        """ids as processors and criteria of a caller see them; see padded_ids()."""
        return self.padded_ids(self.ids)

    def padded_ids(self, ids: Ids) -> Ids:
        """Return int64 [rows, width + new tokens]: ids [rows, length] after the caller's prompt."""
        prompts = np.broadcast_to(self.prompt, (len(ids), len(self.prompt)))
        return np.concatenate([prompts, ids[:, self.prompt_length :]], axis=1)


@dataclass(kw_only=True)
class GrowingSequence(SequenceGroup):
    """A single sequence, [1, length], that grows one token at a time.

    Attributes:
        max_new_tokens: how many tokens to generate at most.
        noise: the noise of its draws; None takes the likeliest token.
        generated: the tokens after the prompt.
        is_stopped: whether a criterion finished it, and not max_new_tokens alone.
    """

    max_new_tokens: int
    noise: TokenNoise | None
    generated: list[int] = field(default_factory=list)
    is_stopped: bool = False

    def __post_init__(self) -> None:
        length = self.ids.shape[1]
        # Room for all tokens: to copy the ids at every step would cost more than to choose one.
        self._buffer = np.empty((1, length + self.max_new_tokens), np.int64)
        self._buffer[:, :length] = self.ids
        self.ids = self._buffer[:, :length]

    @property
    def last_token(self) -> int:
        """The last generated token; there must be one."""
        return self.generated[-1]

    def choose(self, scores: Scores) -> int:
        """Return the next token by its processed scores [vocab]."""
        return choose(scores, self.ids.shape[1], self.noise)

    def append(self, token: int) -> None:
        """Append a token; the last one that there is room for finishes the sequence."""
        length = self.ids.shape[1] + 1
        self._buffer[0, length - 1] = token
        self.ids = self._buffer[:, :length]
        self.generated.append(token)
        self.is_finished = len(self.generated) >= self.max_new_tokens


class GeneratedToken(NamedTuple):
    """A token that a step chose; its arrays are valid until the next step.

    Attributes:
        row: the sequence's number in the call.
        token: its id.
        logits: float32 [vocab], the model's logits that predict it.
        scores: float32 [vocab], what processors made of them; the token was chosen by these.
        sequence: the sequence, with the token appended, and with those that assisted decoding
            accepted in the same step: it may be finished before its last token is yielded.
    """

    row: int
    token: int
    logits: Scores
    scores: Scores
    sequence: GrowingSequence

    @property
    def log_probability(self) -> float:
        """The natural logarithm of the token's probability by the model's logits."""
        return float(log_probabilities(self.logits)[self.token])


def choose(scores: Scores, position: int, noise: TokenNoise | None) -> int:
    """Return the likeliest token by scores [vocab], or with noise one drawn for that position."""
    if noise is None:
        return int(scores.argmax())
    return _drawn(sample(scores, noise, position))


def choose_with_margin(
    scores: Scores, position: int, noise: TokenNoise | None
) -> tuple[int, float]:
    """Return the token of choose(), and by how much it was ahead of the next, noise included."""
    if noise is None:
        token = int(scores.argmax())
        others = np.delete(scores, token)
        return token, float(scores[token] - others.max(initial=-np.inf))
    drawn, margin = sample_with_margin(scores, noise, position)
    return _drawn(drawn), margin


def _drawn(tokens: Ids) -> int:
    if len(tokens) == 0:
        raise InputError("no token has a probability: processors have ruled out all; allow some")
    return int(tokens[0])


def join(prompts: Ids, generated: Sequence[Sequence[int]], fill: int) -> Ids:
    """Return int64 [sequences, width + longest]: prompts as given, then the generated tokens.

    Args:
        prompts: int64 [sequences, width], padding included.
        generated: the tokens of each sequence.
        fill: the token that shorter sequences are filled up with.
    """
    width = prompts.shape[1]
    ids = np.full((len(generated), width + max(map(len, generated))), fill, np.int64)
    ids[:, :width] = prompts
    for row, tokens in enumerate(generated):
        ids[row, width : width + len(tokens)] = tokens
    return ids
