"""From the scores of tokens to entities, on literal scores."""

import numpy as np
import pytest

from gptneo_onnx.models.labels import Labels
from gptneo_onnx.runtime.pipelines.entities import ScoredToken, aggregate, without_overlaps

LABELS = Labels({0: "O", 1: "B-PER", 2: "I-PER", 3: "LOC"}, {})


def tokens(*columns, subwords=()):
    """Tokens a, b, c ... of one letter, each with 0.7 for its label's column, 0.1 for others."""
    found = []
    for index, column in enumerate(columns):
        scores = np.full(4, 0.1, np.float32)
        scores[column] = 0.7
        letter = chr(ord("a") + index)
        found.append(ScoredToken(letter, scores, index, index + 1, index, index in subwords))
    return found


def groups(strategy, *columns, subwords=()):
    found = aggregate(tokens(*columns, subwords=subwords), strategy, LABELS, "".join)
    return [(entity["entity_group"], entity["word"]) for entity in found]


def test_without_a_strategy_each_token_is_an_entity():
    assert aggregate(tokens(1), "none", LABELS, "".join) == [
        {
            "entity": "B-PER",
            "score": pytest.approx(0.7),
            "index": 0,
            "word": "a",
            "start": 0,
            "end": 1,
        }
    ]


def test_neighbours_of_one_tag_are_one_entity():
    assert groups("simple", 1, 2, 2, 0, 3, 3) == [("PER", "abc"), ("O", "d"), ("LOC", "ef")]


def test_b_begins_another_entity():
    assert groups("simple", 1, 1, 2) == [("PER", "a"), ("PER", "bc")]


def test_a_words_first_token_decides():
    assert groups("first", 3, 0, 0, subwords=(1,)) == [("LOC", "ab"), ("O", "c")]


def test_a_words_best_token_decides():
    word = tokens(0, 3, subwords=(1,))
    word[1].scores[3] = 0.9
    [found] = aggregate(word, "max", LABELS, "".join)
    assert (found["entity_group"], found["score"]) == ("LOC", pytest.approx(0.9))


def test_a_words_average_decides():
    word = tokens(0, 3, 3, subwords=(1, 2))
    [found] = aggregate(word, "average", LABELS, "".join)
    assert (found["entity_group"], found["score"]) == ("LOC", pytest.approx(0.5))


def test_of_overlapping_entities_the_longest_is_kept():
    def entity(start, end, score):
        return {"start": start, "end": end, "score": score}

    found = [entity(9, 12, 0.5), entity(0, 4, 0.9), entity(2, 9, 0.1), entity(9, 12, 0.6)]
    assert without_overlaps(found) == [entity(2, 9, 0.1), entity(9, 12, 0.6)]
    assert without_overlaps([]) == []
