"""The fused graph: ONNX Runtime's own operators, eight nodes a layer.

    ids, positions -> Gather + Gather -> Add -> LayerNormalization
    each layer     -> MatMul (query, key, value) -> GroupQueryAttention -> MatMul
                   -> SkipLayerNormalization -> MatMul -> FastGelu -> MatMul
                   -> SkipLayerNormalization
    rows           -> GatherND -> Gemm with the embedding -> logits

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
Model: transformers.models.gpt_neo.modeling_gpt_neo
"""

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from gptneo_onnx.export.weights import FINAL_NORM, LM_HEAD, GraphWeight
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.config import ACTIVATIONS, GPTNeoConfig
from gptneo_onnx.models.graph import CacheSpec, DataType, GraphContract, TensorSpec
from gptneo_onnx.models.manifest import WEIGHTS_FILE

OPSET = 21
IR_VERSION = 10
MICROSOFT = "com.microsoft"


def build_fused_graph(
    config: GPTNeoConfig,
    contract: GraphContract,
    weights: Sequence[GraphWeight],
    offsets: Mapping[str, int],
) -> ModelProto:
    """The graph, its weights left in WEIGHTS_FILE at the given byte offsets."""
    graph = helper.make_graph(
        _FusedGraph(config, contract, weights[0].data_type).nodes(),
        "gpt_neo",
        [_value_info(spec) for spec in contract.inputs],
        [_value_info(spec) for spec in contract.outputs],
        [_external_initializer(weight, offsets[weight.name]) for weight in weights],
    )
    return helper.make_model(
        graph,
        producer_name="gptneo-onnx",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
    )


def _value_info(spec: TensorSpec) -> ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, spec.data_type.onnx, spec.axes)


def _external_initializer(weight: GraphWeight, offset: int) -> TensorProto:
    tensor = TensorProto(
        name=weight.name,
        data_type=weight.data_type.onnx,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", weight.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


class _FusedGraph:
    """Appends one node after the other; every method returns the names of its results."""

    def __init__(self, config: GPTNeoConfig, contract: GraphContract, data_type: DataType) -> None:
        self.config = config
        self.contract = contract
        self.data_type = data_type
        self.built: list[NodeProto] = []

    def nodes(self) -> list[NodeProto]:
        residual = self.embed()
        normed = self.layer_norm("h.0.ln_1", residual)
        for layer, cache in enumerate(self.contract.caches):
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
        self.output_hidden_states(normed)
        self.output_logits(normed)
        return self.built

    def node(
        self,
        operator: str,
        inputs: list[str],
        outputs: str | list[str],
        domain: str = "",
        **attributes: Any,
    ) -> str:
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = outputs[0]
        self.built.append(
            helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes)
        )
        return name

    def embed(self) -> str:
        tokens = self.node("Gather", [names.EMBEDDING, names.INPUT_IDS], "token_embeddings")
        positions = self.node(
            "Gather", [names.POSITIONS, names.POSITION_IDS], "position_embeddings"
        )
        return self.node("Add", [tokens, positions], "embeddings")

    def layer_norm(self, norm: str, x: str) -> str:
        return self.node(
            "LayerNormalization",
            [x, f"{norm}.weight", f"{norm}.bias"],
            norm,
            epsilon=self.config.layer_norm_epsilon,
        )

    def skip_layer_norm(self, norm: str, x: str, skip: str, bias: str) -> tuple[str, str]:
        """(normed, residual): residual = x + bias + skip, and its layer normalization."""
        residual = f"{norm}.residual"
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
        qkv = self.node(
            "MatMul", [x, f"{attention}.qkv_proj.weight"], f"{attention}.qkv"
        )  # [batch, sequence, 3 * hidden]
        past = [spec.name for spec in cache.past]
        present = [spec.name for spec in cache.present]
        window: dict[str, int] = {}
        if self.config.layer_kinds[layer] == "local":
            window = {"local_window_size": self.config.window_capacity, "sliding_window_cache": 1}
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
        )  # [batch, sequence, hidden]
        return self.node("MatMul", [attended, f"{attention}.out_proj.weight"], attention)

    def mlp(self, mlp: str, x: str) -> str:
        inner = self.node("MatMul", [x, f"{mlp}.c_fc.weight"], f"{mlp}.c_fc")
        activated = self.activation(mlp, inner, f"{mlp}.c_fc.bias")
        return self.node("MatMul", [activated, f"{mlp}.c_proj.weight"], mlp)

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
        return self.node(
            {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[function], [biased], output
        )

    def output_hidden_states(self, normed: str) -> None:
        self.to_float32(normed, names.HIDDEN_STATES)

    def output_logits(self, normed: str) -> None:
        rows = self.node("GatherND", [normed, names.LOGITS_ROWS], "rows")  # [rows, hidden]
        head = names.EMBEDDING if self.config.tie_word_embeddings else LM_HEAD
        if self.data_type is DataType.FLOAT32:
            self.node("Gemm", [rows, head], names.LOGITS, transB=1)
        else:
            self.to_float32(self.node("Gemm", [rows, head], "lm_head", transB=1), names.LOGITS)

    def to_float32(self, x: str, output: str) -> None:
        if self.data_type is DataType.FLOAT32:
            self.node("Identity", [x], output)
        else:
            self.node("Cast", [x], output, to=DataType.FLOAT32.onnx)
