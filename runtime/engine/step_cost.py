"""Estimates how long a decode step takes, to compare models; measures nothing.

A measured time would differ from run to run, and so would the drafts that depend on it.
"""

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import NumberFormat, Precision

# The time of a step of a single sequence, per weight, beside float32's: docs/speed.md, 1.3B shape.
_TIMES = {
    Precision.FP32: 1.0,
    Precision.FP16: 0.5,
    Precision.BF16: 0.5,
    Precision.INT8: 0.33,
    Precision.W8A8: 0.3,
    Precision.INT4: 0.21,
}


def step_cost(config: GPTNeoConfig, numbers: NumberFormat | None) -> float:
    """Return the cost of a step, in the time that float32 takes for one weight.

    Args:
        config: the model's dimensions.
        numbers: a fused graph's; None for a portable one, which multiplies floats.
    """
    hidden = config.hidden_size
    layer = 4 * hidden * hidden + 2 * hidden * config.intermediate_size
    weights = config.num_layers * layer + config.vocab_size * hidden
    return weights * (1.0 if numbers is None else _TIMES[numbers.precision])
