"""The bound on the time between two steps: counted by a clock that the tests set."""

from collections.abc import Callable

import pytest

from gptneo_onnx.runtime.scheduling.budget import StepBudget

Cost = Callable[[int], float]


def turns(
    budget: StepBudget, prompts: list[int], decode: float, cost: Cost, chunk: int = 64
) -> list[tuple[float, int]]:
    """Read prompts of these lengths beside steps; return each turn's seconds and prompt tokens."""
    prompts, taken = [*prompts], []
    while prompts:
        spent, tokens = 0.0, 0
        while prompts:
            last = min(chunk, prompts[0])
            fitting = budget.fitting([*range(16, last, 16), last], spent)
            if not fitting:
                break
            budget.prefilled(fitting, cost(fitting))
            spent += cost(fitting)
            tokens += fitting
            prompts[0] -= fitting
            if prompts[0] == 0:
                prompts.pop(0)
        budget.decoded(decode)
        taken.append((spent + decode, tokens))
    return taken


def measured(bound: float, decode: float, cost: Cost) -> StepBudget:
    """Return a budget that knows some chunks and steps."""
    budget = StepBudget(bound)
    for tokens in (16, 64, 64, 32):
        budget.prefilled(tokens, cost(tokens))
    for _ in range(3):
        budget.decoded(decode)
    return budget


COSTS: dict[str, Cost] = {
    "each token takes time": lambda tokens: 0.001 * tokens,
    "each chunk takes time": lambda tokens: 0.03,
    "both": lambda tokens: 0.01 + 0.0005 * tokens,
}


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS.keys())
def test_a_long_prompt_holds_up_no_step_longer_than_the_bound(cost: Cost) -> None:
    taken = turns(measured(0.1, 0.02, cost), [2000], 0.02, cost)
    assert max(seconds for seconds, _ in taken) <= 0.1 + 1e-9
    assert sum(tokens for _, tokens in taken) == 2000
    # The time is used: most turns are nearly as long as they may be.
    assert sum(seconds for seconds, _ in taken) > 0.6 * 0.1 * len(taken)


def test_several_short_prompts_are_read_in_one_turn_while_there_is_time() -> None:
    cost = COSTS["both"]
    taken = turns(measured(0.1, 0.02, cost), [16] * 12, 0.02, cost)
    assert [tokens for _, tokens in taken] == [64, 64, 64]
    assert all(seconds <= 0.1 for seconds, _ in taken)


def test_prompts_go_on_however_long_steps_take() -> None:
    """The decode step alone takes longer than the bound: a shortest chunk follows each."""
    cost = COSTS["both"]
    taken = turns(measured(0.1, 0.5, cost), [160], 0.5, cost)
    assert [tokens for _, tokens in taken] == [16] * 10


def test_chunks_that_became_slower_are_cut_shorter() -> None:
    """As attention does to the end of a long prompt, or another program on the machine."""
    budget = measured(0.1, 0.02, lambda tokens: 0.001 * tokens)
    before = budget.fitting([16, 32, 48, 64], 0.0)
    for _ in range(10):
        budget.prefilled(32, 0.001 * 32 * 2)
        budget.prefilled(16, 0.001 * 16 * 2)
    assert (before, budget.fitting([16, 32, 48, 64], 0.0)) == (64, 32)


def test_what_was_spent_in_the_turn_counts() -> None:
    budget = measured(0.1, 0.02, lambda tokens: 0.001 * tokens)
    assert [budget.fitting([16, 32, 64], spent) for spent in (0.0, 0.02, 0.05, 0.07)] == [
        64, 32, 16, 0,
    ]  # fmt: skip
