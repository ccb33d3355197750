"""Saved prompts: the keys and values of texts that later calls begin with.

    cache = model.prefill(ids)                                  # once
    model.generate(longer_ids, past_key_values=cache)           # only what is new is prefilled

The result is exact: what is restored is what the steps left. A saved sequence serves every prompt
that begins with it. If it continues differently than the prompt, it serves as far as the two agree,
unless a local layer has dropped rows since: then the whole prompt is computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.engine.cache import Cache
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.prompt_cache_file import read_arrays, write_arrays

_FORMAT = "gptneo-onnx prompt cache 1"


@dataclass(frozen=True)
class SavedSequence:
    """One sequence of a PromptCache.

    Attributes:
        ids: int64 [length].
        layers: keys and values of each layer, [heads, rows, head_dim].
        logits: float32 [vocab], after its last token.
    """

    ids: Ids
    layers: Sequence[NDArray[Any]]
    logits: NDArray[np.float32]

    @classmethod
    def of_slot(
        cls, cache: Cache, slot: int, ids: Ids, logits: NDArray[np.float32]
    ) -> "SavedSequence":
        """Save what a slot holds; `ids` may continue after that."""
        ids = ids[: int(cache.lengths[slot])]
        return cls(ids.copy(), cache.read(slot), logits.copy())

    def usable(self, ids: Ids, window: int | None) -> int:
        """Return how many tokens of a prompt need no prefill."""
        length = min(len(self.ids), len(ids))
        differing = np.flatnonzero(self.ids[:length] != ids[:length])
        common = int(differing[0]) if len(differing) else length
        if common == len(self.ids):
            return common
        if window is not None and len(self.ids) > window:
            return 0
        return min(common, len(ids) - 1)  # the last token must be stepped, for its logits


@dataclass(frozen=True)
class PromptCache:
    """Saved sequences of one model, for past_key_values; immutable.

    Attributes:
        sequences: the saved sequences; a prompt uses the one that agrees longest with it.
        model: fingerprint of the export that they belong to.
    """

    sequences: tuple[SavedSequence, ...] = ()
    model: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of host memory."""
        return sum(layer.nbytes for sequence in self.sequences for layer in sequence.layers)

    def get_seq_length(self) -> int:
        """Tokens of the longest saved sequence (transformers.Cache.get_seq_length)."""
        return max((len(sequence.ids) for sequence in self.sequences), default=0)

    @classmethod
    def coerce(cls, past_key_values: Any) -> "PromptCache":
        """Return what a call was given; None becomes an empty cache.

        Raises:
            InputError: it is no PromptCache.
        """
        if past_key_values is None:
            return cls()
        if not isinstance(past_key_values, cls):
            raise InputError(
                f"past_key_values is of type {type(past_key_values).__name__}; "
                "a PromptCache is expected, as prefill() makes it"
            )
        return past_key_values

    def prefill(self, decoder: Decoder, slot: int, ids: Ids) -> NDArray[np.float32]:
        """Put a prompt [length] into a slot, stepping only what is not saved; logits [vocab]."""
        logits = self._restore(decoder, slot, ids)
        if logits is not None:
            return logits
        return decoder.prefill(slot, ids[int(decoder.cache.lengths[slot]) :])

    def _restore(self, decoder: Decoder, slot: int, ids: Ids) -> NDArray[np.float32] | None:
        """Put the saved part of a prompt into a slot; return logits [vocab] if that is all of it.

        The cache's lengths say how much of the prompt the slot then holds.
        """
        cache = decoder.cache
        cache.clear(slot)
        lengths = [sequence.usable(ids, cache.window) for sequence in self.sequences]
        length = max(lengths, default=0)
        if length == 0:
            return None
        best = self.sequences[lengths.index(length)]
        rows = [shape[1] for shape in cache.row_shapes(length)]
        layers = [layer[:, :count] for layer, count in zip(best.layers, rows, strict=True)]
        cache.write(slot, layers, length)
        return best.logits if length == len(best.ids) == len(ids) else None

    def check(self, model: str, cache: Cache, vocab_size: int) -> None:
        """Raise InputError unless the sequences fit the cache of the model, by its fingerprint."""
        if self.sequences and self.model != model:
            raise InputError(
                "the prompt cache was made by another model; make one with this model's prefill()"
            )
        for sequence in self.sequences:
            length = len(sequence.ids)
            shapes = [layer.shape for layer in sequence.layers]
            types = {layer.dtype for layer in sequence.layers}
            if (
                not 1 <= length <= cache.capacity
                or shapes != cache.row_shapes(length)
                or types != {cache.host_type}
                or sequence.logits.shape != (vocab_size,)
            ):
                raise InputError(
                    "the prompt cache is damaged: its arrays are not of this model's shapes; "
                    "make it again with prefill()"
                )

    def save(self, path: str | Path) -> None:
        """Write a file that load() reads, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "format": np.frombuffer(_FORMAT.encode(), np.uint8),
            "model": np.frombuffer(self.model.encode(), np.uint8),
        }
        arrays["sizes"] = np.array([len(each.layers) for each in self.sequences], np.int64)
        for index, sequence in enumerate(self.sequences):
            arrays[f"{index}.ids"] = sequence.ids
            arrays[f"{index}.logits"] = sequence.logits
            for layer, rows in enumerate(sequence.layers):
                arrays[f"{index}.{layer}"] = rows
        write_arrays(Path(path), arrays)

    @classmethod
    def load(cls, path: str | Path) -> "PromptCache":
        """Read a file that save() wrote; whether it fits a model is checked when it is used.

        Raises:
            InputError: the file is missing, or save() did not write it.
        """
        arrays = read_arrays(Path(path))
        if arrays.pop("format", np.empty(0, np.uint8)).tobytes() != _FORMAT.encode():
            raise InputError(f"{path} is not a prompt cache; make one with PromptCache.save()")
        try:
            model = arrays.pop("model").tobytes().decode("ascii")
            sequences: list[SavedSequence] = []
            for index, size in enumerate(arrays.pop("sizes").tolist()):
                ids, logits = arrays.pop(f"{index}.ids"), arrays.pop(f"{index}.logits")
                layers = [arrays.pop(f"{index}.{layer}") for layer in range(size)]
                if ids.ndim != 1 or ids.dtype != np.int64 or logits.dtype != np.float32:
                    raise ValueError("ids and logits are of other types")
                sequences.append(SavedSequence(ids, layers, logits))
            if arrays:
                raise ValueError(f"there are more arrays: {[*arrays]}")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged prompt cache; make it again") from error
        return cls(tuple(sequences), model)
