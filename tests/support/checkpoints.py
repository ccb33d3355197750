"""Writes small random checkpoints in Hugging Face layout, with peaked attention.

Weights drawn as at initialization make attention nearly uniform, which hides wrong masks and
windows. Here the scores' standard deviation is `peak`, so that a few positions get nearly all of
the weight.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[Any]]

# Activation functions that graphs make of a few operators.
FEW_OPERATORS = ("relu2", "relu6", "leaky_relu", "gelu_10", "mish", "laplace", "linear")


@dataclass(frozen=True)
class Shape:
    """The dimensions of a GPT-Neo to draw; named as in config.json, except layers and peak."""

    vocab_size: int = 301
    hidden_size: int = 32
    num_heads: int = 4
    layers: tuple[str, ...] = ("global", "local")
    window_size: int = 7
    max_position_embeddings: int = 64
    intermediate_size: int | None = None
    activation_function: str = "gelu_new"
    tie_word_embeddings: bool = True
    peak: float = 2.0

    def but(self, **changes: Any) -> "Shape":
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["GPTNeoForCausalLM"],
            "model_type": "gpt_neo",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_heads": self.num_heads,
            "num_layers": len(self.layers),
            "attention_types": [[list(self.layers), 1]],
            "window_size": self.window_size,
            "max_position_embeddings": self.max_position_embeddings,
            "intermediate_size": self.intermediate_size,
            "activation_function": self.activation_function,
            "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": 0,
            "eos_token_id": 0,
        }


def draw_tensors(shape: Shape, random: np.random.Generator) -> Tensors:
    """Draw every weight, float32, by its name in a state dict."""
    hidden, vocab = shape.hidden_size, shape.vocab_size
    inner = shape.intermediate_size or 4 * hidden

    def normal(*size: int, scale: float = 0.1, mean: float = 0.0) -> NDArray[np.float32]:
        return (mean + scale * random.standard_normal(size)).astype(np.float32)

    # Normalized inputs have unit variance: this scale gives scores a standard deviation of peak.
    score_scale = (shape.peak / np.sqrt(hidden // shape.num_heads)) ** 0.5 * hidden**-0.5
    tensors: Tensors = {
        "transformer.wte.weight": normal(vocab, hidden, scale=0.5),
        "transformer.wpe.weight": normal(shape.max_position_embeddings, hidden, scale=0.3),
        "transformer.ln_f.weight": normal(hidden, mean=1.0),
        "transformer.ln_f.bias": normal(hidden),
    }
    for layer in range(len(shape.layers)):
        block = f"transformer.h.{layer}"
        attention = f"{block}.attn.attention"
        for norm in ("ln_1", "ln_2"):
            tensors[f"{block}.{norm}.weight"] = normal(hidden, mean=1.0)
            tensors[f"{block}.{norm}.bias"] = normal(hidden)
        for part, scale in (("q", score_scale), ("k", score_scale), ("v", hidden**-0.5)):
            tensors[f"{attention}.{part}_proj.weight"] = normal(hidden, hidden, scale=scale)
        for linear, outputs, inputs in (
            (f"{attention}.out_proj", hidden, hidden),
            (f"{block}.mlp.c_fc", inner, hidden),
            (f"{block}.mlp.c_proj", hidden, inner),
        ):
            tensors[f"{linear}.weight"] = normal(outputs, inputs, scale=inputs**-0.5)
            tensors[f"{linear}.bias"] = normal(outputs)
    if not shape.tie_word_embeddings:
        tensors["lm_head.weight"] = normal(vocab, hidden, scale=0.5)
    return tensors


def write_checkpoint(
    directory: Path, shape: Shape, random: np.random.Generator, **config: Any
) -> Path:
    """Write config.json, with entries overridden by `config`, and model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(shape.config | config))
    save_file(draw_tensors(shape, random), directory / "model.safetensors", {"format": "pt"})
    return directory
