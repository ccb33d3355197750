"""Checks of what a caller passes: ids, masks and positions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Mask


@dataclass(frozen=True)
class PaddedInputs:
    """A checked batch.

    Attributes:
        input_ids: int64 [batch, sequence].
        columns: for each row, its columns from the first token to the last.
        holes: for each row, bool [columns]: which of these hold no token; None where all do.
    """

    input_ids: Ids
    columns: tuple[slice, ...]
    holes: tuple[Mask | None, ...]

    @classmethod
    def check(
        cls,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None,
        config: GPTNeoConfig,
        padding: Literal["left", "any"] = "any",
        names: tuple[str, str] = ("input_ids", "attention_mask"),
    ) -> "PaddedInputs":
        """Check a batch.

        Args:
            input_ids, attention_mask: int [batch, sequence].
            config: the model's dimensions.
            padding: where it may stand; holes, between tokens, may be anywhere.
            names: names of the two arguments, for messages.

        Raises:
            InputError: the arrays are not [batch, sequence] or are empty, ids are out of range,
                padding stands where it may not, or a sequence is longer than the context.
        """
        ids = _integers(names[0], input_ids)
        mask = np.ones_like(ids) if attention_mask is None else _mask(attention_mask, ids, names)
        columns = tuple(_columns(row, mask[row], padding, names) for row in range(len(ids)))
        holes = tuple(_holes(mask[row, part]) for row, part in enumerate(columns))
        for row, part in enumerate(columns):
            tokens = ids[row][mask[row] == 1]
            _check_ids(tokens, config.vocab_size, names[0])
            # To generate, holes are taken out; a call of the model keeps their columns.
            length = len(tokens) if padding == "left" else part.stop - part.start
            if length > config.max_position_embeddings:
                raise InputError(
                    f"sequence {row} of {names[0]} has {length} tokens, the model's context "
                    f"{config.max_position_embeddings}; shorten it"
                )
        return cls(ids, columns, holes)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, padding and holes not counted."""
        return max(len(self.tokens(row)) for row in range(len(self.columns)))

    def tokens(self, row: int) -> Ids:
        """Return a sequence [length] without its padding and holes."""
        ids, holes = self.input_ids[row, self.columns[row]], self.holes[row]
        return ids if holes is None else ids[~holes]

    def steps_without_holes(self, row: int, window: int, new_tokens: int = 0) -> int:
        """Return how many steps give the same results if a sequence's holes are taken out.

        Windows of local layers count columns, masked ones too. Without those a token sees as many
        tokens as it should only if all before it are within its window, or no hole is.

        Args:
            row: the sequence's number; it has holes.
            window: columns that a token sees, itself included.
            new_tokens: tokens that are to follow.

        Returns:
            -1 if the sequence itself changes; otherwise how many of the new tokens can be read.
        """
        holes = self.holes[row]
        assert holes is not None
        seen = np.concatenate([~holes, np.ones(new_tokens, np.bool_)])
        counts = np.cumsum(seen)
        before = np.concatenate([np.zeros(window, np.int64), counts])[: len(counts)]
        is_changed = seen & (counts - before != np.minimum(counts, window))
        if not is_changed.any():
            return new_tokens
        return max(-1, int(is_changed.argmax()) - len(holes))

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

    def labels(self, labels: ArrayLike, config: GPTNeoConfig) -> Ids:
        """Return labels int64 [batch, sequence]; -100 is the one that does not count.

        Raises:
            InputError: they are not of the ids' shape, or are out of range.
        """
        checked = _integers("labels", labels)
        if checked.shape != self.input_ids.shape:
            raise InputError(
                f"labels has shape {list(checked.shape)}, input_ids "
                f"{list(self.input_ids.shape)}; they must be alike"
            )
        counted = checked[checked != -100]
        if counted.size:
            _check_ids(counted, config.vocab_size, "labels")
        return checked


def _integers(name: str, values: ArrayLike) -> Ids:
    if isinstance(values, Mapping):
        raise InputError(
            f"{name} is of type {type(values).__name__}; pass its entries, as **inputs"
        )
    array = _array(name, values)
    if array.dtype.kind in "US":
        raise InputError(
            f"{name} holds text; pass what tokenizer(text, return_tensors='np') returns, as "
            "**inputs"
        )
    if array.ndim == 1 and len(array):
        raise InputError(
            f"{name} has shape {list(array.shape)}; [batch, sequence] is expected: pass "
            f"[{name}], or what tokenizer(text, return_tensors='np') returns"
        )
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
    except Exception as error:  # __array__ of torch and jax raises what it likes
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{name} is of type {type(values).__name__}, of which numpy makes no array: {reason}"
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


def _columns(row: int, mask: Ids, padding: str, names: tuple[str, str]) -> slice:
    tokens = np.flatnonzero(mask)
    if len(tokens) == 0:
        if padding == "any":
            return slice(0, 0)
        raise InputError(f"{names[1]} leaves no token of sequence {row}; at least one is needed")
    start, stop = int(tokens[0]), int(tokens[-1]) + 1
    if padding == "left" and stop != len(mask):
        raise InputError(
            f"sequence {row} of {names[0]} is padded on the right; to generate, pad on the left"
        )
    return slice(start, stop)


def _holes(mask: Ids) -> Mask | None:
    return None if mask.all() else mask == 0


def _check_ids(ids: Ids, vocab_size: int, name: str) -> None:
    # GatherBlockQuantized returns zeros for an id out of range: nothing after this would notice.
    if ids.size and (ids.min() < 0 or ids.max() >= vocab_size):
        wrong = int(ids[(ids < 0) | (ids >= vocab_size)][0])
        raise InputError(
            f"token id {wrong} of {name} is out of range; 0 to {vocab_size - 1} is allowed"
        )
