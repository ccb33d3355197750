"""The labels of a classifier, as transformers.PretrainedConfig reads them from config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gptneo_onnx.models.errors import ModelFileError, shown

MAX_LABELS = 2**20
DEFAULT_LABELS = 2
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


@dataclass(frozen=True)
class Labels:
    """The labels of a classification head.

    Attributes:
        id2label: each label by its column of the logits. Columns without a label are possible, as
            in transformers: what counts for the head is how many labels there are.
        label2id: the columns by label; empty where config.json has labels but not this.
        problem_type: one of PROBLEM_TYPES, or None: pipelines then go by the number of labels.
    """

    id2label: Mapping[int, str]
    label2id: Mapping[str, Any]
    problem_type: str | None = None

    @property
    def count(self) -> int:
        """Return num_labels of transformers: the columns of the logits."""
        return len(self.id2label)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "config.json") -> "Labels":
        """Read the fields of a config.json: id2label or else num_labels (2 by default).

        Raises:
            ModelFileError: a field that transformers would refuse too, or MAX_LABELS are exceeded.
        """
        problem_type = values.get("problem_type")
        if problem_type is not None and problem_type not in PROBLEM_TYPES:
            raise ModelFileError(
                f"{source}: problem_type is {shown(problem_type)}; "
                f"one of {', '.join(PROBLEM_TYPES)} is allowed"
            )
        id2label = _mapping(values, "id2label", source)
        label2id = _mapping(values, "label2id", source)
        if id2label is not None:
            named = {_column(key, source): str(label) for key, label in id2label.items()}
            return cls(named, label2id or {}, problem_type)
        labels = [f"LABEL_{column}" for column in range(_count(values, source))]
        columns = {label: column for column, label in enumerate(labels)}
        return cls(dict(enumerate(labels)), columns, problem_type)


def _mapping(values: Mapping[str, Any], name: str, source: str) -> dict[str, Any] | None:
    value = values.get(name)
    if value is not None and (not isinstance(value, dict) or len(value) > MAX_LABELS):
        raise ModelFileError(
            f"{source}: {name} is {shown(value)}; an object of at most {MAX_LABELS} labels is "
            "allowed"
        )
    return value


def _column(key: str, source: str) -> int:
    try:
        return int(key)
    except ValueError as error:
        raise ModelFileError(
            f"{source}: id2label has the key {shown(key)}; whole numbers are allowed"
        ) from error


def _count(values: Mapping[str, Any], source: str) -> int:
    value = values.get("num_labels")
    if value is None:
        return DEFAULT_LABELS
    if not isinstance(value, int) or value > MAX_LABELS:
        raise ModelFileError(
            f"{source}: num_labels is {shown(value)}; a whole number up to {MAX_LABELS} is allowed"
        )
    return value
