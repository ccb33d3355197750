"""Stopping criteria: they tell generate() which rows to stop.

A criterion takes the tokens so far, `input_ids` int64 [batch, length], and the `scores` that the
last of them was chosen by, float32 [batch, vocab], and returns bool [batch]: True for rows that
should stop. It may also return one bool for all rows, as older versions of transformers asked for.
Names and meaning are those of transformers.generation.stopping_criteria.
"""

import math
import time
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.base import probabilities
from gptneo_onnx.runtime.generation.processors.checks import check_number
from gptneo_onnx.runtime.generation.processors.conversions import number, token_ids
from gptneo_onnx.runtime.generation.tensors import (
    as_array,
    is_tensor,
    scores_array,
    takes_ids,
    tensor_like,
)
from gptneo_onnx.runtime.tokenizer import Tokenizer

Verdicts = Mask


@runtime_checkable
class StoppingCriteria(Protocol):
    """Tells which rows should stop; any function of two arguments is one."""

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Verdicts | bool:
        """Return bool [batch], or one bool for all rows."""
        raise NotImplementedError("a StoppingCriteria needs a __call__ of its own")


class StoppingCriteriaList(list[StoppingCriteria]):
    """Stops a row if any of its criteria does; every step asks all of them.

    More arguments, which are named, go to all criteria. Ids in a tensor give a tensor.

    Raises:
        InputError: a criterion returns something other than bools.
    """

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Verdicts:
        stopped: Verdicts = np.zeros(len(input_ids), np.bool_)
        for criterion in self:
            verdicts = np.asarray(as_array(criterion(input_ids, scores, **more)))
            if verdicts.dtype != np.bool_ or verdicts.shape not in ((), stopped.shape):
                raise InputError(
                    f"a stopping criterion returned {verdicts.dtype} of shape "
                    f"{list(verdicts.shape)}; bool of shape {list(stopped.shape)}, or one bool, is "
                    "expected"
                )
            stopped |= verdicts
        return tensor_like(stopped, input_ids) if is_tensor(input_ids) else stopped

    @property
    def max_length(self) -> int | None:
        """The limit of the first MaxLengthCriteria; None without one."""
        for criterion in self:
            if isinstance(criterion, MaxLengthCriteria):
                return criterion.max_length
        return None


def validate_stopping_criteria(
    stopping_criteria: StoppingCriteriaList, max_length: int
) -> StoppingCriteriaList:
    """Return a copy of a list that has a MaxLengthCriteria; warn if its limit is another one."""
    copied = deepcopy(stopping_criteria)
    if copied.max_length is None:
        copied.append(MaxLengthCriteria(max_length))
    elif copied.max_length != max_length:
        warnings.warn(
            f"the stopping criteria have a max_length of {copied.max_length}, and max_length is "
            f"{max_length}",
            UserWarning,
            stacklevel=2,
        )
    return copied


class MaxLengthCriteria:
    """Stops once there are max_length tokens, prompt and padding included.

    Args:
        max_length: one below 1 stops at once.
        max_position_embeddings: a warning says once that rows are longer than this context.

    Raises:
        InputError: an argument is not a finite number.
    """

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        limit = number("max_length", max_length)
        check_number("max_length", float(limit))
        self.max_length: int = math.ceil(limit)
        self.max_position_embeddings = max_position_embeddings
        if max_position_embeddings is not None:
            number("max_position_embeddings", max_position_embeddings)

    @takes_ids
    def __call__(self, input_ids: Ids, scores: Any, **more: Any) -> Verdicts:
        length = input_ids.shape[1]
        is_over = bool(length >= self.max_length)
        context = self.max_position_embeddings
        if context is not None and not is_over and length > context:
            # Once from one place in a program, by Python's default filter of warnings.
            warnings.warn(f"the text is longer than the context of {context} tokens", stacklevel=3)
        return np.full(len(input_ids), is_over)


class MaxTimeCriteria:
    """Stops when more than max_time seconds have passed since initial_timestamp: at once below 0.

    Args:
        max_time: seconds; below 0 stops at once.
        initial_timestamp: a result of time.time(); None takes the time of construction.

    Raises:
        InputError: an argument is not a number.
    """

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = number("max_time", max_time)
        now = time.time() if initial_timestamp is None else initial_timestamp
        self.initial_timestamp = number("initial_timestamp", now)

    @takes_ids
    def __call__(self, input_ids: Ids, scores: Any, **more: Any) -> Verdicts:
        return np.full(len(input_ids), time.time() - self.initial_timestamp > self.max_time)


class EosTokenCriteria:
    """Stops after an end token.

    Args:
        eos_token_id: the id of the end token, or several ids; -1 stands for no end token.

    Raises:
        InputError: not token ids.
    """

    def __init__(self, eos_token_id: int | Sequence[int] | Ids) -> None:
        self.eos_token_id = token_ids("eos_token_id", eos_token_id)

    @takes_ids
    def __call__(self, input_ids: Ids, scores: Any, **more: Any) -> Verdicts:
        is_end = input_ids[:, -1:, None] == self.eos_token_id  # [batch, 1 or 0, ends]
        return np.asarray(is_end.any((1, 2)))


class ConfidenceCriteria:
    """Stops when the first row's last token was less likely than a threshold.

    Assisted decoding takes it for the assistant's proposals. The scores are those of every step, of
    which the last counts, each float32 [batch, vocab]; or those of one step.

    Raises:
        InputError: the threshold is not a number.
    """

    def __init__(self, assistant_confidence_threshold: float) -> None:
        self.assistant_confidence_threshold = number(
            "assistant_confidence_threshold", assistant_confidence_threshold
        )

    @takes_ids
    def __call__(self, input_ids: Ids, scores: Any, **more: Any) -> bool:
        is_one_step = not isinstance(scores, tuple | list) and scores.ndim == 2
        likelihoods = probabilities(scores_array(scores if is_one_step else scores[-1]))
        return bool(likelihoods[0, input_ids[0, -1]] < self.assistant_confidence_threshold)


class StopStringCriteria:
    """Stops when a stop string ends within the last token; the token may hold more text after it.

    The string may extend over any number of tokens, the prompt's included. Bytes are compared, so
    that a string is found even where its characters are split between tokens; transformers' class
    compares characters and misses it there. Special tokens count with their text.

    A step looks at no more tokens than the longest stop string has bytes.

    Args:
        tokenizer: the model's tokenizer, or one that Tokenizer.coerce() takes.
        stop_strings: a stop string, or several of which any stops a row.

    Raises:
        InputError: not texts, an empty text, one that UTF-8 cannot encode, or an empty list.
    """

    def __init__(self, tokenizer: Any, stop_strings: str | Sequence[str]) -> None:
        has_bytes = hasattr(tokenizer, "vocabulary_bytes")
        self.tokenizer = tokenizer if has_bytes else Tokenizer.coerce(tokenizer)
        self.stop_strings = _checked_stop_strings(stop_strings)
        self._stops = [text.encode() for text in self.stop_strings]
        self._longest = max(map(len, self._stops))

    @takes_ids
    def __call__(self, input_ids: Ids, scores: Any, **more: Any) -> Verdicts:
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
