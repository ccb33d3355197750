"""Texts as tokens with their places in the text, cut where they are longer than a model reads."""

import threading
from functools import cached_property

import tokenizers

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.tokenizer import Tokenizer


class WindowEncoder:
    """Encodes texts, and cuts those that are too long into windows.

    As transformers' fast tokenizers with return_overflowing_tokens.

    Args:
        tokenizer: encodes the texts; it is not changed.
        context: the longest sequence that the model reads, in tokens.

    Attributes:
        context: the same.
        longest: the longest text by default: the tokenizer's model_max_length, if that is less.
    """

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.longest = min(tokenizer.settings.model_max_length or context, context)
        self._lock = threading.Lock()  # the copy holds the settings of one call

    def windows(
        self,
        text: str,
        pair: str | None = None,
        *,
        max_length: int,
        stride: int = 0,
        strategy: str = "longest_first",
    ) -> list[tokenizers.Encoding]:
        """Return a text's tokens, or those of two, in windows of at most max_length tokens.

        Args:
            text, pair: what is encoded.
            max_length: tokens of a window, those that the tokenizer adds and the other text's
                included.
            stride: tokens that a window repeats of the one before.
            strategy: which text is cut: longest_first, only_first or only_second.

        Raises:
            InputError: a text cannot be encoded, or windows would not get on.
        """
        whole = self.tokenizer.encoding(text, pair)
        if len(whole) <= max_length:
            return [whole]
        self._check_room(whole, max_length, stride, strategy)
        with self._lock:
            self._copy.enable_truncation(
                max_length,
                stride=stride,
                strategy=strategy,
                direction=self.tokenizer.settings.truncation_side,
            )
            try:
                first = self._copy.encode(text, pair)
            except Exception as error:  # tokenizers raises bare Exceptions
                raise InputError(
                    f"max_length is {max_length}, and {strategy} cannot cut the {len(whole)} "
                    f"tokens of {text[:40]!a} to that; pass a larger one, or another truncation"
                ) from error
        return [first, *first.overflowing]

    @cached_property
    def _copy(self) -> tokenizers.Tokenizer:
        copy = tokenizers.Tokenizer.from_str(self.tokenizer.backend.to_str())
        copy.encode_special_tokens = self.tokenizer.backend.encode_special_tokens
        return copy

    def _check_room(
        self, whole: tokenizers.Encoding, max_length: int, stride: int, strategy: str
    ) -> None:
        """Refuse windows without new tokens, at which the tokenizers package would panic."""
        cut = {"only_first": (0,), "only_second": (1,)}.get(strategy, (0, 1))
        kept = sum(sequence not in cut for sequence in whole.sequence_ids)
        if max_length - kept <= stride:
            raise InputError(
                f"windows of {shown(max_length)} tokens, of which {kept} are the same in each and "
                f"{stride} are repeated (stride), hold no others; pass a larger length or a "
                "smaller stride"
            )
