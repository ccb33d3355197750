"""From the scores of tokens to entities: tokens of one label that stand together.

Source: transformers.TokenClassificationPipeline.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.labels import Labels
from gptneo_onnx.runtime.arrays import Floats
from gptneo_onnx.runtime.pipelines.scores import label_of

STRATEGIES = ("none", "simple", "first", "average", "max")
# The strategies by which the tokens of a word get one label.
_BY_WORD = ("first", "average", "max")

Entity = dict[str, Any]
# Turns tokens into text.
Join = Callable[[list[str]], str]


@dataclass(frozen=True)
class ScoredToken:
    """A token with the scores of its labels.

    Attributes:
        word: the token.
        scores: float32 [labels].
        start, end: where it stands in the text, in characters.
        index: its number.
        is_subword: whether it goes on with the word of the token before.
    """

    word: str
    scores: Floats
    start: int
    end: int
    index: int
    is_subword: bool


def aggregate(
    tokens: Sequence[ScoredToken], strategy: str, labels: Labels, join: Join
) -> list[Entity]:
    """Return the entities of tokens: one for each token with "none", else one for each group.

    Args:
        tokens: in the text's order.
        strategy: one of STRATEGIES.
        labels: the model's.
        join: turns tokens into text.
    """
    if strategy in _BY_WORD:
        entities = [_of_word(word, strategy, labels, join) for word in _words(tokens)]
    else:
        entities = [_of_token(token, labels) for token in tokens]
    if strategy == "none":
        return entities
    return [_of_group(group, join) for group in _groups(entities)]


def without_overlaps(entities: Iterable[Entity]) -> list[Entity]:
    """Return entities of overlapping windows: of those that begin within one another, the longest.

    Of equally long ones, the one with the highest score is kept.
    """
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda each: int(each["start"])):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
        elif _weight(entity) > _weight(kept[-1]):
            kept[-1] = entity
    return kept


def _weight(entity: Entity) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]


def _of_token(token: ScoredToken, labels: Labels) -> Entity:
    best = int(token.scores.argmax())
    return {
        "entity": label_of(labels, best),
        "score": float(token.scores[best]),
        "index": token.index,
        "word": token.word,
        "start": token.start,
        "end": token.end,
    }


def _words(tokens: Sequence[ScoredToken]) -> list[list[ScoredToken]]:
    words: list[list[ScoredToken]] = []
    for token in tokens:
        if words and token.is_subword:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _of_word(word: Sequence[ScoredToken], strategy: str, labels: Labels, join: Join) -> Entity:
    match strategy:
        case "first":
            scores = word[0].scores
        case "max":
            scores = max(word, key=lambda token: float(token.scores.max())).scores
        case _:
            scores = np.mean([token.scores for token in word], axis=0)
    best = int(scores.argmax())
    return {
        "entity": label_of(labels, best),
        "score": float(scores[best]),
        "word": join([token.word for token in word]),
        "start": word[0].start,
        "end": word[-1].end,
    }


def _groups(entities: Sequence[Entity]) -> list[list[Entity]]:
    """Return neighbours of one tag in groups; B- begins another."""
    groups: list[list[Entity]] = []
    for entity in entities:
        if groups and _continues(groups[-1][-1]["entity"], entity["entity"]):
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return groups


def _continues(previous: str, label: str) -> bool:
    prefix, tag = _tag(label)
    return prefix != "B" and tag == _tag(previous)[1]


def _tag(label: str) -> tuple[str, str]:
    """Return B or I, and the tag; labels without either prefix continue."""
    if label.startswith(("B-", "I-")):
        return label[0], label[2:]
    return "I", label


def _of_group(group: Sequence[Entity], join: Join) -> Entity:
    return {
        "entity_group": group[0]["entity"].split("-", 1)[-1],
        "score": float(np.mean([entity["score"] for entity in group])),
        "word": join([entity["word"] for entity in group]),
        "start": group[0]["start"],
        "end": group[-1]["end"],
    }
