"""How a scheduler shares an engine among requests."""

from dataclasses import dataclass
from typing import Any

from gptneo_onnx.models.errors import InputError, shown


@dataclass(frozen=True, kw_only=True)
class SchedulerSettings:
    """How a scheduler shares an engine among requests.

    Attributes:
        slots: sequences that are stepped together: a request takes one for each result or beam,
            two with guidance.
        max_waiting: requests that may wait; one more is refused with QueueFullError.
        max_step_seconds: how long the reading of prompts may hold up the tokens of running
            requests: a bound on the time between two steps, as far as a chunk of 16 tokens
            keeps it.
        prefix_cache_bytes: memory for the keys and values of texts that later prompts may begin
            with; 0 keeps none.
        exact: whether results are those of generate() alone, in 8 and 4 bits too. Then prompts
            beyond the window of local layers are read in chunks as long as generate()'s, even if
            running requests wait longer than max_step_seconds, and reused up to the end of one.
            Otherwise any chunk will do, which changes the last bits of keys and values: in float32
            that is all, in 8 and 4 bits texts may change.
        draft_tokens: tokens that are looked up in the text and checked in one step while a single
            sequence runs; 0 for none. It changes no token.

    Raises:
        InputError: a value is out of range.
    """

    slots: int = 8
    max_waiting: int = 128
    max_step_seconds: float = 0.25
    prefix_cache_bytes: int = 1 << 30
    exact: bool = True
    draft_tokens: int = 0

    def __post_init__(self) -> None:
        _check_whole("slots", self.slots, least=1)
        _check_whole("max_waiting", self.max_waiting, least=0)
        _check_whole("prefix_cache_bytes", self.prefix_cache_bytes, least=0)
        _check_whole("draft_tokens", self.draft_tokens, least=0)
        if not isinstance(self.exact, bool):
            raise InputError(f"exact is {shown(self.exact)}; True or False is allowed")
        if not isinstance(self.max_step_seconds, int | float) or not self.max_step_seconds > 0:
            raise InputError(
                f"max_step_seconds is {shown(self.max_step_seconds)}; a number above 0 is allowed"
            )


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {shown(value)}; a whole number of at least {least} is allowed")
