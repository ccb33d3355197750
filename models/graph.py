"""The graph contracts: every input and output of an exported graph, declared once.

An axis is a number or one of the symbolic names below:

- batch: the sequences that take part in this step, one cache slot each
- sequence: the new tokens of each sequence in this step
- rows: the positions that logits are returned for
- capacity: the rows of a global layer's cache, at least the length of the longest sequence
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.tasks import Task

BATCH, SEQUENCE, ROWS, CAPACITY = "batch", "sequence", "rows", "capacity"

INPUT_IDS = "input_ids"
POSITION_IDS = "position_ids"
SEQLENS_K = "seqlens_k"
TOTAL_SEQUENCE_LENGTH = "total_sequence_length"
LOGITS_ROWS, LOGITS, HIDDEN_STATES = "logits_rows", "logits", "hidden_states"

# The fewest weights that share a scale: what MatMulNBits and GatherBlockQuantized take.
LEAST_BLOCK = 16

EMBEDDING, POSITIONS = "wte.weight", "wpe.weight"


class DataType(Enum):
    """An element type by its name; `onnx` is its number in onnx.TensorProto.DataType."""

    BOOL = "bool"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    UINT4 = "uint4"
    UINT8 = "uint8"
    INT8 = "int8"
    INT32 = "int32"
    INT64 = "int64"

    @property
    def onnx(self) -> int:
        return _ONNX_TYPES[self.value]

    @property
    def bits(self) -> int:
        """Bits of one element; two elements of 4 bits share a byte."""
        return _BITS[self.value]

    @property
    def itemsize(self) -> int:
        """Bytes of one element; the type must have at least 8 bits."""
        assert self.bits >= 8
        return self.bits // 8


_ONNX_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "bfloat16": 16, "uint4": 21,
}  # fmt: skip
_BITS = {
    "uint4": 4, "bool": 8, "uint8": 8, "int8": 8, "float16": 16, "bfloat16": 16, "float32": 32,
    "int32": 32, "int64": 64,
}  # fmt: skip


# The names that users write for the types that activations may have.
ACTIVATION_NAMES = {DataType.FLOAT32: "fp32", DataType.FLOAT16: "fp16", DataType.BFLOAT16: "bf16"}


class Precision(Enum):
    """How the weights of linear layers and the embedding are stored.

    - int8, int4: in blocks along the inputs, each block with its scale
    - w8a8: 7 or 8 bits with a scale for each output, multiplied by activations of 8 bits with a
      scale for each row
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    W8A8 = "w8a8"
    INT4 = "int4"

    @property
    def activations(self) -> tuple[DataType, ...]:
        """The types that activations, cache and all other weights may have, the default first."""
        match self:
            case Precision.FP16:
                return (DataType.FLOAT16,)
            case Precision.BF16:
                return (DataType.BFLOAT16,)
            case Precision.INT8 | Precision.INT4:
                return (DataType.FLOAT32, DataType.FLOAT16, DataType.BFLOAT16)
            case Precision.FP32 | Precision.W8A8:
                return (DataType.FLOAT32,)

    @property
    def is_quantized(self) -> bool:
        return self in (Precision.INT8, Precision.W8A8, Precision.INT4)


@dataclass(frozen=True)
class NumberFormat:
    """The number types of a graph.

    Attributes:
        precision: how the weights of linear layers and the embedding are stored.
        activations: the type of activations, cache and all other weights.
        reduce_range: with w8a8, whether weights have 7 bits: then no processor saturates sums.
    """

    precision: Precision
    activations: DataType
    reduce_range: bool = False

    @classmethod
    def of(cls, precision: Precision, activations: DataType | None = None) -> "NumberFormat":
        """Return the precision with its defaults, or with activations of another type."""
        activations = activations or precision.activations[0]
        return cls(precision, activations, reduce_range=precision is Precision.W8A8)

    @property
    def embedding(self) -> DataType:
        """The type of the embedding's stored elements: 8 bits wherever weights are quantized."""
        return DataType.UINT8 if self.precision.is_quantized else self.activations

    def embedding_width(self, hidden_size: int) -> int:
        """Return the columns of the stored embedding: whole blocks where it is quantized."""
        return whole_blocks(hidden_size) if self.precision.is_quantized else hidden_size


def whole_blocks(inputs: int) -> int:
    """Return the codes that are stored for a row of inputs: the next multiple of LEAST_BLOCK."""
    return -(-inputs // LEAST_BLOCK) * LEAST_BLOCK


@dataclass(frozen=True)
class TensorSpec:
    """A graph input or output: its name, element type and axes."""

    name: str
    data_type: DataType
    axes: tuple[int | str, ...]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the axes as numbers; `sizes` has the sizes of the symbolic axes."""
        return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)


@dataclass(frozen=True)
class CacheSpec:
    """The two cache tensors of one layer, keys and values, as inputs and as outputs.

    All are [batch, heads, rows, head size]: head_dim of the config in portable graphs,
    cache_head_dim in the others.
    """

    past_key: TensorSpec
    past_value: TensorSpec
    present_key: TensorSpec
    present_value: TensorSpec

    @property
    def past(self) -> tuple[TensorSpec, TensorSpec]:
        return self.past_key, self.past_value

    @property
    def present(self) -> tuple[TensorSpec, TensorSpec]:
        return self.present_key, self.present_value


@dataclass(frozen=True)
class GraphContract:
    """All inputs and outputs of a graph, in the graph's order.

    Attributes:
        step_inputs: the inputs besides the caches.
        caches: the caches, layer by layer; empty where a graph neither takes nor gives any.
        results: what the head gives: logits alone, or start_logits and end_logits, or nothing
            where there is no head.
        tables: the weights that ids and positions select rows of; their sizes limit ids and
            positions.
        hidden_states: the outputs that hold them, by layer: layer i is the input of block i, and
            the number of layers stands for the output of the final layer normalization, as in
            transformers.
        takes_past: whether the caches are inputs, too.
        task: what the graph is for.
    """

    step_inputs: tuple[TensorSpec, ...]
    caches: tuple[CacheSpec, ...]
    results: tuple[TensorSpec, ...]
    tables: tuple[TensorSpec, ...]
    hidden_states: Mapping[int, TensorSpec] = field(default_factory=dict)
    takes_past: bool = True
    task: Task = Task.TEXT_GENERATION_WITH_PAST

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        pasts = (spec for cache in self.caches for spec in cache.past if self.takes_past)
        return (*self.step_inputs, *pasts)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        presents = (spec for cache in self.caches for spec in cache.present)
        return (*self.results, *self.hidden_states.values(), *presents)

    @property
    def logits(self) -> TensorSpec:
        """The first result, of graphs that have any."""
        return self.results[0]


def layer_number(layer: object, num_layers: int) -> int:
    """Return the hidden states that a layer's number selects, from 0 to num_layers.

    Negative numbers count from the end, as in transformers' tuple of hidden states.

    Raises:
        InputError: it is not a whole number, or out of range.
    """
    try:
        number = operator.index(layer)  # type: ignore[arg-type]  # `layer` may be anything
        if isinstance(layer, bool) or not -num_layers - 1 <= number <= num_layers:
            raise TypeError
    except TypeError as error:
        raise InputError(
            f"layer is {shown(layer)}; 0 (the embeddings) to {num_layers} (after the last layer) "
            "is allowed, or a negative number from the end"
        ) from error
    return number % (num_layers + 1)


def hidden_states_outputs(
    layers: Iterable[int],
    num_layers: int,
    last: str,
    data_type: DataType,
    axes: tuple[int | str, ...],
) -> dict[int, TensorSpec]:
    """Return the outputs for the hidden states of `layers`; that of num_layers is called `last`."""
    return {
        layer: TensorSpec(
            last if layer == num_layers else f"{HIDDEN_STATES}.{layer}", data_type, axes
        )
        for layer in sorted(layers)
    }


def table_specs(config: GPTNeoConfig, numbers: NumberFormat) -> tuple[TensorSpec, TensorSpec]:
    """Return the tables that token ids and positions select rows of."""
    tokens = config.vocab_size, numbers.embedding_width(config.hidden_size)
    positions = config.max_position_embeddings, config.hidden_size
    return (
        TensorSpec(EMBEDDING, numbers.embedding, tokens),
        TensorSpec(POSITIONS, numbers.activations, positions),
    )


def fused_contract(
    config: GPTNeoConfig,
    numbers: NumberFormat,
    layers: Sequence[int] = (),
    task: Task = Task.TEXT_GENERATION_WITH_PAST,
) -> GraphContract:
    """Return the contract of the graph of ONNX Runtime's fused operators.

    A step takes the new tokens of each sequence, and updates the caches in place: each past is
    bound to the same buffer as its present, and local layers' caches have window_capacity rows.

    - seqlens_k: each sequence's length after this step, minus one
    - total_sequence_length: the greatest length after this step
    - logits_rows: (index into batch, index into sequence) of each row of logits to return
    - logits: over the vocabulary or the labels; for question answering, of the start and of the
      end. A graph for features has neither logits nor logits_rows.
    - hidden_states: the output of the final layer normalization, at every new position
    - hidden_states.N: the input of block N, for each N of `layers`

    Several new tokens for a sequence that is in the cache already need batch 1.
    """
    last, hidden = config.num_layers, (BATCH, SEQUENCE, config.hidden_size)
    columns = task.columns(config)
    return GraphContract(
        step_inputs=(
            TensorSpec(INPUT_IDS, DataType.INT64, (BATCH, SEQUENCE)),
            TensorSpec(POSITION_IDS, DataType.INT64, (BATCH, SEQUENCE)),
            TensorSpec(SEQLENS_K, DataType.INT32, (BATCH,)),
            TensorSpec(TOTAL_SEQUENCE_LENGTH, DataType.INT32, ()),
            *([TensorSpec(LOGITS_ROWS, DataType.INT64, (ROWS, 2))] if columns else []),
        ),
        caches=tuple(
            _cache_spec(config, layer, numbers.activations) for layer in range(config.num_layers)
        ),
        results=(TensorSpec(LOGITS, DataType.FLOAT32, (ROWS, columns)),) if columns else (),
        hidden_states=hidden_states_outputs(
            {*layers, last}, last, HIDDEN_STATES, DataType.FLOAT32, hidden
        ),
        task=task,
        tables=table_specs(config, numbers),
    )


def _cache_spec(config: GPTNeoConfig, layer: int, data_type: DataType) -> CacheSpec:
    is_local = config.layer_kinds[layer] == "local"
    capacity = config.window_capacity if is_local else CAPACITY
    axes = (BATCH, config.num_heads, capacity, config.cache_head_dim)
    return CacheSpec(
        past_key=TensorSpec(f"past_key_values.{layer}.key", data_type, axes),
        past_value=TensorSpec(f"past_key_values.{layer}.value", data_type, axes),
        present_key=TensorSpec(f"present.{layer}.key", data_type, axes),
        present_value=TensorSpec(f"present.{layer}.value", data_type, axes),
    )
