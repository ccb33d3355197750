"""Steps through the graph: prefill a slot in chunks, decode one token of every slot.

Each verb leaves the slots' caches one step further. More than one new token over an existing past
works for one sequence at a time only (GroupQueryAttention), hence prefill slot by slot; one new
token works for all slots together, each at its own length.
"""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models import graph as names
from gptneo_onnx.models.errors import DeviceError
from gptneo_onnx.models.graph import GraphContract
from gptneo_onnx.runtime.buffers import StepInput
from gptneo_onnx.runtime.cache import SlotCache
from gptneo_onnx.runtime.device import CPU
from gptneo_onnx.runtime.session import Session

Logits = NDArray[np.float32]
Ids = NDArray[np.int64]

# On a CPU attention computes the masked half of a chunk too: 128 to 256 tokens were the fastest.
PREFILL_CHUNK = 256


class Decoder:
    """A session with the slot cache it steps."""

    def __init__(
        self,
        session: Session,
        contract: GraphContract,
        cache: SlotCache,
        prefill_chunk: int = PREFILL_CHUNK,
    ) -> None:
        self.session = session
        self.contract = contract
        self.cache = cache
        self.prefill_chunk = prefill_chunk
        self._decode_step: _BoundStep | None = None

    def prefill(self, slot: int, ids: Ids, positions: Ids | None = None) -> Logits:
        """Append ids [length] to a slot; logits [vocab] behind the last of them.

        `positions` [length] are the embeddings' positions; by default they count on from the slot's
        length.
        """
        *head, tail = self._chunks(slot, ids, positions)
        for chunk_ids, chunk_positions in head:
            self._append(slot, chunk_ids, chunk_positions, logits_from=len(chunk_ids))
        ids, positions = tail
        logits: Logits = self._append(slot, ids, positions, logits_from=len(ids) - 1)[0]
        return logits

    def prefill_all_logits(self, slot: int, ids: Ids, positions: Ids | None, out: Logits) -> None:
        """Append ids [length] to a slot; logits behind each of them into out [length, vocab]."""
        done = 0
        for chunk_ids, chunk_positions in self._chunks(slot, ids, positions):
            out[done : done + len(chunk_ids)] = self._append(
                slot, chunk_ids, chunk_positions, logits_from=0
            )
            done += len(chunk_ids)

    def verify(self, slot: int, ids: Ids) -> Logits:
        """Append a few tokens to a slot in one step; logits [length, vocab] behind each of them."""
        self.cache.check_room(slot, len(ids))
        start = int(self.cache.lengths[slot])
        return self._append(slot, ids, np.arange(start, start + len(ids)), logits_from=0)

    def decode(self, tokens: Ids, active: NDArray[np.bool_]) -> Logits:
        """Append one token to each of the first len(tokens) slots; logits [slots, vocab].

        Inactive slots are spoiled: the step overwrites their first row; `clear` them before their
        next use. The result is valid until the next step.
        """
        step = self._bound_decode_step(len(tokens))
        lengths = self.cache.lengths[: len(tokens)]
        positions = np.where(active, lengths, 0)
        if active.any():
            self.cache.check_room(int(positions.argmax()), 1)
        logits = step.run(tokens[:, None], positions[:, None], positions + 1)
        lengths += active
        return logits

    def _bound_decode_step(self, count: int) -> "_BoundStep":
        """Kept from step to step: the number of slots falls now and then, mostly it is the same."""
        if self._decode_step is None or self._decode_step.batch != count:
            rows = np.stack([np.arange(count), np.zeros(count, np.int64)], axis=1)  # [slots, 2]
            self._decode_step = _BoundStep(self, first=0, batch=count, length=1, logits_rows=rows)
        return self._decode_step

    def _chunks(self, slot: int, ids: Ids, positions: Ids | None) -> list[tuple[Ids, Ids]]:
        self.cache.check_room(slot, len(ids))
        if positions is None:
            start = int(self.cache.lengths[slot])
            positions = np.arange(start, start + len(ids))
        return [
            (ids[i : i + self.prefill_chunk], positions[i : i + self.prefill_chunk])
            for i in range(0, len(ids), self.prefill_chunk)
        ]

    def _append(self, slot: int, ids: Ids, positions: Ids, logits_from: int) -> Logits:
        """One chunk; logits [rows, vocab] from that index of the chunk to its end."""
        wanted = np.arange(logits_from, len(ids))
        rows = np.stack([np.zeros_like(wanted), wanted], axis=1)  # [rows, 2]
        step = _BoundStep(self, first=slot, batch=1, length=len(ids), logits_rows=rows)
        logits = step.run(ids[None], positions[None], self.cache.lengths[[slot]] + len(ids))
        self.cache.lengths[slot] += len(ids)
        return logits


class _BoundStep:
    """Everything bound that a step of one shape reads and writes; made once, run many times."""

    def __init__(
        self, decoder: Decoder, first: int, batch: int, length: int, logits_rows: Ids
    ) -> None:
        session = decoder.session
        self.batch = batch
        self.inference = session.inference
        self.device = session.device
        self.binding = binding = session.inference.io_binding()
        specs = {spec.name: spec for spec in decoder.contract.step_inputs}
        sizes = {names.BATCH: batch, names.SEQUENCE: length, names.ROWS: len(logits_rows)}

        def step_input(name: str) -> StepInput:
            # GroupQueryAttention reads the total length on the host, whatever the device.
            device = CPU if name == names.TOTAL_SEQUENCE_LENGTH else session.device
            return StepInput(binding, specs[name], specs[name].shape(sizes), device)

        self.input_ids = step_input(names.INPUT_IDS)
        self.position_ids = step_input(names.POSITION_IDS)
        self.seqlens_k = step_input(names.SEQLENS_K)
        self.total_sequence_length = step_input(names.TOTAL_SEQUENCE_LENGTH)
        self.logits_rows = step_input(names.LOGITS_ROWS)
        self.logits_rows.write(logits_rows)
        decoder.cache.bind(binding, first, batch)
        outputs = {spec.name: spec for spec in decoder.contract.step_outputs}
        # Bound on the host: of all that a step computes, only these rows leave the device.
        self.logits = np.empty(outputs[names.LOGITS].shape(sizes), np.float32)
        binding.bind_ortvalue_output(
            names.LOGITS, onnxruntime.OrtValue.ortvalue_from_numpy(self.logits)
        )

    def run(self, ids: Ids, positions: Ids, lengths: Ids) -> Logits:
        """One step; `lengths` [batch] are the sequences' lengths behind it."""
        self.input_ids.write(ids)
        self.position_ids.write(positions)
        self.seqlens_k.write(lengths - 1)
        self.total_sequence_length.write(lengths.max())
        try:
            self.inference.run_with_iobinding(self.binding)
            if self.device != CPU:
                self.binding.synchronize_outputs()
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            reason = str(error).strip().partition("\n")[0]
            raise DeviceError(
                f"a step of {ids.shape[0]} sequences failed on {self.device}: {reason}; "
                "try fewer at once, or another device"
            ) from error
        return self.logits
