"""Checks of what a caller passes: ids, masks and positions."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids


@dataclass(frozen=True)
class PaddedInputs:
    """A checked batch.

    Attributes:
        input_ids: int64 [batch, sequence].
        columns: for each row, its columns that hold tokens.
    """

    input_ids: Ids
    columns: tuple[slice, ...]

    @classmethod
    def check(
        cls,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None,
        config: GPTNeoConfig,
        side: Literal["left", "any"] = "any",
        names: tuple[str, str] = ("input_ids", "attention_mask"),
    ) -> "PaddedInputs":
        """Check a batch.

        Args:
            input_ids, attention_mask: int [batch, sequence].
            config: the model's dimensions.
            side: where padding is allowed.
            names: names of the two arguments, for messages.

        Raises:
            InputError: the arrays are not [batch, sequence] or are empty, ids are out of range,
                the mask has holes, or a sequence is longer than the context.
        """
        ids = _integers(names[0], input_ids)
        mask = np.ones_like(ids) if attention_mask is None else _mask(attention_mask, ids, names)
        columns = tuple(_columns(row, mask[row], side, names) for row in range(len(ids)))
        for row, part in enumerate(columns):
            _check_ids(ids[row, part], config.vocab_size, names[0])
            length = part.stop - part.start
            if length > config.max_position_embeddings:
                raise InputError(
                    f"sequence {row} of {names[0]} has {length} tokens, the model's context "
                    f"{config.max_position_embeddings}; shorten it"
                )
        return cls(ids, columns)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, padding not counted."""
        return max(int(part.stop - part.start) for part in self.columns)

    def positions(self, position_ids: ArrayLike | None, config: GPTNeoConfig) -> Ids:
        """Return positions int64 [batch, sequence]: position_ids, or the columns' numbers."""
        context = config.max_position_embeddings
        if position_ids is None:
            if self.input_ids.shape[1] > context:
                raise InputError(
                    f"input_ids has {self.input_ids.shape[1]} columns, the model's context is "
                    f"{context}; shorten them, or pass position_ids"
                )
            return np.broadcast_to(np.arange(self.input_ids.shape[1]), self.input_ids.shape)
        positions = _integers("position_ids", position_ids)
        if positions.shape not in (self.input_ids.shape, (1, self.input_ids.shape[1])):
            raise InputError(
                f"position_ids has shape {list(positions.shape)}, input_ids "
                f"{list(self.input_ids.shape)}; they must be alike"
            )
        positions = np.broadcast_to(positions, self.input_ids.shape)
        if positions.min() < 0 or positions.max() >= context:
            raise InputError(
                f"position_ids reach from {positions.min()} to {positions.max()}; "
                f"0 to {context - 1} is allowed"
            )
        return positions


def _integers(name: str, values: ArrayLike) -> Ids:
    array = _array(name, values)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{name} has shape {list(array.shape)}; [batch, sequence] with at least one token is "
            "expected (an empty prompt can be started with the end-of-text token)"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name} is of type {array.dtype}; whole numbers are expected")
    return array.astype(np.int64)


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} has rows of different lengths; pad them on the left, and mask the padding"
        ) from error


def _mask(attention_mask: ArrayLike, ids: Ids, names: tuple[str, str]) -> Ids:
    mask = _array(names[1], attention_mask)
    if mask.shape != ids.shape:
        raise InputError(
            f"{names[1]} has shape {list(mask.shape)}, {names[0]} {list(ids.shape)}; "
            "they must be alike"
        )
    if not np.isin(mask, (0, 1)).all():
        raise InputError(f"{names[1]} holds other numbers than 0 and 1")
    return mask.astype(np.int64)


def _columns(row: int, mask: Ids, side: str, names: tuple[str, str]) -> slice:
    tokens = np.flatnonzero(mask)
    if len(tokens) == 0:
        raise InputError(f"{names[1]} leaves no token of sequence {row}; at least one is needed")
    start, stop = int(tokens[0]), int(tokens[-1]) + 1
    if stop - start != len(tokens):
        raise InputError(
            f"{names[1]} of sequence {row} has holes; padding may stand on one side only"
        )
    if stop != len(mask) and side == "left":
        raise InputError(
            f"sequence {row} of {names[0]} is padded on the right; to generate, pad on the left"
        )
    return slice(start, stop)


def _check_ids(ids: Ids, vocab_size: int, name: str) -> None:
    # GatherBlockQuantized returns zeros for an id out of range: nothing after this would notice.
    if ids.min() < 0 or ids.max() >= vocab_size:
        wrong = int(ids[(ids < 0) | (ids >= vocab_size)][0])
        raise InputError(
            f"token id {wrong} of {name} is out of range; 0 to {vocab_size - 1} is allowed"
        )
