"""The graph's weights: what each is called, its shape, and how its bytes come from a checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint import Checkpoint
from gptneo_onnx.export.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import EMBEDDING, POSITIONS, DataType

NUMPY_TYPES: dict[DataType, np.dtype[Any]] = {
    DataType.FLOAT32: np.dtype(np.float32),
    DataType.FLOAT16: np.dtype(np.float16),
    DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}
_LARGEST = {DataType.FLOAT32: 3.4e38, DataType.FLOAT16: 65504, DataType.BFLOAT16: 3.39e38}
FINAL_NORM = "ln_f"
LM_HEAD = "lm_head.weight"

_CACHE_LINE_BYTES = 64


@dataclass(frozen=True)
class GraphWeight:
    """One initializer of the graph.

    `blocks()` reads it from the checkpoint: arrays whose bytes, one behind the other, are the
    tensor's, so that no more than one matrix is ever in memory.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[NDArray[Any]]]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.data_type.itemsize


def graph_weights(checkpoint: Checkpoint, data_type: DataType) -> list[GraphWeight]:
    """Every weight of the graph, in the order in which they are written.

    Linear layers are transposed to [in, out], as MatMul multiplies; query, key and value are packed
    into one [hidden, 3 * hidden] matrix.

    Raises:
        ModelFileError: a tensor is missing or has another shape than the config makes it.
    """
    return _Weights(checkpoint, data_type).all()


class _Weights:
    def __init__(self, checkpoint: Checkpoint, data_type: DataType) -> None:
        self.checkpoint = checkpoint
        self.data_type = data_type
        self.dtype = NUMPY_TYPES[data_type]

    def all(self) -> list[GraphWeight]:
        config = self.checkpoint.config
        hidden = config.hidden_size
        weights = [
            self.table(EMBEDDING, (config.vocab_size, hidden)),
            self.table(POSITIONS, (config.max_position_embeddings, hidden)),
        ]
        for layer in range(config.num_layers):
            weights += self.block(f"h.{layer}", hidden, config.intermediate_size)
        weights += self.norm(FINAL_NORM, hidden)
        if not config.tie_word_embeddings:
            weights.append(self.table(LM_HEAD, (config.vocab_size, hidden)))
        return weights

    def block(self, block: str, hidden: int, intermediate: int) -> list[GraphWeight]:
        attention = f"{block}.attn.attention"
        return [
            *self.norm(f"{block}.ln_1", hidden),
            self.packed_qkv(attention, hidden),
            *self.linear(f"{attention}.out_proj", hidden, hidden),
            *self.norm(f"{block}.ln_2", hidden),
            *self.linear(f"{block}.mlp.c_fc", hidden, intermediate),
            *self.linear(f"{block}.mlp.c_proj", intermediate, hidden),
        ]

    def norm(self, name: str, hidden: int) -> list[GraphWeight]:
        return [self.table(f"{name}.{part}", (hidden,)) for part in ("weight", "bias")]

    def linear(self, name: str, inputs: int, outputs: int) -> list[GraphWeight]:
        stored = self.checkpoint.tensor(f"{name}.weight", (outputs, inputs))
        weight = GraphWeight(
            f"{name}.weight", self.data_type, (inputs, outputs), lambda: self.transposed([stored])
        )
        return [weight, self.table(f"{name}.bias", (outputs,))]

    def packed_qkv(self, attention: str, hidden: int) -> GraphWeight:
        stored = [
            self.checkpoint.tensor(f"{attention}.{part}_proj.weight", (hidden, hidden))
            for part in "qkv"
        ]
        return GraphWeight(
            f"{attention}.qkv_proj.weight",
            self.data_type,
            (hidden, 3 * hidden),
            lambda: self.transposed(stored),
        )

    def table(self, name: str, shape: tuple[int, ...]) -> GraphWeight:
        """A tensor that is stored as the checkpoint has it."""
        stored = self.checkpoint.tensor(name, shape)
        return GraphWeight(
            name,
            self.data_type,
            shape,
            lambda: (self.convert(block, stored) for block in stored.row_blocks()),
        )

    def transposed(self, matrices: list[StoredTensor]) -> Iterator[NDArray[Any]]:
        """[out, in] matrices side by side as one [in, sum of out]."""
        outputs = sum(matrix.shape[0] for matrix in matrices)
        target = np.empty((matrices[0].shape[1], outputs), self.dtype)
        column = 0
        # A cache line of rows at a time: five times as fast as one assignment of the whole.
        rows = _CACHE_LINE_BYTES // self.dtype.itemsize
        for matrix in matrices:
            source = self.convert(matrix.read(), matrix)
            for start in range(0, source.shape[0], rows):
                block = source[start : start + rows]
                target[:, column + start : column + start + len(block)] = block.T
            column += source.shape[0]
        yield target

    def convert(self, values: NDArray[Any], source: StoredTensor) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            converted = values.astype(self.dtype, copy=False)
        if not np.isfinite(converted).all():
            raise self.not_finite(values, source)
        return converted

    def not_finite(self, values: NDArray[Any], source: StoredTensor) -> ModelFileError:
        where = f"{source.path}: {source.name} holds"
        if not np.isfinite(values).all():
            return ModelFileError(f"{where} weights that are not finite numbers; fetch it again")
        largest = float(np.abs(values).max())
        limit = _LARGEST[self.data_type]
        return ModelFileError(
            f"{where} weights of {largest:.3g}, and {self.data_type.value} ends at {limit:g}; "
            + (
                "export with --precision bf16 or fp32"
                if self.data_type is DataType.FLOAT16
                else "no GPT-Neo has such weights: fetch it again"
            )
        )
