"""BatchEncoding: what calling a tokenizer returns, cut and padded as by transformers."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.text_limits import LEFT, Limits

# Values at padded positions; input_ids have the pad token there.
_FILLS: dict[str, Any] = {
    "attention_mask": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}


class CharSpan(NamedTuple):
    """The characters from start to end, the latter left out."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """Lists or arrays by name, which are attributes too (transformers.BatchEncoding).

    Attributes:
        encodings: what the tokenizers package knows of each row; None where nothing was encoded.
    """

    encodings: list[tokenizers.Encoding] | None

    def __init__(
        self, columns: Mapping[str, Any] = {}, encodings: list[tokenizers.Encoding] | None = None
    ) -> None:
        super().__init__(columns)
        self.encodings = encodings

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(name)
        except KeyError as error:
            raise AttributeError(name) from error

    def __getitem__(self, key: Any) -> Any:
        return self._row(key) if isinstance(key, int) else super().__getitem__(key)

    def to(self, device: object) -> "BatchEncoding":
        """Return itself: models take arrays wherever they run."""
        return self

    def convert_to_tensors(self, tensor_type: Any = None) -> "BatchEncoding":
        """Make arrays of the lists, and return itself; see as_tensors()."""
        self.update(as_tensors(self, tensor_type))
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row."""
        return list(self._row(batch_index).tokens)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the word that each token of a row is of; None for special tokens and padding."""
        return list(self._row(batch_index).word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the text of a pair, 0 or 1, that each token of a row is of; None for others."""
        return list(self._row(batch_index).sequence_ids)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the place of the token that a character of a row, or of the only one, is of."""
        row, char = _row_and_place(batch_or_char_index, char_index)
        place: int | None = self._row(row).char_to_token(char, sequence_index)
        return place

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> CharSpan | None:
        """Return the characters of a token of a row, or of the only one."""
        row, token = _row_and_place(batch_or_token_index, token_index)
        span = self._row(row).token_to_chars(token)
        return None if span is None else CharSpan(*span)

    def _row(self, index: int) -> tokenizers.Encoding:
        if self.encodings is None:
            raise InputError("these rows were not encoded by a tokenizer's call; pass texts to one")
        return self.encodings[index]


def _row_and_place(first: int, second: int | None) -> tuple[int, int]:
    return (0, first) if second is None else (first, second)


def left_padded(encoded: Sequence[Sequence[int]], fill: int | None) -> dict[str, Any]:
    """Return input_ids and attention_mask, int64 [texts, length], of encoded texts."""
    width = max(map(len, encoded), default=0)
    input_ids = np.full((len(encoded), width), fill or 0, np.int64)
    attention_mask = np.zeros((len(encoded), width), np.int64)
    for row, ids in enumerate(encoded):
        input_ids[row, width - len(ids) :] = ids
        attention_mask[row, width - len(ids) :] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def padded(
    columns: Mapping[str, Sequence[Sequence[Any]]], limits: Limits, pad_token_id: int | None
) -> dict[str, list[list[Any]]]:
    """Return the values of texts, by name, with as many for each text as the limits say.

    Raises:
        InputError: there is no token to pad with.
    """
    if limits.padding is None:
        return {name: [[*row] for row in rows] for name, rows in columns.items()}
    check_pad_token(pad_token_id)
    width = limits.padded_width(map(len, columns["input_ids"]))
    result = {}
    for name, rows in columns.items():
        fill = _FILLS.get(name, pad_token_id)
        result[name] = [_filled(row, fill, width, limits.padding_side) for row in rows]
    return result


def check_pad_token(pad_token_id: int | None) -> None:
    """Raise InputError if there is no token to pad with."""
    if pad_token_id is None:
        raise InputError(
            "the tokenizer has no pad_token to pad with; set one, as in "
            "tokenizer.pad_token = tokenizer.eos_token"
        )


def _filled(row: Sequence[Any], fill: Any, width: int, side: str) -> list[Any]:
    missing = [fill] * (width - len(row))
    return [*missing, *row] if side == LEFT else [*row, *missing]


def as_columns(encoded: Any) -> dict[str, Any]:
    """Return the values of texts by name: of a mapping of lists, or of a list of mappings.

    Raises:
        InputError: there are no input_ids.
    """
    if not isinstance(encoded, Mapping):
        encoded = {name: [each[name] for each in encoded] for name in encoded[0]} if encoded else {}
    if "input_ids" not in encoded:
        raise InputError("there are no input_ids to pad; pass what calling the tokenizer returned")
    columns = dict(encoded)
    if len(columns["input_ids"]) and not hasattr(columns["input_ids"][0], "__len__"):
        columns = {name: [values] for name, values in columns.items()}
    return columns


def as_tensors(
    columns: Mapping[str, Any], kind: Any, encodings: list[tokenizers.Encoding] | None = None
) -> BatchEncoding:
    """Return lists, or the arrays that return_tensors names.

    Raises:
        InputError: there are no such arrays, or texts have different lengths.
    """
    kind = getattr(kind, "value", kind)
    if kind is None:
        return BatchEncoding(columns, encodings)
    torch = sys.modules.get("torch")
    if kind not in ("np", "pt") or (kind == "pt" and torch is None):
        raise InputError(
            f"return_tensors is {shown(kind)}; 'np' is allowed, None for lists, and 'pt' where "
            "torch has been imported"
        )
    arrays = {}
    for name, rows in columns.items():
        try:
            arrays[name] = np.array(rows, np.int64)
        except ValueError as error:
            raise InputError(
                "the texts have different numbers of tokens; pass padding=True (and "
                "truncation=True with a max_length) to make arrays of them"
            ) from error
    if kind == "pt" and torch is not None:
        arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return BatchEncoding(arrays, encodings)
