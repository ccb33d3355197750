"""When a draft ends: after unsure tokens, sooner where it is dear, never where all is sure."""

import math

import pytest

from gptneo_onnx.runtime.generation.strategies.draft_pace import DraftPace

CHEAP, DEAR = 0.1, 0.8


def length(pace, margins):
    """Return how many of the tokens a draft takes; 0 in a pause."""
    if not pace.begin():
        return 0
    for count, margin in enumerate(margins, 1):
        if not pace.goes_on(margin):
            return count
    return len(margins)


def after(pace, rounds, accepted=None):
    """Let rounds of five tokens of one margin pass, of which some are accepted."""
    for _ in range(rounds):
        drafted = length(pace, [0.3] * 5)
        pace.learn(drafted, drafted if accepted is None else min(accepted, drafted))
    return pace


def test_sure_tokens_never_end_a_draft():
    for margin in (50.0, math.inf):
        assert length(DraftPace(CHEAP), [margin] * 30) == 30
        assert length(DraftPace(DEAR), [margin] * 30) == 30


def test_an_unsure_token_is_the_last():
    assert length(DraftPace(0.21), [9, 9, 0.0, 9]) == 3


def test_doubts_add_up():
    margins = [0.5] * 20
    assert 1 < length(DraftPace(0.21), margins) < 20
    assert length(DraftPace(0.21), [1.0] * 20) > length(DraftPace(0.21), margins)


def test_a_dear_draft_is_shorter():
    margins = [0.6] * 20
    assert length(DraftPace(DEAR), margins) < length(DraftPace(CHEAP), margins)


def test_it_learns_which_margins_are_sure():
    trusting, wary = after(DraftPace(0.21), 20), after(DraftPace(0.21), 20, accepted=1)
    margins = [0.3] * 20
    assert length(trusting, margins) > 2 * length(DraftPace(0.21), margins)
    assert length(wary, margins) <= length(DraftPace(0.21), margins)


def test_only_tokens_up_to_the_first_wrong_one_teach():
    """Whether the others would have been right, nobody knows."""
    first, second = DraftPace(CHEAP), DraftPace(CHEAP)
    for pace, rest in ((first, [9.0, 9.0]), (second, [0.4, 0.4])):
        length(pace, [0.3, 0.3, *rest])
        pace.learn(4, 1)
    margins = [0.3] * 20
    assert length(first, margins) == length(second, margins)


def test_it_pauses_longer_and_longer_while_first_tokens_are_wrong():
    pace, pauses = DraftPace(0.21), []
    for _ in range(8):
        waited = 0
        while not pace.begin():
            waited += 1
        pauses.append(waited)
        pace.goes_on(0.5)
        pace.learn(1, 0)
    assert pauses == [0, 0, 1, 3, 7, 15, 16, 16]
    while not pace.begin():
        pass
    pace.goes_on(0.5)
    pace.learn(1, 1)
    assert pace.begin()


def test_rounds_without_a_draft_teach_nothing():
    pace = DraftPace(0.21)
    pace.learn(0, 0)
    assert pace.begin()
    margins = [0.4] * 20
    assert length(pace, margins) == length(DraftPace(0.21), margins)


@pytest.mark.parametrize("accepted", [0, 5])
def test_extremes_keep_their_bounds(accepted):
    pace = after(DraftPace(0.21), 300, accepted=accepted)
    while not pace.begin():
        pass
    assert isinstance(pace.goes_on(0.3), bool)
