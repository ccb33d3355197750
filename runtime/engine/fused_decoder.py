"""Steps through the fused graph, whose caches are bound in place.

More than one new token over an existing past works for one sequence at a time only
(GroupQueryAttention), hence prefill slot by slot; one new token works for all slots together, each
at its own length.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models import graph as names
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import GraphContract, TensorSpec
from gptneo_onnx.runtime.arrays import Ids, Logits, Mask
from gptneo_onnx.runtime.engine.buffers import StepInput
from gptneo_onnx.runtime.engine.decoder import Decoder, StepOutputs, failed_step
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.session import Session
from gptneo_onnx.runtime.engine.slot_cache import SlotCache


class FusedDecoder(Decoder):
    """A session of the fused graph with its slot cache.

    Attributes:
        least_rows: decode() steps a multiple of this many slots. Kernels take rows in pairs, and
            add up a single one, or the last of an odd number, in another order; in whole pairs
            each row has the same results.
    """

    cache: SlotCache

    def __init__(
        self, session: Session, contract: GraphContract, cache: SlotCache, least_rows: int = 1
    ) -> None:
        if cache.slots % least_rows:
            raise InputError(
                f"the cache has {cache.slots} slots; a multiple of {least_rows} is needed"
            )
        self.least_rows = least_rows
        self.session = session
        self.device = session.device
        self.contract = contract
        self.hidden_layers = tuple(contract.hidden_states)
        self.cache = cache
        self._decode_step: _BoundStep | None = None

    def verify(self, slot: int, ids: Ids) -> Logits:
        """Append the tokens in one step."""
        self.cache.check_room(slot, len(ids))
        start = int(self.cache.lengths[slot])
        return self._append(slot, ids, np.arange(start, start + len(ids)), 0).logits

    def decode(self, tokens: Ids, active: Mask) -> Logits:
        """Step all slots at once; the first row of each inactive slot is overwritten."""
        added = -len(tokens) % self.least_rows
        if added:
            return self._decode_beside_others(tokens, active, added)
        step = self._bound_decode_step(len(tokens))
        lengths = self.cache.lengths[: len(tokens)]
        positions = np.where(active, lengths, 0)
        if active.any():
            self.cache.check_room(int(positions.argmax()), 1)
        logits = step.run(tokens[:, None], positions[:, None], positions + 1)
        lengths += active
        return logits

    def _decode_beside_others(self, tokens: Ids, active: Mask, added: int) -> Logits:
        """Step `added` slots more, and leave the sequences that they may hold as they were."""
        count = len(tokens)
        with self._unchanged(range(count, count + added)):
            logits = self.decode(np.pad(tokens, (0, added)), np.pad(active, (0, added)))
        return logits[:count]

    @contextmanager
    def _unchanged(self, slots: Iterable[int]) -> Iterator[None]:
        """Leave the sequences of slots that are stepped without a token as they were."""
        kept = {slot: self.cache.first_rows(slot) for slot in slots if self.cache.lengths[slot]}
        yield
        for slot, rows in kept.items():
            self.cache.put_first_rows(slot, rows)

    def prefill_together(self, ids: Ids, rows: Ids, layers: Sequence[int] = ()) -> StepOutputs:
        batch, length = ids.shape
        step = _BoundStep(self, first=0, batch=batch, length=length, logits_rows=rows)
        states = step.bind_hidden_states(layers)
        positions = np.broadcast_to(np.arange(length), ids.shape)
        return StepOutputs(step.run(ids, positions, np.full(batch, length)), states)

    def _bound_decode_step(self, count: int) -> "_BoundStep":
        """Return the bound step of that many slots, which rarely changes from step to step."""
        if self._decode_step is None or self._decode_step.batch != count:
            rows = np.stack([np.arange(count), np.zeros(count, np.int64)], axis=1)  # [slots, 2]
            self._decode_step = _BoundStep(self, first=0, batch=count, length=1, logits_rows=rows)
        return self._decode_step

    def _append(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int] = ()
    ) -> StepOutputs:
        if len(ids) < self.least_rows:
            return self._append_beside_others(slot, ids, positions, logits_from, layers)
        indices = self._at_least_rows(np.arange(logits_from, len(ids)))
        rows = np.stack([np.zeros_like(indices), indices], axis=1)  # [rows, 2]
        step = _BoundStep(self, first=slot, batch=1, length=len(ids), logits_rows=rows)
        states = step.bind_hidden_states(layers)
        logits = step.run(ids[None], positions[None], self.cache.lengths[[slot]] + len(ids))
        self.cache.lengths[slot] += len(ids)
        return StepOutputs(logits[: len(ids) - logits_from], states)

    def _append_beside_others(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int]
    ) -> StepOutputs:
        """Append a single token in a step that has slots beside it, which stay as they were."""
        batch = self.least_rows
        first = min(slot, self.cache.slots - batch)
        row = slot - first
        indices = self._at_least_rows(np.zeros(1 - logits_from, np.int64))
        rows = np.stack([np.full_like(indices, row), indices], axis=1)  # [rows, 2]
        step = _BoundStep(self, first=first, batch=batch, length=1, logits_rows=rows)
        states = step.bind_hidden_states(layers)
        tokens, columns = np.zeros((2, batch), np.int64)
        tokens[row], columns[row] = ids[0], positions[0]
        lengths = np.ones(batch, np.int64)
        lengths[row] += self.cache.lengths[slot]
        with self._unchanged(other for other in range(first, first + batch) if other != slot):
            logits = step.run(tokens[:, None], columns[:, None], lengths)
        self.cache.lengths[slot] += 1
        return StepOutputs(logits[: 1 - logits_from], tuple(each[[row]] for each in states))

    def _at_least_rows(self, indices: Ids) -> Ids:
        """Repeat the last index until there are whole pairs of rows; of none, none are made."""
        missing = -len(indices) % self.least_rows
        return np.pad(indices, (0, missing), mode="edge") if missing else indices


class _BoundStep:
    """A step of one shape, with every input and output bound: made once, run many times."""

    def __init__(
        self, decoder: FusedDecoder, first: int, batch: int, length: int, logits_rows: Ids
    ) -> None:
        self.session = session = decoder.session
        self.batch = batch
        self.binding = binding = session.inference.io_binding()
        specs = {spec.name: spec for spec in decoder.contract.step_inputs}
        self.contract = decoder.contract
        self.sizes = {names.BATCH: batch, names.SEQUENCE: length, names.ROWS: len(logits_rows)}

        def step_input(name: str) -> StepInput:
            # GroupQueryAttention reads the total length on the host, whatever the device.
            device = CPU if name == names.TOTAL_SEQUENCE_LENGTH else session.device
            return StepInput(binding, specs[name], specs[name].shape(self.sizes), device)

        self.input_ids = step_input(names.INPUT_IDS)
        self.position_ids = step_input(names.POSITION_IDS)
        self.seqlens_k = step_input(names.SEQLENS_K)
        self.total_sequence_length = step_input(names.TOTAL_SEQUENCE_LENGTH)
        decoder.cache.bind(binding, first, batch)
        self.logits: Logits = np.zeros((len(logits_rows), 0), np.float32)
        if decoder.contract.results:  # a graph without a head has no rows to ask for
            self.logits_rows = step_input(names.LOGITS_ROWS)
            self.logits_rows.write(logits_rows)
            self.logits = self._bind_on_host(decoder.contract.logits)

    def bind_hidden_states(self, layers: Sequence[int]) -> tuple[NDArray[np.float32], ...]:
        """Return arrays that a run will fill, [batch, length, hidden] for each of the layers."""
        return tuple(self._bind_on_host(self.contract.hidden_states[layer]) for layer in layers)

    def _bind_on_host(self, spec: TensorSpec) -> NDArray[np.float32]:
        """Bind an output to an array on the host; outputs that are not bound stay on the device."""
        array = np.empty(spec.shape(self.sizes), np.float32)
        self.binding.bind_ortvalue_output(
            spec.name, onnxruntime.OrtValue.ortvalue_from_numpy(array)
        )
        return array

    def run(self, ids: Ids, positions: Ids, lengths: Ids) -> Logits:
        """Run the step; `lengths` [batch] are the sequences' lengths after it."""
        self.input_ids.write(ids)
        self.position_ids.write(positions)
        self.seqlens_k.write(lengths - 1)
        self.total_sequence_length.write(lengths.max())
        try:
            self.session.run(self.binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise failed_step(error, len(ids), self.session.device) from error
        return self.logits
