"""Decoder: the steps of a graph. Prefill a slot in chunks, decode one token of every slot.

Every method that steps the model also advances the caches of its slots.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import DeviceError, ModelFileError
from gptneo_onnx.runtime.arrays import Ids, Logits, Mask
from gptneo_onnx.runtime.engine.cache import Cache
from gptneo_onnx.runtime.engine.device import Device

# On a CPU attention computes the masked half of a chunk too: 128 to 256 tokens were the fastest.
PREFILL_CHUNK = 256


@dataclass(frozen=True)
class StepOutputs:
    """The results of one step, in arrays that later steps leave alone.

    Attributes:
        logits: float32 [rows, columns], for the tokens whose logits were asked for; columns are
            the vocabulary, the labels, or what else the graph's head gives.
        hidden_states: for each layer that was asked for, float32 [batch, sequence, hidden].
    """

    logits: Logits
    hidden_states: tuple[NDArray[np.float32], ...] = ()


class Decoder(ABC):
    """The steps of one graph, with the cache of the sequences that it steps.

    Attributes:
        cache: the sequences, each in a slot.
        device: where the steps run.
        hidden_layers: the layers whose hidden states the graph gives; see GraphContract.
        pools_by_padding: whether the graph gives logits of each text's last token alone, which it
            finds by pad_token_id: portable graphs for text classification.
        reads_whole_prompts: whether an empty slot's prompt is read in one step however long it is.
        takes_masks: whether a step can hide columns between tokens; see prefill_chunks().
        prefill_chunk: tokens of a prompt that one step reads at most; Engine.decoder() sets it.
        prefill_seconds: how long the prompts of generate() took so far; whoever measures sets it
            to 0 before.
    """

    cache: Cache
    device: Device
    hidden_layers: tuple[int, ...]
    pools_by_padding: bool = False
    reads_whole_prompts: bool = False
    prefill_chunk: int = PREFILL_CHUNK
    prefill_seconds: float = 0.0
    takes_masks: bool = False
    _seen: Mask | None = None

    def prefill(self, slot: int, ids: Ids, positions: Ids | None = None) -> Logits:
        """Append ids [length] to a slot; return the logits [vocab] after the last of them.

        `positions` [length] are the tokens' positions in the text; by default they count on from
        the slot's length.
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
        seen: Mask | None = None,
    ) -> Iterator[StepOutputs]:
        """Append ids [length] to a slot; yield the outputs of one chunk at a time.

        Args:
            slot, ids, positions: as in prefill().
            first: index of the first token whose logits are asked for; all later ones follow.
            layers: the layers whose hidden states are asked for, out of hidden_layers.
            seen: bool [length], false for columns that no token attends to; only where the graph
                takes_masks, in an empty slot that is cleared after this.
        """
        self._seen = seen
        try:
            done = 0
            for chunk_ids, chunk_positions in self._chunks(slot, ids, positions):
                logits_from = min(max(first - done, 0), len(chunk_ids))
                done += len(chunk_ids)
                yield self._append(slot, chunk_ids, chunk_positions, logits_from, layers)
        finally:
            self._seen = None

    @abstractmethod
    def prefill_together(self, ids: Ids, rows: Ids, layers: Sequence[int] = ()) -> StepOutputs:
        """Read ids [batch, length] into the first slots in one step; return logits of some rows.

        Shorter sequences are padded on the right, where causal attention hides the padding. The
        slots then hold garbage: `clear` them before their next use.

        Args:
            ids: at most prefill_chunk tokens each.
            rows: [rows, 2], (index into batch, index into length) whose logits are asked for.
            layers: the layers whose hidden states are asked for, out of hidden_layers.
        """

    @abstractmethod
    def verify(self, slot: int, ids: Ids) -> Logits:
        """Append a few tokens to a slot; return the logits [length, vocab] after each of them."""

    @abstractmethod
    def decode(self, tokens: Ids, active: Mask) -> Logits:
        """Append one token to each of the first len(tokens) slots; return logits [slots, vocab].

        Inactive slots then hold garbage: `clear` them before their next use. The result is valid
        until the next step.
        """

    @abstractmethod
    def _append(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int] = ()
    ) -> StepOutputs:
        """Run one chunk; its logits are those from that index of the chunk on."""

    def _chunks(self, slot: int, ids: Ids, positions: Ids | None) -> list[tuple[Ids, Ids]]:
        self.cache.check_room(slot, len(ids))
        length = int(self.cache.lengths[slot])
        if positions is None:
            positions = np.arange(length, length + len(ids))
        return [(ids[part], positions[part]) for part in self._cuts(length, len(ids))]

    def _cuts(self, length: int, count: int) -> Iterator[slice]:
        """Yield the chunks that `count` tokens are cut into, after `length` others."""
        for start in range(0, count, self.prefill_chunk):
            yield slice(start, start + self.prefill_chunk)


def check_finite(logits: NDArray[np.floating], rows: Mask | None = None) -> None:
    """Raise ModelFileError unless logits [rows, vocab], or what follows from them, are finite.

    Activations that overflow, as float16's do beyond 65504, leave NaN in every logit.

    Args:
        logits: those of a step.
        rows: bool [rows], the rows that count; None for all of them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(logits.sum()):  # one pass without a copy: enough for all but odd models
            return
    if not np.isfinite(logits if rows is None else logits[rows]).all():
        raise ModelFileError(
            "the model's logits are not finite numbers; export it in another precision, such as "
            "fp32"
        )


def failed_step(error: Exception, sequences: int, device: Device) -> DeviceError:
    """Return an error that says in one line why ONNX Runtime failed at a step."""
    reason = str(error).strip().partition("\n")[0]
    return DeviceError(
        f"a step of {sequences} sequences failed on {device}: {reason}; "
        "try fewer at once, or another device"
    )
