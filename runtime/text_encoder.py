"""Encoding texts and pairs of texts, as transformers' fast tokenizers do when they are called."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, overload

import tokenizers

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.tokenizer_check.content import text_errors
from gptneo_onnx.runtime.batch_encoding import (
    BatchEncoding,
    as_columns,
    as_tensors,
    check_pad_token,
    padded,
)
from gptneo_onnx.runtime.text_limits import Limits, refuse_others
from gptneo_onnx.runtime.vocabulary import Vocabulary

# The greatest length that transformers takes for one; model_max_length has more for none.
LARGEST_LENGTH = int(1e20)
# The tokenizers package cuts texts as the tokenizer itself is set: one call sets it at a time.
_LOCK = threading.RLock()

Text = str | Sequence[str]


class TextEncoder(Vocabulary):
    """The part of a tokenizer that encodes.

    Attributes:
        model_max_length: the tokens that truncation leaves where a call names no number.
        padding_side, truncation_side: left or right.
    """

    model_max_length: int
    padding_side: str
    truncation_side: str

    def __call__(
        self,
        text: str | Sequence[Text],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = True,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        split_special_tokens: bool | None = None,
        verbose: bool = True,
        **others: Any,
    ) -> BatchEncoding:
        """Encode a text or a pair of texts, or several, as transformers' tokenizers do.

        Args:
            text: a text, or a list of texts; in the list, two texts in a tuple or a list are a
                pair.
            text_pair: the second text of the pair, or a list with that of each.
            add_special_tokens: as in encode().
            padding: True or "longest" makes texts as long as the longest, "max_length" as
                max_length; False leaves their lengths.
            truncation: True or "longest_first" cuts texts with more than max_length tokens, of a
                pair the longer one; "only_first" and "only_second" cut that one. A max_length alone
                cuts too.
            max_length: tokens; None takes model_max_length.
            stride: tokens that a part repeats of the part before.
            pad_to_multiple_of: makes padded texts a multiple of it long.
            padding_side: left or right; None takes the tokenizer's.
            truncation_side: left or right; None takes the tokenizer's.
            return_tensors: None returns lists, "np" int64 arrays [texts, length], "pt" tensors of
                torch, if that has been imported.
            return_overflowing_tokens: return what was cut off as further parts, in rows of their
                own; overflow_to_sample_mapping says which text each row is of.
            return_token_type_ids: return which text of a pair each token is of, which the model
                does not take; False by default.
            return_attention_mask: return 1 for tokens and 0 for padding.
            return_offsets_mapping: return the characters of each token, (start, end).
            return_special_tokens_mask: return 1 for special tokens that were added, else 0.
            return_length: return the number of tokens.
            split_special_tokens: whether special tokens in a text are read as any other text; None
                does as the tokenizer's files say.
            verbose: changes nothing.

        Raises:
            InputError: an argument out of range, or one that is not supported; a text that cannot
                be encoded, or not be cut so far; no token to pad with; arrays of texts of different
                lengths.
        """
        refuse_others(others)
        limits = Limits.of(
            padding,
            truncation,
            max_length,
            pad_to_multiple_of,
            self.model_max_length if self.model_max_length < LARGEST_LENGTH else None,
            padding_side or self.padding_side,
            truncation_side or self.truncation_side,
            stride,
        )
        rows: list[tokenizers.Encoding] = []
        samples: list[int] = []
        lengths: list[int] = []
        for sample, (first, second) in enumerate(_pairs(text, text_pair)):
            encoding = self._encode(first, second, add_special_tokens, limits, split_special_tokens)
            parts = [encoding, *(encoding.overflowing if return_overflowing_tokens else ())]
            rows += parts
            samples += [sample] * len(parts)
            lengths.append(len(encoding.ids))
        self._pad(rows, lengths, limits)
        columns: dict[str, Any] = {"input_ids": [each.ids for each in rows]}
        if return_token_type_ids:
            columns["token_type_ids"] = [each.type_ids for each in rows]
        if return_attention_mask or return_attention_mask is None:
            columns["attention_mask"] = [each.attention_mask for each in rows]
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [each.special_tokens_mask for each in rows]
        if return_offsets_mapping:
            columns["offset_mapping"] = [each.offsets for each in rows]
        if return_length:
            columns["length"] = [len(each.ids) for each in rows]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        elif isinstance(text, str) and return_tensors is None:
            # The length stays a list, as in transformers.
            columns = {k: v[0] if isinstance(v[0], list) else v for k, v in columns.items()}
        return as_tensors(columns, return_tensors, rows)

    def _encode(
        self,
        first: str,
        second: str | None,
        add_special_tokens: bool,
        limits: Limits | None = None,
        split_special_tokens: bool | None = None,
    ) -> tokenizers.Encoding:
        """Encode a text or a pair; what the limits cut off is in its `overflowing`."""
        with _LOCK:
            before = self.backend.encode_special_tokens
            if split_special_tokens is not None:
                self.backend.encode_special_tokens = bool(split_special_tokens)
            try:
                encoding = self._encode_whole(first, second, add_special_tokens)
                if limits is None or limits.longest is None:
                    return encoding
                self._cut_as(limits)
                if len(encoding.ids) <= limits.longest:
                    return encoding
                sequences = encoding.sequence_ids
                lengths = tuple(map(sequences.count, (0,) if second is None else (0, 1)))
                limits.check_parts(lengths, len(encoding.ids) - sum(lengths))
                return self._encode_whole(first, second, add_special_tokens)
            finally:
                self.backend.no_truncation()
                self.backend.encode_special_tokens = before

    def _cut_as(self, limits: Limits) -> None:
        """Set the backend to cut texts.

        Raises:
            InputError: the stride leaves no room for anything new.
        """
        assert limits.longest is not None
        try:
            self.backend.enable_truncation(
                limits.longest,
                stride=limits.stride,
                strategy=limits.strategy,
                direction=limits.truncation_side,
            )
        except ValueError as error:
            raise InputError(
                f"stride is {limits.stride}, and max_length {limits.longest} leaves no room beside "
                "it; pass a smaller stride"
            ) from error

    def _encode_whole(
        self, first: str, second: str | None, add_special_tokens: bool
    ) -> tokenizers.Encoding:
        with text_errors(first):
            try:
                return self.backend.encode(
                    first, second, add_special_tokens=bool(add_special_tokens)
                )
            except (UnicodeEncodeError, TypeError) as error:
                shown_text = f"{first}{second or ''}"[:40]
                raise InputError(f"the text {shown_text!a} cannot be encoded as UTF-8") from error

    def _pad(
        self, rows: Sequence[tokenizers.Encoding], lengths: Sequence[int], limits: Limits
    ) -> None:
        """Pad rows to the width of texts of these lengths: what was cut off may have more."""
        if limits.padding is None:
            return
        check_pad_token(self.pad_token_id)
        width = limits.padded_width(lengths)
        for each in rows:
            each.pad(
                width,
                direction=limits.padding_side,
                pad_id=self.pad_token_id,
                pad_token=self.pad_token,
            )

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
    ) -> BatchEncoding:
        """Pad what calls of the tokenizer returned: lists by name, or a list of such.

        Raises:
            InputError: as __call__().
        """
        side, cut = padding_side or self.padding_side, self.truncation_side
        limits = Limits.of(padding, False, max_length, pad_to_multiple_of, None, side, cut)
        columns = as_columns(encoded_inputs)
        if return_attention_mask is not False:
            columns.setdefault("attention_mask", [[1] * len(row) for row in columns["input_ids"]])
        return as_tensors(padded(columns, limits, self.pad_token_id), return_tensors)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """Return the tokens of a text, or of two, in the letters of the vocabulary."""
        return list(self.encoding(text, pair, add_special_tokens).tokens)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many tokens stand around a text, or around a pair."""
        return int(self.backend.num_special_tokens_to_add(pair))

    @overload
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...

    @overload
    def encode(self, text: str, add_special_tokens: bool = True, **arguments: Any) -> Any: ...

    def encode(self, text: str, add_special_tokens: bool = True, **arguments: Any) -> Any:
        """Return the ids of a text: a list, unless return_tensors asks for an array.

        Args:
            text: what to encode.
            add_special_tokens: whether to put the tokens around it that the tokenizer has for that,
                as with add_bos_token; GPT-Neo's has none.
            arguments: others of __call__().

        Raises:
            InputError: it is not a text, or has lone surrogates, which UTF-8 cannot encode.
        """
        if not arguments:
            return list(self.encoding(text, add_special_tokens=add_special_tokens).ids)
        return self(text, add_special_tokens=add_special_tokens, **arguments)["input_ids"]

    encode_plus = __call__
    batch_encode_plus = __call__

    def encoding(
        self, text: str, pair: str | None = None, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Return the tokens of a text, or of two, with their places in it.

        Raises:
            InputError: as encode().
        """
        _check_texts(text, pair)
        return self._encode(text, pair, add_special_tokens)


def _pairs(text: Any, text_pair: Any) -> Iterator[tuple[str, str | None]]:
    """Yield the texts of a call, each with the second one of its pair or None.

    Raises:
        InputError: something that is neither, or lists of different lengths.
    """
    if isinstance(text, str):
        _check_texts(text, text_pair)
        yield text, text_pair or None  # an empty text makes no pair, as in transformers
        return
    if not isinstance(text, Sequence) or isinstance(text, bytes):
        raise InputError(f"a prompt is of type {type(text).__name__}; a text is expected")
    if text_pair is None:
        for each in text:
            is_pair = isinstance(each, list | tuple) and len(each) == 2
            first, second = each if is_pair else (each, None)
            _check_texts(first, second)
            yield first, second
        return
    if isinstance(text_pair, str) or not isinstance(text_pair, Sequence):
        raise InputError(
            f"text_pair is {shown(text_pair)}; with several texts a list of as many is allowed"
        )
    if len(text) != len(text_pair):
        raise InputError(f"there are {len(text)} texts, and {len(text_pair)} in text_pair")
    for first, second in zip(text, text_pair, strict=True):
        _check_texts(first, second)
        yield first, second


def _check_texts(text: Any, pair: Any) -> None:
    for each in (text, pair):
        if not isinstance(each, str | None) or text is None:
            raise InputError(f"a prompt is of type {type(each).__name__}; a text is expected")
