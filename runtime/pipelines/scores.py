"""From the logits of labels to scores."""

import numpy as np

from gptneo_onnx.models.labels import Labels
from gptneo_onnx.runtime.arrays import Floats

FUNCTIONS = ("sigmoid", "softmax", "none")


def softmax(logits: Floats) -> Floats:
    """Return logits [..., labels] as probabilities that sum to 1."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Floats) -> Floats:
    """Return logits [..., labels] as probabilities, each by itself."""
    with np.errstate(over="ignore"):  # far below zero: 1 / infinity
        probabilities: Floats = np.reciprocal(1 + np.exp(-logits))
    return probabilities


def function_of(labels: Labels) -> str:
    """Return the function of FUNCTIONS that turns logits of these labels into scores.

    Source: transformers.TextClassificationPipeline.postprocess.
    """
    if labels.problem_type == "regression":
        return "none"
    if labels.problem_type == "multi_label_classification" or labels.count == 1:
        return "sigmoid"
    return "softmax"


def scores_of(logits: Floats, function: str) -> Floats:
    """Return scores [..., labels] by one of FUNCTIONS."""
    match function:
        case "sigmoid":
            return sigmoid(logits)
        case "softmax":
            return softmax(logits)
        case _:
            return logits


def label_of(labels: Labels, column: int) -> str:
    """Return the label of a column; one that config.json does not name is LABEL_N."""
    return labels.id2label.get(column, f"LABEL_{column}")
