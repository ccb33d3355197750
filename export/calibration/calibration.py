"""Making a block's weights fit for rounding, by what goes into its layers while a text is read.

- Balance (SmoothQuant, https://arxiv.org/abs/2211.10438, its alpha 1/2): an input that is often
  large is divided by a factor, and its weights are multiplied by it. The factor is folded into what
  makes the input: the layer normalization, or the rows of the value projection. The float model
  stays the same; rounding to 8 bits no longer suffers from a few outliers.
- Second moments of the inputs, by which codes are chosen (weights/gptq.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.calibration.layer_inputs import LayerInputs, layer_inputs
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.model_weights import WeightSource
from gptneo_onnx.export.weights.conversion import Floats

QKV = "attn.attention.qkv_proj.weight"
OUT_PROJ = "attn.attention.out_proj.weight"
C_FC = "mlp.c_fc.weight"
# The layers that are balanced. c_proj is not: no factor passes through the activation function.
_BALANCED = (QKV, OUT_PROJ, C_FC)
# The layer whose factors divide a tensor's rows, and the one whose factors multiply its columns.
_DIVIDED = {
    "ln_1.weight": QKV,
    "ln_1.bias": QKV,
    "attn.attention.v_proj.weight": OUT_PROJ,
    "ln_2.weight": C_FC,
    "ln_2.bias": C_FC,
}
_MULTIPLIED = {
    "attn.attention.q_proj.weight": QKV,
    "attn.attention.k_proj.weight": QKV,
    "attn.attention.v_proj.weight": QKV,
    "attn.attention.out_proj.weight": OUT_PROJ,
    "mlp.c_fc.weight": C_FC,
}
# Inputs that the text never uses count as this share of the largest, so that no factor is extreme.
_LEAST_SHARE = 1e-5


def calibrated_blocks(checkpoint: Checkpoint, ids: NDArray[np.int64]) -> Iterator[WeightSource]:
    """Yield what each block's weights are to be computed from, block by block.

    The text is read on the way, so that one block's statistics are in memory at a time.

    Args:
        checkpoint: read as float32.
        ids: the text, [windows, length].

    Raises:
        ModelFileError: see layer_inputs.
    """
    for layer, inputs in enumerate(layer_inputs(checkpoint, ids)):
        yield calibrated_block(checkpoint, f"h.{layer}", inputs)
        inputs.clear()  # before the next block is read


def calibrated_block(
    checkpoint: Checkpoint, block: str, inputs: Mapping[str, LayerInputs]
) -> WeightSource:
    """Balance a block's tensors; returns them with the moments of the balanced inputs.

    `inputs` are those of the block's layers, whose moments are changed in place.
    """
    factors = {}
    for layer in _BALANCED:
        read = inputs[f"{block}.{layer}"]
        factors[layer] = balance(read.largest, read.weights_largest)
        read.moments /= factors[layer]
        read.moments /= factors[layer][:, None]
    tensors = dict(checkpoint.tensors)
    for part in {**_DIVIDED, **_MULTIPLIED}:
        name = f"{block}.{part}"
        tensors[name] = _scaled(tensors[name], _scales(part, factors))
    moments = {weight: layer.moments for weight, layer in inputs.items()}
    return WeightSource(replace(checkpoint, tensors=tensors), moments)


def _scales(part: str, factors: Mapping[str, Floats]) -> Floats:
    """Return what a tensor is multiplied by: [outputs, inputs], [inputs] or, for a norm, [hidden].

    Only the value projection is both divided and multiplied.
    """
    if part not in _DIVIDED:
        return factors[_MULTIPLIED[part]]
    divisors = factors[_DIVIDED[part]]
    if part not in _MULTIPLIED:
        return np.float32(1) / divisors
    return factors[_MULTIPLIED[part]] / divisors[:, None]


def balance(inputs: Floats, weights: Floats) -> Floats:
    """Return the factors that inputs are divided by, and their weights multiplied by.

    Both arguments are the largest absolute values, [inputs].
    """
    if not (inputs.any() and weights.any()):
        return np.ones_like(inputs)
    floored = [np.maximum(sizes, sizes.max() * _LEAST_SHARE) for sizes in (inputs, weights)]
    return np.asarray(np.sqrt(floored[0] / floored[1]), np.float32)


@dataclass(frozen=True)
class _ScaledTensor(StoredTensor):
    """A tensor times scales, which broadcast to its shape."""

    base: StoredTensor = field(kw_only=True)
    scales: Floats = field(kw_only=True)

    def read(self) -> Floats:
        return self.base.read().astype(np.float32, copy=False) * self.scales

    def row_blocks(self) -> Iterator[Floats]:
        yield self.read()


def _scaled(tensor: StoredTensor, scales: Floats) -> StoredTensor:
    stored = {each.name: getattr(tensor, each.name) for each in fields(StoredTensor)}
    return _ScaledTensor(**stored, base=tensor, scales=scales)
