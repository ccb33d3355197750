"""The graph's weights: what each is called, and which tensors of a checkpoint it is made of."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.graphs.embedding import embedding_format, table_weight
from gptneo_onnx.export.graphs.linear import Layer, linear_format
from gptneo_onnx.export.weights.graph_weight import GraphWeight
from gptneo_onnx.models.graph import EMBEDDING, POSITIONS, NumberFormat

FINAL_NORM = "ln_f"
LM_HEAD = "lm_head.weight"


# The second moments [inputs, inputs] of the inputs of the layer with that weight, if any.
Moments = Callable[[str], NDArray[np.float32] | None]


def _no_moments(weight: str) -> None:
    """Without a text to calibrate with."""


def graph_weights(
    checkpoint: Checkpoint, numbers: NumberFormat, moments: Moments = _no_moments
) -> list[GraphWeight]:
    """Every weight of the graph, in the order in which they are written.

    Query, key and value are one layer of 3 * hidden outputs.

    Raises:
        ModelFileError: a tensor is missing or has another shape than the config makes it.
        InputError: the precision's blocks do not fit the model's sizes.
    """
    return _Weights(checkpoint, numbers, moments).all()


class _Weights:
    def __init__(self, checkpoint: Checkpoint, numbers: NumberFormat, moments: Moments) -> None:
        self.checkpoint = checkpoint
        self.moments = moments
        self.data_type = numbers.activations
        self.linear = linear_format(numbers)
        self.embedding = embedding_format(numbers, checkpoint.config.hidden_size)

    def all(self) -> list[GraphWeight]:
        config = self.checkpoint.config
        hidden = config.hidden_size
        weights = [
            *self.vocabulary(EMBEDDING),
            self.table(POSITIONS, (config.max_position_embeddings, hidden)),
        ]
        for layer in range(config.num_layers):
            weights += self.block(f"h.{layer}", hidden, config.intermediate_size)
        weights += self.norm(FINAL_NORM, hidden)
        if not config.tie_word_embeddings:
            weights += self.vocabulary(LM_HEAD)
        return weights

    def block(self, block: str, hidden: int, intermediate: int) -> list[GraphWeight]:
        attention = f"{block}.attn.attention"
        return [
            *self.norm(f"{block}.ln_1", hidden),
            *self.qkv(attention, hidden),
            *self.biased(f"{attention}.out_proj", hidden, hidden),
            *self.norm(f"{block}.ln_2", hidden),
            *self.biased(f"{block}.mlp.c_fc", hidden, intermediate),
            *self.biased(f"{block}.mlp.c_proj", intermediate, hidden),
        ]

    def vocabulary(self, name: str) -> list[GraphWeight]:
        config = self.checkpoint.config
        table = self.checkpoint.tensor(name, (config.vocab_size, config.hidden_size))
        return self.embedding.weights(name, table)

    def norm(self, name: str, hidden: int) -> list[GraphWeight]:
        return [self.table(f"{name}.{part}", (hidden,)) for part in ("weight", "bias")]

    def biased(self, name: str, inputs: int, outputs: int) -> list[GraphWeight]:
        weight = f"{name}.weight"
        stored = [self.checkpoint.tensor(weight, (outputs, inputs))]
        return [*self.layer(weight, stored), self.table(f"{name}.bias", (outputs,))]

    def qkv(self, attention: str, hidden: int) -> list[GraphWeight]:
        names = [f"{attention}.{part}_proj.weight" for part in "qkv"]
        stored = [self.checkpoint.tensor(name, (hidden, hidden)) for name in names]
        return self.layer(f"{attention}.qkv_proj.weight", stored)

    def layer(self, weight: str, stored: list[StoredTensor]) -> list[GraphWeight]:
        return self.linear.weights(Layer(weight, stored, partial(self.moments, weight)))

    def table(self, name: str, shape: tuple[int, ...]) -> GraphWeight:
        return table_weight(name, self.checkpoint.tensor(name, shape), self.data_type)
