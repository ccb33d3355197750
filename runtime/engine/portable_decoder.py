"""Steps of a portable graph: Optimum's inputs, and caches that every step returns whole."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import INPUT_IDS, POSITION_IDS
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, USE_CACHE_BRANCH
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.runtime.arrays import Ids, Logits, Mask
from gptneo_onnx.runtime.engine.concatenated_cache import ConcatenatedCache, Rows
from gptneo_onnx.runtime.engine.decoder import Decoder, StepOutputs, failed_step
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.session import Session
from gptneo_onnx.runtime.model_files.portable_interface import (
    PortableInterface,
    hidden_state_layers,
)

Floats = NDArray[np.floating]
# Logits [batch, sequence, columns], and hidden states [batch, sequence, hidden] of some layers.
Outputs = tuple[Floats, list[Floats]]


class PortableSessions:
    """The session of a portable graph, or two: one begins sequences, the other continues them."""

    def __init__(
        self, sessions: Sequence[Session], interfaces: Sequence[PortableInterface]
    ) -> None:
        self.device: Device = sessions[0].device
        self._sessions = sessions
        self._interfaces = interfaces

    @property
    def takes_past(self) -> bool:
        """Whether a step takes the caches of the steps before; otherwise it recomputes them."""
        return bool(self._interfaces[-1].past)

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states every session gives."""
        return hidden_state_layers(self._interfaces)

    @property
    def task(self) -> Task:
        """What the graphs are for."""
        return self._interfaces[-1].task

    @property
    def takes_positions(self) -> bool:
        """Whether there are position_ids; otherwise columns count, and ragged batches are wrong."""
        return all(interface.has_positions for interface in self._interfaces)

    @property
    def continues_by_single_tokens(self) -> bool:
        """Whether the graph was traced with one new token over a past, and promises no more."""
        return len(self._sessions) > 1 or self._interfaces[0].has_cache_branch

    def run(
        self,
        ids: Ids,
        positions: Ids,
        mask: Mask,
        past: Rows,
        layers: Sequence[int] = (),
    ) -> tuple[Outputs, Rows]:
        """Run one step.

        Args:
            ids, positions: [batch, sequence].
            mask: bool [batch, past + sequence], false for padding.
            past: keys and values of each layer, [batch, heads, past, head_dim]; empty for graphs
                without past.
            layers: the layers whose hidden states are asked for.

        Returns:
            The outputs, and the caches to pass on as the next step's past.
        """
        has_past = bool(past) and past[0].shape()[2] > 0
        index = len(self._sessions) - 1 if has_past else 0
        session, interface = self._sessions[index], self._interfaces[index]
        binding = session.inference.io_binding()
        feeds = {INPUT_IDS: ids, ATTENTION_MASK: mask.astype(np.int64)}
        if interface.has_positions:
            feeds[POSITION_IDS] = positions
        if interface.has_cache_branch:
            feeds[USE_CACHE_BRANCH] = np.array([has_past])
        for name, array in feeds.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(array), self.device.type, self.device.index
            )
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(interface.past, past if interface.past else (), strict=True):
            binding.bind_ortvalue_input(name, value)
        states = [interface.hidden_states[layer] for layer in layers]
        for name in (*interface.results, *states):
            binding.bind_output(name)  # on the host
        for name in interface.present if self.takes_past else ():
            binding.bind_output(name, self.device.type, self.device.index)
        try:
            session.run(binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise failed_step(error, len(ids), self.device) from error
        outputs = binding.get_outputs()
        on_host = len(interface.results) + len(layers)
        arrays = [value.numpy() for value in outputs[:on_host]]
        logits = _logits(arrays[: len(interface.results)], ids.shape)
        return (logits, arrays[len(interface.results) :]), outputs[on_host:]


class PortableDecoder(Decoder):
    """The steps of a portable graph, whether it takes a past or not."""

    takes_masks = True

    def __init__(self, sessions: PortableSessions) -> None:
        self.sessions = sessions
        self.device = sessions.device
        self.hidden_layers = sessions.hidden_layers
        self.pools_by_padding = sessions.task is Task.TEXT_CLASSIFICATION

    def _slot_mask(self, end: int) -> Mask:
        """Return bool [1, end]: which of a slot's columns are attended to."""
        return np.ones((1, end), np.bool_) if self._seen is None else self._seen[None, :end]

    @abstractmethod
    def _run_slot(self, slot: int, ids: Ids, positions: Ids, layers: Sequence[int]) -> Outputs:
        """Append ids [length] to a slot; return the outputs of these tokens, [1, length, ...]."""

    @abstractmethod
    def _run_batch(
        self, ids: Ids, positions: Ids, lengths: Ids, layers: Sequence[int] = ()
    ) -> Outputs:
        """Append ids [batch, length] to the first slots, which hold `lengths` [batch] tokens.

        A slot whose length is passed as 0 begins a new sequence. The cache's lengths stay as they
        are.
        """

    def verify(self, slot: int, ids: Ids) -> Logits:
        return np.concatenate([chunk.logits for chunk in self.prefill_chunks(slot, ids)])

    def decode(self, tokens: Ids, active: Mask) -> Logits:
        """Step all slots at once if the graph allows for their lengths, else each by itself."""
        lengths = self.cache.lengths[: len(tokens)]
        active_lengths = np.where(active, lengths, 0)
        if active.any():
            self.cache.check_room(int(active_lengths.argmax()), 1)
        is_ragged = len(set(active_lengths[active].tolist())) > 1
        if len(tokens) == 1 or (is_ragged and not self.sessions.takes_positions):
            return self._decode_separately(tokens, active_lengths, active)
        logits, _ = self._run_batch(tokens[:, None], active_lengths[:, None], active_lengths)
        lengths += active
        return _float32(logits[:, 0])

    def prefill_together(self, ids: Ids, rows: Ids, layers: Sequence[int] = ()) -> StepOutputs:
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        logits, states = self._run_batch(ids, positions, np.zeros(len(ids), np.int64), layers)
        return _step_outputs(logits[rows[:, 0], rows[:, 1]], states)

    def _check_positions(self, slot: int, positions: Ids) -> None:
        """Raise InputError unless a graph that counts columns gives tokens these positions."""
        length = int(self.cache.lengths[slot])
        check_consecutive(positions, np.arange(length, length + len(positions)))

    def _decode_separately(self, tokens: Ids, lengths: Ids, active: Mask) -> Logits:
        rows: dict[int, Logits] = {}
        for slot in np.flatnonzero(active).tolist():
            outputs = self._append(slot, tokens[[slot]], lengths[[slot]], logits_from=0)
            rows[slot] = outputs.logits[0]
        vocab_size = len(next(iter(rows.values())))
        logits = np.zeros((len(tokens), vocab_size), np.float32)
        for slot, row in rows.items():
            logits[slot] = row
        return logits

    def _append(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int] = ()
    ) -> StepOutputs:
        if not self.sessions.takes_positions:
            self._check_positions(slot, positions)
        logits, states = self._run_slot(slot, ids, positions, layers)
        self.cache.lengths[slot] += len(ids)
        return _step_outputs(logits[0, logits_from:], states)


class PastDecoder(PortableDecoder):
    """The steps of a portable graph that takes keys and values, and returns them extended."""

    cache: ConcatenatedCache

    def __init__(self, sessions: PortableSessions, cache: ConcatenatedCache) -> None:
        super().__init__(sessions)
        self.cache = cache
        self.reads_whole_prompts = sessions.continues_by_single_tokens

    def _run_slot(self, slot: int, ids: Ids, positions: Ids, layers: Sequence[int]) -> Outputs:
        mask = self._slot_mask(int(self.cache.lengths[slot]) + len(ids))
        outputs, present = self.sessions.run(
            ids[None], positions[None], mask, self.cache.rows(slot), layers
        )
        self.cache.put(slot, present)
        return outputs

    def _run_batch(
        self, ids: Ids, positions: Ids, lengths: Ids, layers: Sequence[int] = ()
    ) -> Outputs:
        past = self.cache.batch(lengths)
        longest = int(lengths.max())
        columns = np.arange(longest + ids.shape[1])
        mask = columns >= longest - lengths[:, None]  # [batch, columns], padded on the left
        outputs, present = self.sessions.run(ids, positions, mask, past, layers)
        self.cache.put_batch(present, len(ids))
        return outputs

    def _cuts(self, length: int, count: int) -> Iterator[slice]:
        """Yield chunks; where the graph promises no more, a whole prompt, then single tokens."""
        if not self.sessions.continues_by_single_tokens:
            yield from super()._cuts(length, count)
        elif length == 0:
            yield slice(0, count)
        else:
            for index in range(count):
                yield slice(index, index + 1)


def _logits(results: Sequence[Floats], shape: tuple[int, ...]) -> Floats:
    """Return the results of a graph's head as logits [batch, sequence, columns].

    Args:
        results: logits [batch, sequence, columns]; or [batch, columns] of the text's last token,
            which are repeated at every token; or start and end logits [batch, sequence]; or
            nothing.
        shape: batch and sequence.
    """
    if not results:
        return np.zeros((*shape, 0), np.float32)
    if len(results) > 1:
        return np.stack(results, axis=-1)
    [logits] = results
    if logits.ndim == 2:
        return np.broadcast_to(logits[:, None], (*shape, logits.shape[-1]))
    return logits


def check_consecutive(positions: Ids, columns: Ids) -> None:
    """Raise InputError unless positions [length] are the columns [length] of their tokens."""
    differing = np.flatnonzero(positions != columns)
    if len(differing):
        first = differing[0]
        raise InputError(
            f"position_ids has {positions[first]} in column {columns[first]}, and this graph "
            "counts columns: pad on the right, or export the model again (Optimum 2, gptneo-onnx)"
        )


def _step_outputs(logits: Floats, states: Sequence[Floats]) -> StepOutputs:
    return StepOutputs(_float32(logits), tuple(map(_float32, states)))


def _float32(values: Floats) -> NDArray[np.float32]:
    return values.astype(np.float32, copy=False)
