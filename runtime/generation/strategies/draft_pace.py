"""When a draft ends: where another token would likely cost more time than it saves."""

import math

# How much longer a step of the large model takes for each token that it checks (docs/speed.md).
_CHECK_COST = 0.05
# Margins at which a choice is as good as safe, before and after anything is learned.
_FIRST_SCALE, _LEAST_SCALE, _GREATEST_SCALE = 0.5, 0.01, 5.0
_LEARNING_RATE = 0.2
# What drafts brought before the first one: tokens, and the time that they took.
_FIRST_TOKENS, _FIRST_TIME = 20.0, 10.0
_MEMORY = 0.98  # of a round, in the next one
# A draft of one token is tried even where drafts save nearly all steps.
_MOST_WORTH = 0.9
_LONGEST_PAUSE = 16


class DraftPace:
    """Decides token by token whether a draft goes on.

    A token's margin is how far it was ahead of the second choice when the draft model chose it, in
    units of logits, noise included. A large model that computes nearly the same chooses another
    token only where the margin is small: with probability exp(-margin / scale) / 2 for a scale
    that is learned from which tokens were accepted. A draft ends where the probability that all of
    it is right falls below what a token costs, in tokens that the time would bring otherwise.

    Where drafts fail from their first token they become rare. No time is measured: the same call
    drafts the same tokens.

    Args:
        draft_cost: the time of a step of the draft model, where one of the large model takes 1.
    """

    def __init__(self, draft_cost: float) -> None:
        self._cost = draft_cost + _CHECK_COST
        self._scale = _FIRST_SCALE
        self._tokens, self._time = _FIRST_TOKENS, _FIRST_TIME
        self._wrong: list[float] = []  # the probability that each token of the draft is wrong
        self._right = 1.0  # that all of them are right
        self._failures = 0
        self._pause = 0

    def begin(self) -> bool:
        """Begin a draft; return whether drafts are worth trying in this round."""
        self._wrong, self._right = [], 1.0
        if self._pause:
            self._pause -= 1
            return False
        return True

    def goes_on(self, margin: float) -> bool:
        """Take note of a drafted token's margin; return whether to draft another."""
        wrong = math.exp(-margin / self._scale) / 2
        self._wrong.append(wrong)
        self._right *= 1 - wrong
        return self._right >= min(self._cost * self._tokens / self._time, _MOST_WORTH)

    def learn(self, proposed: int, accepted: int) -> None:
        """Take note of how many of the proposed tokens were accepted; 0 proposed teach nothing."""
        if proposed == 0:
            return
        failed = accepted < proposed
        surprise = failed - sum(self._wrong[: accepted + failed])
        scale = self._scale * math.exp(_LEARNING_RATE * surprise)
        self._scale = min(max(scale, _LEAST_SCALE), _GREATEST_SCALE)
        self._tokens = _MEMORY * self._tokens + accepted + 1
        self._time = _MEMORY * self._time + 1 + self._cost * proposed
        self._failures = self._failures + 1 if accepted == 0 else 0
        self._pause = min(2 ** max(self._failures - 1, 0) - 1, _LONGEST_PAUSE)
