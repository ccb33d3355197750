"""The fused graph: ONNX Runtime's own operators, eight nodes a layer in float16.

    ids, positions -> Gather + Gather -> Add -> LayerNormalization
    each layer     -> MatMul (query, key, value) -> GroupQueryAttention -> MatMul
                   -> SkipLayerNormalization -> MatMul -> FastGelu -> MatMul
                   -> SkipLayerNormalization
    rows           -> GatherND -> Gemm with the embedding, or with a task's head -> logits

In float32, two Adds and a LayerNormalization take the place of SkipLayerNormalization.
Where weights are quantized, other nodes take the place of MatMul, Gather and Gemm (formats.py).
With w8a8, activations outside of attention are [batch * sequence, hidden]: the first axis then has
an index for each row, and each row a scale.

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
Model: transformers.models.gpt_neo.modeling_gpt_neo
"""

import numpy as np

from gptneo_onnx.export.graphs.builder import MICROSOFT
from gptneo_onnx.export.graphs.decoder import DecoderGraph
from gptneo_onnx.export.graphs.head_padding import heads_layer
from gptneo_onnx.export.graphs.layers import Product
from gptneo_onnx.export.graphs.model_weights import FINAL_NORM
from gptneo_onnx.export.graphs.w8a8_format import ROW_COUNT
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.activations import ACTIVATIONS
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import CacheSpec, DataType, GraphContract, NumberFormat

# Lower bounds of activation functions, rounded down, for formats that quantize their results.
_MINIMUM = {"gelu_tanh": -0.171, "gelu": -0.171, "quick_gelu": -0.164, "silu": -0.279}


class FusedGraph(DecoderGraph):
    """The graph for ONNX Runtime, driven by this project's runtime or by others."""

    logits = names.LOGITS
    has_windowed_caches = True

    def __init__(
        self, config: GPTNeoConfig, contract: GraphContract, numbers: NumberFormat
    ) -> None:
        super().__init__(config, contract, numbers)
        self.is_float32 = numbers.activations is DataType.FLOAT32
        self.is_flat = self.linear.takes_rows

    @staticmethod
    def head_size(config: GPTNeoConfig) -> int:
        return config.cache_head_dim

    def build(self) -> None:
        residual = self.embed()
        normed = self.layer_norm("h.0.ln_1", residual)
        for layer, cache in enumerate(self.contract.caches):
            self.output_hidden_states(layer, residual)
            block = f"h.{layer}"
            attended = self.attention(layer, cache, normed)
            normed, residual = self.skip_layer_norm(
                f"{block}.ln_2", attended, residual, f"{block}.attn.attention.out_proj.bias"
            )
            projected = self.mlp(f"{block}.mlp", normed)
            is_last = layer + 1 == self.config.num_layers
            next_norm = FINAL_NORM if is_last else f"h.{layer + 1}.ln_1"
            normed, residual = self.skip_layer_norm(
                next_norm, projected, residual, f"{block}.mlp.c_proj.bias"
            )
        self.output_hidden_states(self.config.num_layers, normed)
        if self.contract.results:
            self.output_logits(self.unflattened(normed, self.config.hidden_size))

    def embed(self) -> str:
        ids, positions = (self.flattened(name) for name in (names.INPUT_IDS, names.POSITION_IDS))
        if self.is_flat:
            self.node("Shape", [ids], ROW_COUNT)
        tokens = self.embedding.fused_rows(self.graph, names.EMBEDDING, ids, "token_embeddings")
        positions = self.node("Gather", [names.POSITIONS, positions], "position_embeddings")
        return self.node("Add", [tokens, positions], "embeddings")

    def flattened(self, x: str, *width: int) -> str:
        """Reshape [batch, sequence, *width] to [batch * sequence, *width] in a flat graph."""
        if not self.is_flat:
            return x
        shape = self.graph.constant(f"flat.{len(width)}", np.array([-1, *width]))
        return self.node("Reshape", [x, shape], f"{x}.flat")

    def unflattened(self, x: str, width: int) -> str:
        """Reshape [batch * sequence, width] to [batch, sequence, width], if this graph is flat."""
        if not self.is_flat:
            return x
        output = f"{x}.unflat"
        if self.graph.has(output):
            return output
        shape = f"unflat.{width}"
        if not self.graph.has(shape):
            if not self.graph.has("batch_and_sequence"):
                self.node("Shape", [names.INPUT_IDS], "batch_and_sequence")
            last = self.graph.constant(f"width.{width}", np.array([width]))
            self.node("Concat", ["batch_and_sequence", last], shape, axis=0)
        return self.node("Reshape", [x, shape], output)

    def skip_layer_norm(self, norm: str, x: str, skip: str, bias: str) -> tuple[str, str]:
        """Add x, bias and skip; returns the sum's layer normalization, and the sum (residual)."""
        residual = f"{norm}.residual"
        if self.is_float32:
            # Float32 graphs are for CPUs, where this is four times as fast as the fused operator.
            biased = self.node("Add", [x, bias], f"{norm}.biased")
            self.node("Add", [biased, skip], residual)
            return self.layer_norm(norm, residual), residual
        self.node(
            "SkipLayerNormalization",
            [x, skip, f"{norm}.weight", f"{norm}.bias", bias],
            [norm, "", "", residual],
            MICROSOFT,
            epsilon=self.config.layer_norm_epsilon,
        )
        return norm, residual

    def attention(self, layer: int, cache: CacheSpec, x: str) -> str:
        attention = f"h.{layer}.attn.attention"
        hidden, size = self.config.hidden_size, self.head_size(self.config)
        width = self.config.num_heads * size
        qkv_proj, out_proj = (
            heads_layer(f"{attention}.{layer}", self.config, size)
            for layer in ("qkv_proj", "out_proj")
        )
        qkv = self.multiplied(x, qkv_proj, f"{attention}.qkv", hidden, 3 * width)
        qkv = self.unflattened(qkv, 3 * width)
        past = [spec.name for spec in cache.past]
        present = [spec.name for spec in cache.present]
        window: dict[str, int] = {}
        if self.config.layer_kinds[layer] == "local":
            window = {"local_window_size": self.config.window_capacity}
            if self.has_windowed_caches:
                window["sliding_window_cache"] = 1
        attended = self.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, names.SEQLENS_K, names.TOTAL_SEQUENCE_LENGTH],
            [f"{attention}.attended", *present],
            MICROSOFT,
            num_heads=self.config.num_heads,
            kv_num_heads=self.config.num_heads,
            scale=1.0,  # GPT-Neo does not divide its scores by sqrt(head_dim)
            do_rotary=0,
            **window,
        )  # [batch, sequence, width]
        attended = self.flattened(attended, width)
        return self.multiplied(attended, out_proj, attention, width, hidden)

    def mlp(self, mlp: str, x: str) -> str:
        hidden, intermediate = self.config.hidden_size, self.config.intermediate_size
        inner = self.multiplied(x, f"{mlp}.c_fc", f"{mlp}.c_fc", hidden, intermediate)
        activated = self.activation(mlp, inner, f"{mlp}.c_fc.bias")
        x_minimum = _MINIMUM.get(ACTIVATIONS[self.config.activation_function])
        return self.multiplied(activated, f"{mlp}.c_proj", mlp, intermediate, hidden, x_minimum)

    def multiplied(
        self,
        x: str,
        layer: str,
        output: str,
        inputs: int,
        outputs: int,
        x_minimum: float | None = None,
    ) -> str:
        """x times a linear layer's weight, without its bias."""
        product = Product(x, f"{layer}.weight", inputs, outputs)
        return self.linear.fused_product(self.graph, product, output, x_minimum)

    def activation(self, mlp: str, x: str, bias: str) -> str:
        function = ACTIVATIONS[self.config.activation_function]
        output = f"{mlp}.activated"
        if function == "gelu_tanh":
            return self.node("FastGelu", [x, bias], output, MICROSOFT)
        if function == "gelu":
            return self.node("BiasGelu", [x, bias], output, MICROSOFT)
        biased = self.node("Add", [x, bias], f"{mlp}.biased")
        if function in ("silu", "quick_gelu"):
            alpha = 1.0 if function == "silu" else 1.702
            return self.node("QuickGelu", [biased], output, MICROSOFT, alpha=alpha)
        return self.plain_activation(function, biased, output)

    def as_output(self, x: str, output: str) -> None:
        self.to_float32(self.unflattened(x, self.config.hidden_size), output)

    def output_logits(self, normed: str) -> None:
        rows = self.node("GatherND", [normed, names.LOGITS_ROWS], "rows")  # [rows, hidden]
        if self.contract.task.head.tensors:
            self.to_float32(self.head_product(rows, "head"), self.logits)
            return
        product = self.vocabulary_product(rows)
        if self.is_float32:
            self.embedding.fused_product(self.graph, product, self.logits)
        else:
            logits = self.embedding.fused_product(self.graph, product, "lm_head")
            self.to_float32(logits, self.logits)

    def to_float32(self, x: str, output: str) -> None:
        if self.is_float32:
            self.node("Identity", [x], output)
        else:
            self.node("Cast", [x], output, to=DataType.FLOAT32.onnx)
