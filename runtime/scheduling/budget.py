"""How much of the prompts may be read between two steps of the running requests."""

from collections.abc import Sequence

# Older measurements count this much, after each newer one.
_MEMORY = 0.8


class StepBudget:
    """Measures steps and chunks of prompts, and says what still fits into a bound of time."""

    def __init__(self, max_step_seconds: float) -> None:
        self._bound = max_step_seconds
        self._chunks = _Line()
        self._decode_seconds = 0.0

    def fitting(self, chunks: Sequence[int], spent: float) -> int:
        """Return how many tokens to read before the next step of the running requests.

        After a step, one chunk is read in any case: prompts go on however long steps take.

        Args:
            chunks: lengths that the next chunk may have, in ascending order.
            spent: seconds since the last step.

        Returns:
            The longest of the chunks that there is time for; 0 if all take too long.
        """
        left = self._bound - spent - self._decode_seconds
        fitting = [tokens for tokens in chunks if self._chunks.at(tokens) <= left]
        if fitting:
            return fitting[-1]
        return 0 if spent > 0.0 else chunks[0]

    def prefilled(self, tokens: int, seconds: float) -> None:
        """Take note of how long a chunk took."""
        self._chunks.learn(tokens, seconds)

    def decoded(self, seconds: float) -> None:
        """Take note of how long a step of the running requests took."""
        known = self._decode_seconds or seconds
        self._decode_seconds = _MEMORY * known + (1 - _MEMORY) * seconds


class _Line:
    """A straight line through points (x, y), the newest of which count most; it never falls."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, x: float, y: float) -> None:
        self._weight = _MEMORY * self._weight + 1
        self._x = _MEMORY * self._x + x
        self._y = _MEMORY * self._y + y
        self._xx = _MEMORY * self._xx + x * x
        self._xy = _MEMORY * self._xy + x * y

    def at(self, x: float) -> float:
        """Return y at x; 0 before the first point."""
        if not self._weight:
            return 0.0
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x**2
        covariance = self._xy / self._weight - mean_x * mean_y
        if variance <= 1e-3 * mean_x**2:  # points of about one x: the greater number is assumed
            return mean_y * max(1.0, x / mean_x)
        return max(0.0, mean_y + max(0.0, covariance / variance) * (x - mean_x))
