"""Activation functions that are made of a few operators, or are one, in every kind of graph.

Sources: transformers.activations, whose names models.config.ACTIVATIONS has; the ONNX operators.
"""

import math

import numpy as np

from gptneo_onnx.export.graphs.builder import GraphBuilder
from gptneo_onnx.models.graph import DataType

_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
# transformers' LaplaceActivation: a normal distribution's share below x.
_LAPLACE_MEAN, _LAPLACE_DEVIATION = 0.707107, 0.282095


def add_activation(
    graph: GraphBuilder, data_type: DataType, function: str, x: str, output: str
) -> str:
    """Add an activation function of x, one of the values of ACTIVATIONS.

    Those of several operators are computed in float32: not every one of these has a kernel for
    bfloat16, nor one for float16 that keeps enough digits.

    Returns:
        The result's name: `output`, or `x` itself.
    """
    if function == "linear":
        return x
    if function in _OPERATORS:
        return graph.add(_OPERATORS[function], [x], output)
    if data_type is DataType.FLOAT32:
        return _Composed(graph, x, output).add(function)
    wide = graph.add("Cast", [x], f"{output}.float", to=DataType.FLOAT32.onnx)
    result = _Composed(graph, wide, f"{output}.result").add(function)
    return graph.add("Cast", [result], output, to=data_type.onnx)


class _Composed:
    """An activation function of x, float32, whose nodes' names begin with the output's."""

    def __init__(self, graph: GraphBuilder, x: str, output: str) -> None:
        self.graph = graph
        self.x = x
        self.output = output

    def add(self, function: str) -> str:
        match function:
            case "leaky_relu":
                return self.graph.add("LeakyRelu", [self.x], self.output, alpha=0.01)
            case "relu2":
                return self.relu2()
            case "relu6":
                return self.clipped(self.x, 0, 6)
            case "gelu_10":
                unclipped = self.graph.add("Gelu", [self.x], f"{self.output}.unclipped")
                return self.clipped(unclipped, -10, 10)
            case "mish":
                return self.mish()
        assert function == "laplace"
        return self.laplace()

    def relu2(self) -> str:
        positive = self.graph.add("Relu", [self.x], f"{self.output}.positive")
        return self.graph.add("Mul", [positive, positive], self.output)

    def clipped(self, x: str, least: float, most: float) -> str:
        return self.graph.add("Clip", [x, self.number(least), self.number(most)], self.output)

    def mish(self) -> str:
        softplus = self.graph.add("Softplus", [self.x], f"{self.output}.softplus")
        gate = self.graph.add("Tanh", [softplus], f"{self.output}.gate")
        return self.graph.add("Mul", [self.x, gate], self.output)

    def laplace(self) -> str:
        steps = (
            ("Sub", _LAPLACE_MEAN),
            ("Mul", 1 / (_LAPLACE_DEVIATION * math.sqrt(2))),
            ("Erf", None),
            ("Add", 1),
            ("Mul", 0.5),
        )
        result = self.x
        for step, (operator, number) in enumerate(steps, 1):
            inputs = [result] if number is None else [result, self.number(number)]
            output = self.output if step == len(steps) else f"{self.output}.step{step}"
            result = self.graph.add(operator, inputs, output)
        return result

    def number(self, value: float) -> str:
        return self.graph.constant(f"number.{value:g}", np.float32(value))
