"""A request that runs: which slots it has, and what a step means for it."""

from collections.abc import Iterable, Iterator

import numpy as np

from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.engine.decoder import check_finite
from gptneo_onnx.runtime.scheduling.generation_rows import BeamGeneration, Rows, SampledGeneration
from gptneo_onnx.runtime.scheduling.request import Request


class RunningRequest:
    """A request in its slots: row r in slot slots[r]; with guidance in slots[2 r], and its negative
    prompt in slots[2 r + 1].

    Attributes:
        request: whose rows these are.
        slots: where they are; rows that are finished have none.
        is_alone: whether it has a single slot, and chooses by what is there alone.
    """

    def __init__(self, request: Request, slots: list[int]) -> None:
        assert request.call is not None
        self.request = request
        self.call = request.call
        self.is_alone = len(slots) == 1
        self._slots: list[int | None] = [*slots]
        self._streams = len(request.prompts)
        self.rows: Rows = (
            BeamGeneration(self.call)
            if self.call.config.num_beams > 1
            else SampledGeneration(self.call, request.options.logprobs)
        )

    @property
    def slots(self) -> list[int]:
        return [slot for slot in self._slots if slot is not None]

    @property
    def is_finished(self) -> bool:
        """Whether no row goes on."""
        return not any(self.rows.active)

    def next_tokens(self) -> Iterable[tuple[int, int]]:
        """Return the slots to step, each with its token."""
        tokens = self.rows.last_tokens
        streams = self._streams
        for index, slot in enumerate(self._slots):
            if slot is not None:
                yield slot, tokens[index // streams]

    def logits_of(self, logits: Logits) -> Logits:
        """Return the rows [rows * streams, vocab] of a step's logits [slots, vocab].

        Finished rows get another's, which nobody looks at.
        """
        if self.is_alone:
            [slot] = self.slots
            return logits[slot : slot + 1]
        default = self.slots[0]
        return logits[[default if slot is None else slot for slot in self._slots]]

    def advance(self, logits: Logits, is_finite: bool) -> dict[int, int]:
        """Take logits [rows * streams, vocab], choose, and send the events.

        Args:
            logits: of each row, and with guidance of its negative prompt after it.
            is_finite: whether they are known to be finite.

        Returns:
            For slots whose sequence is replaced, the slot whose sequence they are to get.

        Raises:
            ModelFileError: the logits are not finite.
            Exception: what the request's processors raise.
        """
        if not is_finite and not self.call.config.remove_invalid_values:
            check_finite(logits)
        streams = logits.reshape(-1, self._streams, logits.shape[-1])
        guidance, guided = self.call.guidance, streams[:, 0]
        if guidance is not None:
            guided = guidance.guided(guided, streams[:, 1])
        events, order = self.rows.advance(streams[:, 0], guided)
        self.request.send(events)
        if order is None:
            return {}
        sources = (order[:, None] * self._streams + np.arange(self._streams)).ravel()
        slots = self.slots  # beams end together: none lacks its slot
        return {slot: slots[source] for slot, source in zip(slots, sources.tolist(), strict=True)}

    def texts(self) -> Iterator[tuple[int, Ids, bool]]:
        """Yield each slot of a result, its ids [length], and whether the result is finished.

        Of beams, and of what is guided, nothing is yielded.
        """
        if self._streams > 1 or not isinstance(self.rows, SampledGeneration):
            return
        for slot, sequence in zip(self._slots, self.rows.sequences, strict=True):
            if slot is not None:
                yield slot, sequence.ids[0], sequence.is_finished

    def release_finished(self) -> list[int]:
        """Return the slots of rows that were finished by the last step; they have them no more."""
        released = []
        for row, is_active in enumerate(self.rows.active):
            for index in range(row * self._streams, (row + 1) * self._streams):
                slot = self._slots[index]
                if slot is not None and not is_active:
                    released.append(slot)
                    self._slots[index] = None
        return released

    def move(self, old: int, new: int) -> None:
        """Take note that the sequence of one slot is in another now."""
        self._slots[self._slots.index(old)] = new
