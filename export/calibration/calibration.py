"""Weights made fit for rounding by what a text shows about their inputs, block by block.

- Balance (SmoothQuant, https://arxiv.org/abs/2211.10438, its alpha 1/2): an input that is often
  large is divided by a factor, and its weights are multiplied by it. The factor is folded into what
  makes the input: the layer normalization, or the rows of the value projection. The float model
  stays the same; rounding to 8 bits no longer suffers from a few outliers.
- Second moments of the inputs, by which codes are chosen (gptq.py).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.calibration.layer_inputs import LayerInputs, layer_inputs
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor

Floats = NDArray[np.float32]

QKV = "attn.attention.qkv_proj.weight"
OUT_PROJ = "attn.attention.out_proj.weight"
C_FC = "mlp.c_fc.weight"
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


class Calibration:
    """A checkpoint, balanced, and the second moments of its layers' inputs.

    Blocks have to be read in order: the text is read with them, and only one's statistics are kept.
    """

    def __init__(self, checkpoint: Checkpoint, ids: NDArray[np.int64]) -> None:
        """For windows of ids [windows, length]."""
        self._blocks = enumerate(layer_inputs(checkpoint, ids))
        self._block = -1
        self._inputs: dict[str, LayerInputs] = {}
        tensors = {name: self._balanced(name, t) for name, t in checkpoint.tensors.items()}
        self.checkpoint = replace(checkpoint, tensors=tensors)

    def moments(self, weight: str) -> Floats:
        """The second moments [inputs, inputs] of a layer's inputs once balanced; given once."""
        block, layer = split_block_name(weight)
        inputs = self._inputs_of(block)[weight]
        moments, inputs.moments = inputs.moments, np.empty((0, 0), np.float32)
        if layer in (QKV, OUT_PROJ, C_FC):
            factors = self._factors(block, layer)
            moments /= factors
            moments /= factors[:, None]
        return moments

    def _balanced(self, name: str, tensor: StoredTensor) -> StoredTensor:
        block, part = split_block_name(name)
        if part not in _DIVIDED and part not in _MULTIPLIED:
            return tensor
        return _ScaledTensor(
            tensor.path,
            tensor.name,
            tensor.offset,
            tensor.dtype,
            tensor.shape,
            lambda: self._scales(block, part),
        )

    def _scales(self, block: int, part: str) -> Floats:
        scales = np.ones((), np.float32)
        if part in _MULTIPLIED:
            scales = scales * self._factors(block, _MULTIPLIED[part])
        if part in _DIVIDED:
            divisors = self._factors(block, _DIVIDED[part])
            scales = scales / (divisors[:, None] if scales.ndim else divisors)
        return scales

    def _factors(self, block: int, layer: str) -> Floats:
        inputs = self._inputs_of(block)[f"h.{block}.{layer}"]
        return balance(inputs.largest, inputs.weights_largest)

    def _inputs_of(self, block: int) -> dict[str, LayerInputs]:
        while self._block < block:
            self._inputs = {}
            self._block, self._inputs = next(self._blocks)
        assert self._block == block, "blocks are read in order"
        return self._inputs


def balance(inputs: Floats, weights: Floats) -> Floats:
    """Factors by which to divide the inputs, and multiply their weights, from largest sizes."""
    if not (inputs.any() and weights.any()):
        return np.ones_like(inputs)
    floored = [np.maximum(each, each.max() * _LEAST_SHARE) for each in (inputs, weights)]
    return np.asarray(np.sqrt(floored[0] / floored[1]), np.float32)


def split_block_name(name: str) -> tuple[int, str]:
    """A tensor's block and its name within that; -1 outside of blocks."""
    match = re.fullmatch(r"h\.(\d+)\.(.+)", name)
    return (int(match[1]), match[2]) if match else (-1, name)


@dataclass(frozen=True)
class _ScaledTensor(StoredTensor):
    """A tensor times scales, which broadcast to its shape."""

    scales: Callable[[], Floats]

    def read(self) -> Floats:
        return super().read().astype(np.float32, copy=False) * self.scales()

    def row_blocks(self) -> Iterator[Floats]:
        yield self.read()
