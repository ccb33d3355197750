"""BatchEncoding: what calling a tokenizer returns, cut and padded as by transformers."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown

LEFT, RIGHT = "left", "right"
_PADDINGS = {True: "longest", False: None, "do_not_pad": None, None: None}
_NO_TRUNCATION = (None, False, "do_not_truncate")
_TRUNCATION = (True, "longest_first", "only_first")
# Values at padded positions; attention_mask's, special_tokens_mask's and offset_mapping's.
_FILLS: dict[str, Any] = {"attention_mask": 0, "special_tokens_mask": 1, "offset_mapping": (0, 0)}


class BatchEncoding(dict[str, Any]):
    """Lists or arrays by name, which are attributes too (transformers.BatchEncoding)."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def to(self, device: object) -> "BatchEncoding":
        """Return itself: models take arrays wherever they run."""
        return self


@dataclass(frozen=True)
class Limits:
    """How many tokens a text may have, and how many it is padded to.

    Attributes:
        longest: texts with more tokens are cut; None for no limit.
        padding: None, "longest" or "max_length".
        width: the tokens that texts have at least, with "max_length".
        multiple: texts are padded to a multiple of it.
        padding_side, truncation_side: where.
    """

    longest: int | None
    padding: str | None
    width: int
    multiple: int
    padding_side: str
    truncation_side: str

    @classmethod
    def of(
        cls,
        padding: Any,
        truncation: Any,
        max_length: Any,
        pad_to_multiple_of: Any,
        model_max_length: int | None,
        padding_side: Any,
        truncation_side: Any,
    ) -> "Limits":
        """Read the arguments as transformers does: a max_length alone cuts too.

        Raises:
            InputError: an argument out of range, or two that exclude each other.
        """
        strategy = _PADDINGS.get(padding, padding) if _is_plain(padding) else padding
        if strategy not in (None, "longest", "max_length"):
            raise InputError(
                f"padding is {shown(padding)}; True, False, 'longest', 'max_length' or "
                "'do_not_pad' is allowed"
            )
        if not _is_plain(truncation) or truncation not in (*_NO_TRUNCATION, *_TRUNCATION):
            raise InputError(
                f"truncation is {shown(truncation)}; True, False, 'longest_first', 'only_first' "
                "or 'do_not_truncate' is allowed"
            )
        for name, value in (("max_length", max_length), ("pad_to_multiple_of", pad_to_multiple_of)):
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(
                    f"{name} is {shown(value)}; a whole number of at least 1 is allowed"
                )
        for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
            if side not in (LEFT, RIGHT):
                raise InputError(f"{name} is {shown(side)}; left or right is allowed")
        cuts = truncation in _TRUNCATION and truncation is not None
        if truncation is None and strategy is None and max_length is not None:
            cuts = True
        limit = max_length or model_max_length
        if strategy == "max_length" and limit is None:
            strategy = None  # as in transformers, where the model has no greatest length
        return cls(
            limit if cuts else None,
            strategy,
            limit or 0,
            pad_to_multiple_of or 1,
            padding_side,
            truncation_side,
        )


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | str)


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
    if pad_token_id is None:
        raise InputError(
            "the tokenizer has no pad_token to pad with; set one, as in "
            "tokenizer.pad_token = tokenizer.eos_token"
        )
    longest = max(map(len, columns["input_ids"]), default=0)
    width = limits.width if limits.padding == "max_length" else longest
    width = -(-width // limits.multiple) * limits.multiple
    result = {}
    for name, rows in columns.items():
        fill = _FILLS.get(name, pad_token_id)
        result[name] = [_filled(row, fill, width, limits.padding_side) for row in rows]
    return result


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


def as_tensors(columns: Mapping[str, Any], kind: Any) -> BatchEncoding:
    """Return lists, or the arrays that return_tensors names.

    Raises:
        InputError: there are no such arrays, or texts have different lengths.
    """
    kind = getattr(kind, "value", kind)
    if kind is None:
        return BatchEncoding(columns)
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
    return BatchEncoding(arrays)


# Arguments of transformers' tokenizers that are passed over where they ask for nothing.
_NEUTRAL = {
    "stride": (0,),
    "is_split_into_words": (False,),
    "return_overflowing_tokens": (False,),
    "return_token_type_ids": (None, False),
    "text_target": (None,),
    "text_pair_target": (None,),
}


def refuse_others(arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that is not supported, unless it asks for nothing."""
    for name, value in arguments.items():
        if name not in _NEUTRAL or value not in _NEUTRAL[name]:
            raise InputError(
                f"tokenizers here have no argument {name} ({shown(value)}); leave it out: GPT-Neo "
                "reads one text, as a sequence of token ids"
            )
