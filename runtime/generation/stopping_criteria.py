"""When generate() stops, besides its configuration (transformers.generation.stopping_criteria).

A criterion takes the tokens so far, `input_ids` int64 [batch, length], and the `scores` that the
last of them was chosen by, float32 [batch, vocab], and returns bool [batch]: True where a row is to
stop. One bool for all rows, which older versions of transformers asked for, will do too.
"""

import math
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores
from gptneo_onnx.runtime.tokenizer import Tokenizer

Verdicts = NDArray[np.bool_]


class StoppingCriteria(Protocol):
    """Says which rows are to stop."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts | bool: ...


class StoppingCriteriaList(list[StoppingCriteria]):
    """Criteria any of which may stop a row; all of them are asked at every step.

    Raises:
        InputError: one of them returns something else than bools.
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
        """Of the first MaxLengthCriteria, if there is one."""
        lengths = (each.max_length for each in self if isinstance(each, MaxLengthCriteria))
        return next(lengths, None)


class MaxLengthCriteria:
    """Stops once there are max_length tokens, the prompt's and its padding's included.

    Raises:
        InputError: max_length is no whole number of at least 1.
    """

    def __init__(self, max_length: int) -> None:
        if not _is_whole(max_length) or max_length < 1:
            raise InputError(
                f"max_length is {shown(max_length)}; a whole number of at least 1 is allowed"
            )
        self.max_length = int(max_length)

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        return np.full(len(input_ids), input_ids.shape[1] >= self.max_length)


class MaxTimeCriteria:
    """Stops when more than max_time seconds have passed since initial_timestamp.

    Args:
        max_time: seconds.
        initial_timestamp: as time.time() gives it; None takes the moment this is made.

    Raises:
        InputError: max_time is negative or no number.
    """

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        if not _is_number(max_time) or not max_time >= 0:
            raise InputError(f"max_time is {shown(max_time)}; seconds of at least 0 are allowed")
        if initial_timestamp is None:
            initial_timestamp = time.time()
        if not _is_number(initial_timestamp) or not math.isfinite(initial_timestamp):
            raise InputError(
                f"initial_timestamp is {shown(initial_timestamp)}; seconds as time.time() gives "
                "them are allowed, or None for now"
            )
        self.max_time = max_time
        self.initial_timestamp = initial_timestamp

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        return np.full(len(input_ids), time.time() - self.initial_timestamp > self.max_time)


class EosTokenCriteria:
    """Stops behind an end token.

    Args:
        eos_token_id: one id, or several of which any is an end.

    Raises:
        InputError: not ids, or none.
    """

    def __init__(self, eos_token_id: int | Sequence[int] | Ids) -> None:
        ids = np.atleast_1d(np.asarray(eos_token_id, dtype=object))
        if ids.ndim != 1 or not len(ids) or not all(_is_whole(i) and i >= 0 for i in ids):
            raise InputError(
                f"eos_token_id is {shown(eos_token_id)}; a token id or a list of them is allowed"
            )
        self.eos_token_id = ids.astype(np.int64)

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        if not input_ids.shape[1]:
            return np.zeros(len(input_ids), np.bool_)
        return np.asarray((input_ids[:, -1:] == self.eos_token_id).any(-1))


class StopStringCriteria:
    """Stops when a stop string ends inside the last token, where more text may follow it.

    The string may straddle any number of tokens, the prompt's too. It is sought among the bytes of
    the tokens, so that it is found wherever tokens cut its characters; transformers' class of this
    name compares characters and misses those. Special tokens count with their text.

    A step looks at no more tokens than the longest stop string has bytes.

    Args:
        tokenizer: of the model.
        stop_strings: one, or several of which any is a stop.

    Raises:
        InputError: not texts, an empty one, one that UTF-8 cannot hold, or none at all.
    """

    def __init__(self, tokenizer: Tokenizer, stop_strings: str | Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.stop_strings = _checked_stop_strings(stop_strings)
        self._stops = [text.encode() for text in self.stop_strings]
        self._longest = max(map(len, self._stops))

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts:
        recent = input_ids[:, -self._longest :].tolist()  # no token is shorter than a byte
        return np.array([self._ends(row) for row in recent], np.bool_)

    def _ends(self, ids: list[int]) -> bool:
        vocabulary = self.tokenizer.vocabulary_bytes
        last = vocabulary.get(ids[-1], b"") if ids else b""
        before = b""
        for token in reversed(ids[:-1]):
            # An id that only the model has is no text: nothing can straddle it.
            if token not in vocabulary or len(before) >= self._longest - 1:
                break
            before = vocabulary[token] + before
        text = before + last
        # Whatever begins later than this ends behind `before`.
        return any(
            stop in text[max(0, len(before) - len(stop) + 1) :] for stop in self._stops if last
        )


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


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float | np.floating)
