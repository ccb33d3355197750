"""A linear layer as it is stored (Layer), and a product with its weights in a graph (Product)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.weights.conversion import Floats, converted
from gptneo_onnx.models.graph import DataType


@dataclass(frozen=True)
class Layer:
    """A linear layer of a checkpoint.

    Attributes:
        name: its weight's, in the graph.
        matrices: [out, in] each; together, one below the other, they are the weight.
        moments: the second moments [in, in] of its inputs over a text, for rounding weights by.
            Without a text, None. Rounding overwrites them.
    """

    name: str
    matrices: Sequence[StoredTensor]
    moments: Floats | None = None

    @property
    def inputs(self) -> int:
        return self.matrices[0].shape[1]

    @property
    def outputs(self) -> int:
        return sum(matrix.shape[0] for matrix in self.matrices)

    def read(self) -> Floats:
        """Read the weight [out, in] in float32."""
        parts = [converted(matrix.read(), matrix, DataType.FLOAT32) for matrix in self.matrices]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class Product:
    """x [..., inputs] times the weight of a linear layer, or the embedding: [..., outputs].

    `x` and `weight` are names of tensors in the graph.
    """

    x: str
    weight: str
    inputs: int
    outputs: int


def scales_of(weight: str) -> str:
    """Return the name of a quantized weight's scales."""
    return f"{weight}.scales"


def zeros_of(weight: str) -> str:
    """Return the name of a quantized weight's zero points."""
    return f"{weight}.zero_points"
