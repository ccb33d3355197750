"""Steps through a portable graph: Optimum's inputs, and keys and values that are returned anew."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import INPUT_IDS, LOGITS, POSITION_IDS
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, USE_CACHE_BRANCH
from gptneo_onnx.runtime.engine.concatenated_cache import ConcatenatedCache, Rows
from gptneo_onnx.runtime.engine.decoder import Decoder, Ids, Logits, StepOutputs, failed_step
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.session import Session
from gptneo_onnx.runtime.model_files.portable_interface import PortableInterface, given_layers

Floats = NDArray[np.floating]


class PortableSessions:
    """One session, or one that begins sequences and one that goes on, as a single function.

    A graph without past computes everything anew in each step. Its "cache" is then what it needs
    for that: ids and positions, int64 [batch, 1, columns, 1] each.
    """

    def __init__(
        self, sessions: Sequence[Session], interfaces: Sequence[PortableInterface]
    ) -> None:
        self.device: Device = sessions[0].device
        self._sessions = sessions
        self._interfaces = interfaces

    @property
    def takes_past(self) -> bool:
        return bool(self._interfaces[-1].past)

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states every session gives."""
        return given_layers(self._interfaces)

    @property
    def takes_positions(self) -> bool:
        """Without, positions are columns: sequences of different lengths make no batch."""
        return all(interface.has_positions for interface in self._interfaces)

    @property
    def goes_on_by_single_tokens(self) -> bool:
        """Such exports were traced with one new token over a past, and promise no more."""
        return len(self._sessions) > 1 or self._interfaces[0].has_cache_branch

    def step(
        self,
        ids: Ids,
        positions: Ids,
        mask: NDArray[np.bool_],
        past: Rows,
        layers: Sequence[int] = (),
    ) -> tuple[Floats, list[Floats], Rows]:
        """One step.

        Args:
            ids, positions: [batch, sequence].
            mask: bool [batch, past + sequence], false for padding.
            past: of each layer, [batch, heads, past, head_dim].
            layers: whose hidden states are wanted.

        Returns:
            (logits [batch, sequence, vocab], hidden states [batch, sequence, hidden] of each of
            the layers, present as past)
        """
        if self.takes_past:
            return self._run(ids, positions, mask, past, layers)
        new = [ids[:, None, :, None], positions[:, None, :, None]]
        joined = [
            np.concatenate([old.numpy(), own], axis=2) for old, own in zip(past, new, strict=True)
        ]
        whole = joined[0][:, 0, :, 0], joined[1][:, 0, :, 0]
        logits, states, _ = self._run(*whole, mask, (), layers)
        present = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in joined]
        new_columns = slice(-ids.shape[1], None)
        return logits[:, new_columns], [each[:, new_columns] for each in states], present

    def _run(
        self,
        ids: Ids,
        positions: Ids,
        mask: NDArray[np.bool_],
        past: Rows,
        layers: Sequence[int],
    ) -> tuple[Floats, list[Floats], Rows]:
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
        for name in (LOGITS, *(interface.hidden_states[layer] for layer in layers)):
            binding.bind_output(name)  # on the host
        for name in interface.present:
            binding.bind_output(name, self.device.type, self.device.index)
        try:
            session.inference.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise failed_step(error, len(ids), self.device) from error
        outputs = binding.get_outputs()
        logits, *states = (value.numpy() for value in outputs[: 1 + len(layers)])
        return logits, states, outputs[1 + len(layers) :]


class PortableDecoder(Decoder):
    """A portable graph with the cache of its sequences."""

    cache: ConcatenatedCache

    def __init__(self, graph: PortableSessions, cache: ConcatenatedCache) -> None:
        self.graph = graph
        self.device = graph.device
        self.hidden_layers = graph.hidden_layers
        self.cache = cache

    def verify(self, slot: int, ids: Ids) -> Logits:
        return np.concatenate([chunk.logits for chunk in self.prefill_chunks(slot, ids)])

    def decode(self, tokens: Ids, active: NDArray[np.bool_]) -> Logits:
        """All slots in one step where their lengths allow it, else each by itself."""
        lengths = self.cache.lengths[: len(tokens)]
        held = np.where(active, lengths, 0)
        if active.any():
            self.cache.check_room(int(held.argmax()), 1)
        is_ragged = len(set(held[active].tolist())) > 1
        if len(tokens) == 1 or (is_ragged and not self.graph.takes_positions):
            return self._decode_apart(tokens, held, active)
        past = self.cache.batch(held)
        columns = int(held.max())
        mask = np.arange(columns + 1) >= columns - held[:, None]
        logits, _, present = self.graph.step(tokens[:, None], held[:, None], mask, past)
        self.cache.put_batch(present, len(tokens))
        lengths += active
        return _float32(logits[:, 0])

    def prefill_together(self, ids: Ids, rows: Ids, layers: Sequence[int] = ()) -> StepOutputs:
        batch, length = ids.shape
        positions = np.broadcast_to(np.arange(length), ids.shape)
        past = self.cache.batch(np.zeros(batch, np.int64))
        mask = np.ones(ids.shape, np.bool_)
        logits, states, present = self.graph.step(ids, positions, mask, past, layers)
        self.cache.put_batch(present, batch)
        return _outputs(logits[rows[:, 0], rows[:, 1]], states)

    def _decode_apart(self, tokens: Ids, held: Ids, active: NDArray[np.bool_]) -> Logits:
        rows = [
            self._append(slot, tokens[[slot]], held[[slot]], logits_from=0).logits[0]
            if active[slot]
            else None
            for slot in range(len(tokens))
        ]
        vocab = next(row.shape for row in rows if row is not None)
        return np.stack([np.zeros(vocab, np.float32) if row is None else row for row in rows])

    def _append(
        self, slot: int, ids: Ids, positions: Ids, logits_from: int, layers: Sequence[int] = ()
    ) -> StepOutputs:
        held = int(self.cache.lengths[slot])
        if not self.graph.takes_positions:
            _check_columns(positions, held)
        mask = np.ones((1, held + len(ids)), np.bool_)
        past = self.cache.rows(slot)
        logits, states, present = self.graph.step(ids[None], positions[None], mask, past, layers)
        self.cache.put(slot, present, held + len(ids))
        return _outputs(logits[0, logits_from:], states)

    def _cuts(self, held: int, count: int) -> Iterator[slice]:
        if not self.graph.takes_past:
            yield slice(0, count)
            return
        if not self.graph.goes_on_by_single_tokens:
            yield from super()._cuts(held, count)
            return
        start = 0 if held else count
        if start:
            yield slice(0, count)
        for index in range(start, count):
            yield slice(index, index + 1)


def _check_columns(positions: Ids, held: int) -> None:
    columns = np.arange(held, held + len(positions))
    differing = np.flatnonzero(positions != columns)
    if len(differing):
        first = differing[0]
        raise InputError(
            f"position_ids has {positions[first]} in column {columns[first]}, and this graph "
            "counts columns: pad on the right, or export the model again (Optimum 2, gptneo-onnx)"
        )


def _outputs(logits: Floats, states: Sequence[Floats]) -> StepOutputs:
    return StepOutputs(_float32(logits), tuple(map(_float32, states)))


def _float32(values: Floats) -> NDArray[np.float32]:
    return values.astype(np.float32, copy=False)
