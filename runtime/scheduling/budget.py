"""How many tokens of a prompt may be read between two steps of the running requests."""

LEAST_CHUNK = 16
# The newest measurement counts this much.
_WEIGHT = 0.2


class StepBudget:
    """Measures steps, and says how much of a prompt fits beside one into a bound of time."""

    def __init__(self, max_step_seconds: float, largest_chunk: int) -> None:
        self._bound = max_step_seconds
        self._largest = largest_chunk
        self._prefill_token_seconds: float | None = None
        self._decode_seconds: float | None = None

    def chunk(self, is_decoding: bool) -> int:
        """Return how many tokens of a prompt to read now, at most.

        Args:
            is_decoding: whether running requests wait for their next token.
        """
        if not is_decoding:
            return self._largest
        if self._prefill_token_seconds is None:
            return LEAST_CHUNK
        left = self._bound - (self._decode_seconds or 0.0)
        tokens = int(left / self._prefill_token_seconds) if left > 0 else 0
        return max(LEAST_CHUNK, min(self._largest, tokens))

    def prefilled(self, tokens: int, seconds: float) -> None:
        """Take note of how long a chunk took."""
        self._prefill_token_seconds = _average(self._prefill_token_seconds, seconds / tokens)

    def decoded(self, seconds: float) -> None:
        """Take note of how long a step of the running requests took."""
        self._decode_seconds = _average(self._decode_seconds, seconds)


def _average(old: float | None, new: float) -> float:
    return new if old is None else (1 - _WEIGHT) * old + _WEIGHT * new
