"""The portable graph: standard ONNX operators only, with Optimum's inputs and outputs.

    ids, positions -> Gather + Gather -> Add
    each layer     -> LayerNormalization -> Gemm (query, key, value) -> Split -> attention -> Gemm
                   -> Add -> LayerNormalization -> Gemm -> activation -> Gemm -> Add
    all positions  -> LayerNormalization -> Gemm with the embedding, or with a task's head -> logits

Outside of attention activations are [batch * sequence, hidden], as Gemm takes them. Scores are
float32 and not scaled, as the model has them.

Operators: https://onnx.ai/onnx/operators/
Model: transformers.models.gpt_neo.modeling_gpt_neo
"""

import numpy as np

from gptneo_onnx.export.graphs.decoder import DecoderGraph
from gptneo_onnx.export.graphs.layers import Product
from gptneo_onnx.export.graphs.model_weights import FINAL_NORM
from gptneo_onnx.export.weights.conversion import NUMPY_TYPES
from gptneo_onnx.export.weights.weight_group import WeightSpec
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.activations import ACTIVATIONS
from gptneo_onnx.models.graph import CacheSpec, DataType
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, END_LOGITS, START_LOGITS
from gptneo_onnx.models.tasks import Head

# Added to the scores of masked keys, as transformers does; finite, so that a row of nothing but
# these has no NaN. transformers adds it twice to keys that are masked by distance and by
# attention_mask, which makes minus infinity: with that, rows of padding have its hidden states too.
_MASKED_SCORE = np.finfo(np.float32).min


class PortableGraph(DecoderGraph):
    """The graph for every other stack."""

    def declared(self, weight: WeightSpec) -> WeightSpec:
        return weight.as_portable()

    def build(self) -> None:
        self.shapes()
        self.biases()
        residual = self.embed()
        for layer in range(self.config.num_layers):
            self.output_hidden_states(layer, residual)
            block = f"h.{layer}"
            normed = self.layer_norm(f"{block}.ln_1", residual)
            attended = self.attention(layer, normed)
            residual = self.node("Add", [residual, attended], f"{block}.attended")
            normed = self.layer_norm(f"{block}.ln_2", residual)
            residual = self.node("Add", [residual, self.mlp(f"{block}.mlp", normed)], block)
        normed = self.layer_norm(FINAL_NORM, residual)
        self.output_hidden_states(self.config.num_layers, normed)
        self.output_results(normed)

    def constant(self, name: str, *values: int) -> str:
        """Add a constant int64 [len(values)]."""
        return self.graph.constant(name, np.array(values, np.int64))

    def shapes(self) -> None:
        """Add the shapes of flat hidden states, of heads and of hidden states by text."""
        sizes = self.node("Shape", [names.INPUT_IDS], "batch_and_sequence")
        heads = self.constant("heads", self.config.num_heads, self.config.head_dim)
        self.node("Concat", [sizes, heads], "shape.heads", axis=0)
        is_pooled = self.contract.task.head is Head.SEQUENCE_CLASSIFICATION
        if self.contract.hidden_states or is_pooled:
            hidden = self.constant("hidden", self.config.hidden_size)
            self.node("Concat", [sizes, hidden], "shape.hidden", axis=0)
        self.constant("shape.ids", -1)
        self.constant("shape.flat", -1, self.config.hidden_size)

    def biases(self) -> None:
        """Add what masks scores in global and in local layers, [batch, 1, sequence, total].

        Distances are counted in columns, as in transformers: padding between tokens counts.
        """
        zero, one = (self.graph.constant(str(value), np.int64(value)) for value in (0, 1))
        total = self.node("Shape", [ATTENTION_MASK], "total", start=1, end=2)
        sequence = self.node("Shape", [names.INPUT_IDS], "sequence", start=1, end=2)
        past = self.node("Sub", [total, sequence], "past")
        total, past = (self.node("Squeeze", [size], f"{size}.scalar") for size in (total, past))
        keys = self.node("Range", [zero, total, one], "keys")
        rows = self.node("Range", [past, total, one], "rows")
        column = self.constant("column", 1)
        queries = self.node("Unsqueeze", [rows, column], "queries")
        distance = self.node("Sub", [queries, keys], "distance")  # [sequence, total]
        causal = self.node("GreaterOrEqual", [distance, zero], "causal")
        between = self.constant("between", 1, 2)
        mask = self.node("Cast", [ATTENTION_MASK], "mask", to=DataType.BOOL.onnx)
        tokens = self.node("Unsqueeze", [mask, between], "tokens")  # [batch, 1, 1, total]
        attended = self.node("And", [tokens, causal], "attended")
        shown, hidden, never = (
            self.graph.constant(f"bias.{name}", np.float32(value))
            for name, value in (("shown", 0), ("hidden", _MASKED_SCORE), ("never", -np.inf))
        )
        self.node("Where", [attended, shown, hidden], "bias.within")
        self.node("Where", [attended, hidden, never], "bias.beyond")
        if "global" in self.config.layer_kinds:
            self.node("Where", [causal, "bias.within", "bias.beyond"], "global.bias")
        if "local" in self.config.layer_kinds:
            window = self.graph.constant("window", np.int64(self.config.window_size))
            near = self.node("Less", [distance, window], "near")
            visible = self.node("And", [causal, near], "near_and_causal")
            self.node("Where", [visible, "bias.within", "bias.beyond"], "local.bias")

    def embed(self) -> str:
        if names.POSITION_IDS not in [spec.name for spec in self.contract.step_inputs]:
            # As transformers counts without position_ids: columns, padding included.
            self.node("Expand", ["rows", "batch_and_sequence"], names.POSITION_IDS)
        ids, positions = (
            self.node("Reshape", [name, "shape.ids"], f"{name}.flat")
            for name in (names.INPUT_IDS, names.POSITION_IDS)
        )
        tokens = self.embedding.portable_rows(self.graph, names.EMBEDDING, ids, "token_embeddings")
        positions = self.node("Gather", [names.POSITIONS, positions], "position_embeddings")
        return self.node("Add", [tokens, positions], "embeddings")

    def attention(self, layer: int, x: str) -> str:
        name = f"h.{layer}.attn.attention"
        query, key, value = self.heads(name, x)
        if self.contract.caches:
            key, value = self.appended(self.contract.caches[layer], key, value)
        transposed = self.node("Transpose", [key], f"{name}.k_transposed", perm=[0, 1, 3, 2])
        query, transposed = (
            self.cast(factor, f"{factor}.wide", DataType.FLOAT32) for factor in (query, transposed)
        )
        scores = self.node("MatMul", [query, transposed], f"{name}.scores")
        bias = f"{self.config.layer_kinds[layer]}.bias"
        masked = self.node("Add", [scores, bias], f"{name}.masked")
        weights = self.node("Softmax", [masked], f"{name}.softmax", axis=-1)
        weights = self.cast(weights, f"{name}.weights", self.data_type)
        attended = self.node("MatMul", [weights, value], f"{name}.heads")
        merged = self.node("Transpose", [attended], f"{name}.merged", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [merged, "shape.flat"], f"{name}.attended")
        hidden = self.config.hidden_size
        product = Product(flat, f"{name}.out_proj.weight", hidden, hidden)
        return self.linear.portable_product(self.graph, product, name, f"{name}.out_proj.bias")

    def appended(self, cache: CacheSpec, key: str, value: str) -> list[str]:
        """Give the cache with new keys and values as outputs, and return their names."""
        if not self.contract.takes_past:
            return [
                self.node("Identity", [new], present.name)
                for new, present in zip((key, value), cache.present, strict=True)
            ]
        return [
            self.node("Concat", [past.name, new], present.name, axis=2)
            for new, past, present in zip((key, value), cache.past, cache.present, strict=True)
        ]

    def heads(self, name: str, x: str) -> list[str]:
        """Return query, key and value, each [batch, heads, sequence, head_dim]."""
        hidden = self.config.hidden_size
        product = Product(x, f"{name}.qkv_proj.weight", hidden, 3 * hidden)
        qkv = self.linear.portable_product(self.graph, product, f"{name}.qkv")
        parts = [f"{name}.{part}" for part in "qkv"]
        self.node("Split", [qkv], parts, axis=1, num_outputs=3)
        split = [self.node("Reshape", [part, "shape.heads"], f"{part}_split") for part in parts]
        return [
            self.node("Transpose", [part], f"{part}.heads", perm=[0, 2, 1, 3]) for part in split
        ]

    def cast(self, x: str, output: str, data_type: DataType) -> str:
        """Cast to or from float32, in which scores are; nothing where all activations are."""
        if self.data_type is DataType.FLOAT32:
            return x
        return self.node("Cast", [x], output, to=data_type.onnx)

    def mlp(self, mlp: str, x: str) -> str:
        hidden, inner = self.config.hidden_size, self.config.intermediate_size
        widening = Product(x, f"{mlp}.c_fc.weight", hidden, inner)
        wide = self.linear.portable_product(self.graph, widening, f"{mlp}.c_fc", f"{mlp}.c_fc.bias")
        activated = self.activation(mlp, wide)
        narrowing = Product(activated, f"{mlp}.c_proj.weight", inner, hidden)
        return self.linear.portable_product(self.graph, narrowing, mlp, f"{mlp}.c_proj.bias")

    def activation(self, mlp: str, x: str) -> str:
        function = ACTIVATIONS[self.config.activation_function]
        output = f"{mlp}.activated"
        if function in ("gelu_tanh", "gelu"):
            approximate = "tanh" if function == "gelu_tanh" else "none"
            return self.node("Gelu", [x], output, approximate=approximate)
        if function == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x], f"{mlp}.gate")], output)
        if function == "quick_gelu":
            slope = self.graph.constant("slope", np.array(1.702, NUMPY_TYPES[self.data_type]))
            steep = self.node("Mul", [x, slope], f"{mlp}.steep")
            return self.node("Mul", [x, self.node("Sigmoid", [steep], f"{mlp}.gate")], output)
        return self.plain_activation(function, x, output)

    def as_output(self, x: str, output: str) -> None:
        self.node("Reshape", [x, "shape.hidden"], output)

    def output_results(self, normed: str) -> None:
        match self.contract.task.head:
            case Head.CAUSAL_LM:
                product = self.vocabulary_product(normed)
                flat = self.embedding.portable_product(self.graph, product, "lm_head")
                self.unflattened(flat, names.LOGITS)
            case Head.SEQUENCE_CLASSIFICATION:
                self.head_product(self.pooled(normed), names.LOGITS)
            case Head.TOKEN_CLASSIFICATION:
                self.unflattened(self.head_product(normed, "head"), names.LOGITS)
            case Head.QUESTION_ANSWERING:
                flat = self.head_product(normed, "head")
                self.node("Split", [flat], ["start", "end"], axis=1, num_outputs=2)
                for part, output in (("start", START_LOGITS), ("end", END_LOGITS)):
                    self.node("Reshape", [part, "batch_and_sequence"], output)

    def unflattened(self, flat: str, output: str) -> None:
        """Reshape [batch * sequence, columns] to [batch, sequence, columns]."""
        columns = self.constant("columns", self.contract.task.columns(self.config))
        shape = self.node("Concat", ["batch_and_sequence", columns], "shape.logits", axis=0)
        self.node("Reshape", [flat, shape], output)

    def pooled(self, normed: str) -> str:
        """Return the hidden states [batch, hidden] of each text's last token, as transformers does.

        That is the rightmost one that is not the pad token, whatever attention_mask says. Where
        config.json names no pad token, transformers takes a single text and its last column; here
        several texts can be padded, by attention_mask.
        """
        if self.config.names_pad_token:
            pad_id = self.config.pad_token_id  # None: outside the vocabulary, as no token is
            pad = self.graph.constant("pad", np.int64(-1 if pad_id is None else pad_id))
            is_pad = self.node("Equal", [names.INPUT_IDS, pad], "is_pad")
            tokens = self.node("Not", [is_pad], "is_token")
        else:
            batch = self.node("Shape", [names.INPUT_IDS], "batch", start=0, end=1)
            alone = self.node("Equal", [batch, self.constant("single", 1)], "alone")
            tokens = self.node("Or", ["mask", alone], "is_token")
        tokens = self.node("Cast", [tokens], "is_token.int64", to=DataType.INT64.onnx)
        columns = self.node("Mul", ["keys", tokens], "token_columns")  # [batch, sequence]
        last = self.node("ReduceMax", [columns, self.constant("column", 1)], "last", keepdims=1)
        states = self.node("Reshape", [normed, "shape.hidden"], "states")
        return self.node("GatherND", [states, last], "pooled", batch_dims=1)
