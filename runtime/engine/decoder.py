"""Steps through a model: prefill a slot in chunks, decode one token of every slot.

Each verb leaves the slots' caches one step further.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import DeviceError
from gptneo_onnx.runtime.engine.cache import Cache
from gptneo_onnx.runtime.engine.device import Device

Logits = NDArray[np.float32]
Ids = NDArray[np.int64]

# On a CPU attention computes the masked half of a chunk too: 128 to 256 tokens were the fastest.
PREFILL_CHUNK = 256


@dataclass(frozen=True)
class StepOutputs:
    """What a step gave, in arrays of its own.

    Attributes:
        logits: float32 [rows, vocab], where they were wanted.
        hidden_states: of each layer that was asked for, float32 [batch, sequence, hidden].
    """

    logits: Logits
    hidden_states: tuple[NDArray[np.float32], ...] = ()


class Decoder(ABC):
    """The steps of one graph, with the cache of the sequences that it steps.

    Attributes:
        cache: of the sequences, each in a slot.
        device: where the steps run.
        hidden_layers: the layers whose hidden states the graph gives; see GraphContract.
        prefill_chunk: tokens of a prompt that one step takes at the most.
    """

    cache: Cache
    device: Device
    hidden_layers: tuple[int, ...]
    prefill_chunk: int = PREFILL_CHUNK

    def prefill(self, slot: int, ids: Ids, positions: Ids | None = None) -> Logits:
        """Append ids [length] to a slot; logits [vocab] behind the last of them.

        `positions` [length] are the embeddings' positions; by default they count on from the slot's
        length.
        """
        *_, last = self.prefill_chunks(slot, ids, positions, first=len(ids) - 1)
        logits: Logits = last.logits[0]
        return logits

    def prefill_chunks(
        self,
        slot: int,
        ids: Ids,
        positions: Ids | None = None,
        first: int = 0,
        layers: Sequence[int] = (),
    ) -> Iterator[StepOutputs]:
        """Append ids [length] to a slot; all that comes of it, a chunk at a time.

        Args:
            slot, ids, positions: as prefill() takes them.
            first: logits are wanted behind the token of that index, and all later ones.
            layers: whose hidden states are wanted, of hidden_layers.
        """
        done = 0
        for chunk_ids, chunk_positions in self._chunks(slot, ids, positions):
            logits_from = min(max(first - done, 0), len(chunk_ids))
            done += len(chunk_ids)
            yield self._append(slot, chunk_ids, chunk_positions, logits_from, layers)

    @abstractmethod
    def prefill_together(self, ids: Ids, rows: Ids, layers: Sequence[int] = ()) -> StepOutputs:
        """Read ids [batch, length] into the first slots, in one step; logits of some rows.

        Shorter sequences are padded on the right, where nothing before sees it. The slots are
        spoiled: `clear` them before their next use.

        Args:
            ids: of at most prefill_chunk tokens each.
            rows: [rows, 2], (index into batch, index into length) where logits are wanted.
            layers: whose hidden states are wanted, of hidden_layers.
        """

    @abstractmethod
    def verify(self, slot: int, ids: Ids) -> Logits:
        """Append a few tokens to a slot; logits [length, vocab] behind each of them."""

    @abstractmethod
    def decode(self, tokens: Ids, active: NDArray[np.bool_]) -> Logits:
        """Append one token to each of the first len(tokens) slots; logits [slots, vocab].

        Inactive slots are spoiled: `clear` them before their next use. The result is valid until
        the next step.
        """

    @abstractmethod
    def _append(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int] = ()
    ) -> StepOutputs:
        """One chunk; logits from that index of the chunk to its end."""

    def _chunks(self, slot: int, ids: Ids, positions: Ids | None) -> list[tuple[Ids, Ids]]:
        self.cache.check_room(slot, len(ids))
        if positions is None:
            start = int(self.cache.lengths[slot])
            positions = np.arange(start, start + len(ids))
        cuts = list(self._cuts(int(self.cache.lengths[slot]), len(ids)))
        return [(ids[part], positions[part]) for part in cuts]

    def _cuts(self, held: int, count: int) -> Iterator[slice]:
        """How to cut `count` tokens into steps, behind the `held` of the slot."""
        for start in range(0, count, self.prefill_chunk):
            yield slice(start, start + self.prefill_chunk)


def failed_step(error: Exception, sequences: int, device: Device) -> DeviceError:
    """What ONNX Runtime says of a step, in one line."""
    reason = str(error).strip().partition("\n")[0]
    return DeviceError(
        f"a step of {sequences} sequences failed on {device}: {reason}; "
        "try fewer at once, or another device"
    )
