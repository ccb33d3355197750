"""Stopping criteria: they tell generate() which rows to stop.

A criterion takes the tokens so far, `input_ids` int64 [batch, length], and the `scores` that the
last of them was chosen by, float32 [batch, vocab], and returns bool [batch]: True for rows that
should stop. It may also return one bool for all rows, as older versions of transformers asked for.
Names and meaning are those of transformers.generation.stopping_criteria.
"""

import math
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.checks import is_number, is_whole_number
from gptneo_onnx.runtime.tokenizer import Tokenizer

Verdicts = Mask


class StoppingCriteria(Protocol):
    """Tells which rows should stop."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts | bool: ...


class StoppingCriteriaList(list[StoppingCriteria]):
    """Stops a row if any of its criteria does; every step asks all of them.

    Raises:
        InputError: a criterion returns something other than bools.
    """

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        stopped = np.zeros(len(input_ids), np.bool_)
        for criterion in self:
            verdicts = np.asarray(criterion(input_ids, scores))
            if verdicts.dtype != np.bool_ or verdicts.shape not in ((), stopped.shape):
                raise InputError(
                    f"a stopping criterion returned {verdicts.dtype} of shape "
                    f"{list(verdicts.shape)}; bool of shape {list(stopped.shape)}, or one bool, is "
                    "expected"
                )
            stopped |= verdicts
        return stopped

    @property
    def max_length(self) -> int | None:
        """The limit of the first MaxLengthCriteria; None without one."""
        for criterion in self:
            if isinstance(criterion, MaxLengthCriteria):
                return criterion.max_length
        return None


class MaxLengthCriteria:
    """Stops once there are max_length tokens, prompt and padding included.

    Raises:
        InputError: max_length is not a whole number of at least 1.
    """

    def __init__(self, max_length: int) -> None:
        if not is_whole_number(max_length) or max_length < 1:
            raise InputError(
                f"max_length is {shown(max_length)}; a whole number of at least 1 is allowed"
            )
        self.max_length = int(max_length)

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        return np.full(len(input_ids), input_ids.shape[1] >= self.max_length)


class MaxTimeCriteria:
    """Stops when more than max_time seconds have passed since initial_timestamp: at once below 0.

    Args:
        max_time: seconds.
        initial_timestamp: a result of time.time(); None takes the time of construction.

    Raises:
        InputError: max_time is not a number.
    """

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        if not is_number(max_time):
            raise InputError(f"max_time is {shown(max_time)}; a number of seconds is allowed")
        if initial_timestamp is None:
            initial_timestamp = time.time()
        if not is_number(initial_timestamp) or not math.isfinite(initial_timestamp):
            raise InputError(
                f"initial_timestamp is {shown(initial_timestamp)}; seconds as time.time() gives "
                "them are allowed, or None for now"
            )
        self.max_time = max_time
        self.initial_timestamp = initial_timestamp

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        return np.full(len(input_ids), time.time() - self.initial_timestamp > self.max_time)


class EosTokenCriteria:
    """Stops after an end token.

    Args:
        eos_token_id: the id of the end token, or the ids of several.

    Raises:
        InputError: not token ids, or an empty list.
    """

    def __init__(self, eos_token_id: int | Sequence[int] | Ids) -> None:
        ids = np.atleast_1d(np.asarray(eos_token_id, dtype=object))
        if ids.ndim != 1 or not len(ids) or not all(is_whole_number(i) and i >= 0 for i in ids):
            raise InputError(
                f"eos_token_id is {shown(eos_token_id)}; a token id or a list of them is allowed"
            )
        self.eos_token_id = ids.astype(np.int64)

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        if not input_ids.shape[1]:
            return np.zeros(len(input_ids), np.bool_)
        return np.asarray((input_ids[:, -1:] == self.eos_token_id).any(-1))


class StopStringCriteria:
    """Stops when a stop string ends within the last token; the token may hold more text after it.

    The string may extend over any number of tokens, the prompt's included. Bytes are compared, so
    that a string is found even where its characters are split between tokens; transformers' class
    compares characters and misses it there. Special tokens count with their text.

    A step looks at no more tokens than the longest stop string has bytes.

    Args:
        tokenizer: the model's tokenizer.
        stop_strings: a stop string, or several of which any stops a row.

    Raises:
        InputError: not texts, an empty text, one that UTF-8 cannot encode, or an empty list.
    """

    def __init__(self, tokenizer: Tokenizer, stop_strings: str | Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.stop_strings = _checked_stop_strings(stop_strings)
        self._stops = [text.encode() for text in self.stop_strings]
        self._longest = max(map(len, self._stops))

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        recent = input_ids[:, -self._longest :].tolist()  # no token is shorter than a byte
        return np.array([self._ends_row(row) for row in recent], np.bool_)

    def _ends_row(self, ids: list[int]) -> bool:
        vocabulary = self.tokenizer.vocabulary_bytes
        last = vocabulary.get(ids[-1], b"") if ids else b""
        before = b""
        for token in reversed(ids[:-1]):
            # An id that the tokenizer lacks has no text: no stop string extends over it.
            if token not in vocabulary or len(before) >= self._longest - 1:
                break
            before = vocabulary[token] + before
        text = before + last
        if not last:
            return False
        # A stop string that begins no earlier than this ends after `before`, in the last token.
        return any(stop in text[max(0, len(before) - len(stop) + 1) :] for stop in self._stops)


def _checked_stop_strings(stop_strings: str | Sequence[str]) -> tuple[str, ...]:
    texts = (stop_strings,) if isinstance(stop_strings, str) else stop_strings
    if not isinstance(texts, list | tuple) or not texts:
        raise InputError(
            f"stop_strings is {shown(stop_strings)}; a text or a list of texts is allowed"
        )
    for text in texts:
        if not isinstance(text, str) or not text:
            raise InputError(
                f"a stop string is {shown(text)}; a text of at least one character is allowed: "
                "leave it out"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the stop string {shown(ascii(text))} cannot be encoded as UTF-8; "
                "leave lone surrogates out"
            ) from error
    return tuple(texts)
