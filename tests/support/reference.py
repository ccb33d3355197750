"""GPT-Neo in plain numpy, float64: the oracle that every graph and runtime path is tested against.

Written to be read beside transformers.models.gpt_neo.modeling_gpt_neo, not to be fast: no cache, no
batch, one sequence at a time. tests/peers compares it with transformers itself.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint, open_checkpoint
from gptneo_onnx.models.activations import ACTIVATIONS
from gptneo_onnx.models.tasks import Head

Array = NDArray[np.float64]

FUNCTIONS = {
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu_10": lambda x: np.clip(FUNCTIONS["gelu"](x), -10, 10),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "laplace": lambda x: 0.5 * (1 + np.vectorize(math.erf)((x - 0.707107) / (0.282095 * 2**0.5))),
    "linear": lambda x: x,
}


class ReferenceGPTNeo:
    """A checkpoint's model: token ids in, logits out."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.read: dict[str, Array] = {}

    @classmethod
    def open(cls, directory: Path) -> "ReferenceGPTNeo":
        return cls(open_checkpoint(directory))

    def weight(self, name: str) -> Array:
        if name not in self.read:
            self.read[name] = self.checkpoint.tensors[name].read().astype(np.float64)
        return self.read[name]

    def logits(self, ids: NDArray[np.int64], positions: NDArray[np.int64] | None = None) -> Array:
        """Return the logits [length, vocab] of one sequence of ids [length]."""
        head = "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"
        return self.hidden_states(ids, positions) @ self.weight(head).T

    def head(
        self,
        head: Head,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64] | None = None,
    ) -> Array:
        """Return what the linear layer of a task's head gives, [length, columns]."""
        assert head.tensors
        states, name = self.hidden_states(ids, positions), head.tensors.weight
        return self.linear(name.removesuffix(".weight"), states, head.tensors.bias is not None)

    def hidden_states(
        self, ids: NDArray[np.int64], positions: NDArray[np.int64] | None = None
    ) -> Array:
        """Return the hidden states [length, hidden] after the final layer normalization."""
        return self.all_hidden_states(ids, positions)[-1]

    def all_hidden_states(
        self, ids: NDArray[np.int64], positions: NDArray[np.int64] | None = None
    ) -> list[Array]:
        """Return each block's input, and the output of the final layer normalization."""
        if positions is None:
            positions = np.arange(len(ids))
        x = self.weight("wte.weight")[ids] + self.weight("wpe.weight")[positions]
        inputs = []
        for layer in range(self.config.num_layers):
            inputs.append(x)
            x = x + self.attention(layer, self.layer_norm(f"h.{layer}.ln_1", x))
            x = x + self.mlp(f"h.{layer}.mlp", self.layer_norm(f"h.{layer}.ln_2", x))
        return [*inputs, self.layer_norm("ln_f", x)]

    def layer_norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + self.config.layer_norm_epsilon)
        return centred / deviation * self.weight(f"{name}.weight") + self.weight(f"{name}.bias")

    def linear(self, name: str, x: Array, bias: bool = True) -> Array:
        product = x @ self.weight(f"{name}.weight").T
        return product + self.weight(f"{name}.bias") if bias else product

    def attention(self, layer: int, x: Array) -> Array:
        name = f"h.{layer}.attn.attention"
        query, key, value = (
            self.split_heads(self.linear(f"{name}.{part}_proj", x, bias=False)) for part in "qkv"
        )
        scores = query @ key.transpose(0, 2, 1)  # [heads, length, length], not scaled
        scores = np.where(self.visible(layer, len(x)), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        merged = (weights @ value).transpose(1, 0, 2).reshape(x.shape)  # [length, hidden]
        return self.linear(f"{name}.out_proj", merged)

    def split_heads(self, x: Array) -> Array:
        """Reshape [length, hidden] to [heads, length, head_dim]."""
        return x.reshape(len(x), self.config.num_heads, self.config.head_dim).transpose(1, 0, 2)

    def visible(self, layer: int, length: int) -> NDArray[np.bool_]:
        """Return bool [length, length]: whether a row's position attends to a column's."""
        distance = np.arange(length)[:, None] - np.arange(length)
        if self.config.layer_kinds[layer] == "global":
            return distance >= 0
        return (distance >= 0) & (distance < self.config.window_size)

    def mlp(self, name: str, x: Array) -> Array:
        function = FUNCTIONS[ACTIVATIONS[self.config.activation_function]]
        return self.linear(f"{name}.c_proj", function(self.linear(f"{name}.c_fc", x)))
