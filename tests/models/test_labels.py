"""The labels of a config.json, read as transformers.PretrainedConfig reads them."""

from typing import Any

import pytest

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.labels import MAX_LABELS, Labels


def test_without_labels_there_are_two() -> None:
    labels = Labels.from_dict({})
    assert labels == Labels({0: "LABEL_0", 1: "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1})
    assert labels.count == 2


@pytest.mark.parametrize(("number", "count"), [(3, 3), (1, 1), (0, 0), (-4, 0), (True, 1)])
def test_a_number_alone_makes_names(number: Any, count: int) -> None:
    labels = Labels.from_dict({"num_labels": number, "label2id": {"ignored": 5}})
    assert labels.count == count
    assert list(labels.id2label.items()) == [(i, f"LABEL_{i}") for i in range(count)]
    assert list(labels.label2id.items()) == [(f"LABEL_{i}", i) for i in range(count)]


def test_named_labels_count_and_a_number_beside_them_does_not() -> None:
    given = {"id2label": {"0": "bad", "1": "good", "2": "fine"}, "num_labels": 7}
    labels = Labels.from_dict(given | {"label2id": {"bad": 0}})
    assert labels.id2label == {0: "bad", 1: "good", 2: "fine"}
    assert (labels.count, labels.label2id) == (3, {"bad": 0})
    assert Labels.from_dict(given).label2id == {}


def test_keys_are_numbers_in_any_order_and_labels_become_text() -> None:
    labels = Labels.from_dict({"id2label": {"2": "b", " 0 ": 5}})
    assert labels.id2label == {2: "b", 0: "5"}
    assert labels.count == 2


@pytest.mark.parametrize(
    "problem_type",
    ["regression", "single_label_classification", "multi_label_classification", None],
)
def test_the_type_of_the_problem_is_kept(problem_type: str | None) -> None:
    assert Labels.from_dict({"problem_type": problem_type}).problem_type == problem_type


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("problem_type", "ranking", "problem_type is 'ranking'; one of regression, "),
        ("problem_type", ["regression"], r"problem_type is \['regression'\]; one of "),
        ("id2label", ["a", "b"], r"id2label is \['a', 'b'\]; an object of at most"),
        ("id2label", {"a": "b"}, "id2label has the key 'a'; whole numbers are allowed"),
        ("id2label", {"1" * 9999: "b"}, "id2label has the key '111.*; whole numbers"),
        ("label2id", "x" * 999, r"label2id is 'xxx.*; an object"),
        ("num_labels", "3", "num_labels is '3'; a whole number up to"),
        ("num_labels", 3.0, "num_labels is 3.0; a whole number up to"),
        ("num_labels", MAX_LABELS + 1, f"num_labels is {MAX_LABELS + 1}; a whole number up to"),
        ("num_labels", 10**400, "num_labels is 1000.*; a whole number up to"),
    ],
)
def test_what_is_no_label_is_refused(field: str, value: Any, match: str) -> None:
    with pytest.raises(ModelFileError, match=f"^config.json: {match}") as caught:
        Labels.from_dict({field: value})
    assert len(str(caught.value)) < 300
