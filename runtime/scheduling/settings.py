"""How a scheduler shares an engine among requests."""

from dataclasses import dataclass
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.engine.engine import MAX_SLOTS

# A prompt, and the negative prompt of guidance, are read in slots after the requests' own.
STAGING_SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class SchedulerSettings:
    """How a scheduler shares an engine among requests.

    Attributes:
        slots: sequences that are stepped together: a request takes one for each result or beam,
            two with guidance.
        max_waiting: requests that may wait for slots; one more is refused with QueueFullError.
            Those that can be admitted at once do not count.
        max_step_seconds: a bound on the time between two tokens of a running request while prompts
            are read, as far as the shortest chunk of a prompt keeps it: 16 tokens, but see `exact`.
        prefill_chunk: tokens of a prompt that are read at once at most; None takes the engine's
            number, 256. Results are those of generate(prefill_chunk_size=...).
        prefix_cache_bytes: memory for the keys and values of texts that later prompts may begin
            with; 0 keeps none.
        exact: whether results are those of generate() alone in 8 and 4 bits too. Then what comes
            after the window of local layers is read in whole chunks (a smaller prefill_chunk keeps
            max_step_seconds better) and reused up to the end of one. Otherwise any chunk will do,
            which changes the last bits of keys and values: in float32 that is all, in 8 and 4 bits
            texts may change.
        draft_tokens: tokens that are looked up in the text and checked in one step while a single
            sequence runs; 0 for none, but for requests that ask with prompt_lookup_num_tokens.
        draft: a smaller model that drafts tokens while a single sequence runs, loaded, or the name
            of another precision in the model's directory; None for none.

    Raises:
        InputError: a value is out of range.
    """

    slots: int = 8
    max_waiting: int = 128
    max_step_seconds: float = 0.25
    prefill_chunk: int | None = None
    prefix_cache_bytes: int = 1 << 30
    exact: bool = True
    draft_tokens: int = 0
    draft: Any = None

    def __post_init__(self) -> None:
        _check_whole("slots", self.slots, least=1)
        if self.slots > MAX_SLOTS - STAGING_SLOTS:
            raise InputError(
                f"slots is {shown(self.slots)}; at most {MAX_SLOTS - STAGING_SLOTS} are allowed"
            )
        _check_whole("max_waiting", self.max_waiting, least=0)
        _check_whole("prefix_cache_bytes", self.prefix_cache_bytes, least=0)
        _check_whole("draft_tokens", self.draft_tokens, least=0)
        if not isinstance(self.exact, bool):
            raise InputError(f"exact is {shown(self.exact)}; True or False is allowed")
        if self.prefill_chunk is not None:
            _check_whole("prefill_chunk", self.prefill_chunk, least=1)
        if not isinstance(self.max_step_seconds, int | float) or not self.max_step_seconds > 0:
            raise InputError(
                f"max_step_seconds is {shown(self.max_step_seconds)}; a number above 0 is allowed"
            )


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {shown(value)}; a whole number of at least {least} is allowed")
