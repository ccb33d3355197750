"""Every weight of the model: its name, its order in the file, and the tensors it is made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.graphs.float_format import table_group
from gptneo_onnx.export.graphs.formats import weight_formats
from gptneo_onnx.export.graphs.head_padding import heads_layer, padded, padded_tensor
from gptneo_onnx.export.graphs.layers import Layer
from gptneo_onnx.export.weights.conversion import Floats
from gptneo_onnx.export.weights.weight_group import WeightGroup
from gptneo_onnx.models.graph import EMBEDDING, POSITIONS, NumberFormat
from gptneo_onnx.models.tasks import LM_HEAD, Task

FINAL_NORM = "ln_f"


@dataclass(frozen=True)
class WeightSource:
    """What weights are computed from.

    Attributes:
        checkpoint: their tensors.
        moments: by the names of linear layers' weights, the second moments [inputs, inputs] of the
            layers' inputs over a text (see Layer); empty without a text.
    """

    checkpoint: Checkpoint
    moments: Mapping[str, Floats] = field(default_factory=dict)


def model_weights(
    checkpoint: Checkpoint,
    numbers: NumberFormat,
    head_sizes: Sequence[int],
    task: Task,
    calibrated: Iterator[WeightSource] | None = None,
) -> Iterator[WeightGroup]:
    """Yield every weight of the model, in the order in which they are stored.

    Args:
        checkpoint: has every tensor.
        numbers: what the weights are stored as.
        head_sizes: the sizes of heads that the graphs multiply by (DecoderGraph.head_size), each
            once. Attention layers are stored for each.
        task: whose head comes last.
        calibrated: the source of each block in turn, where that is not the checkpoint as it is. The
            next one is asked for when the weights of the block before were taken.

    Raises:
        ModelFileError: a tensor is missing, or has another shape than the config says.
    """
    config = checkpoint.config
    outside = _Groups(WeightSource(checkpoint), numbers, head_sizes)
    yield outside.vocabulary(EMBEDDING)
    yield outside.table(POSITIONS, (config.max_position_embeddings, config.hidden_size))
    for layer in range(config.num_layers):
        source = next(calibrated) if calibrated else WeightSource(checkpoint)
        for group in _Groups(source, numbers, head_sizes).block(f"h.{layer}"):
            yield replace(group, is_calibrated=calibrated is not None)
            del group  # with its moments, as below
        del source  # its moments, before those of the next block are computed
    yield from outside.norm(FINAL_NORM)
    if task.head.tensors:
        yield from outside.head(task)
    elif task.is_generation and not config.tie_word_embeddings:
        yield outside.vocabulary(LM_HEAD)


class _Groups:
    """The weight groups of a source's tensors."""

    def __init__(
        self, source: WeightSource, numbers: NumberFormat, head_sizes: Sequence[int]
    ) -> None:
        self.source = source
        self.head_sizes = head_sizes
        self.config = source.checkpoint.config
        self.tensor = source.checkpoint.tensor
        self.formats = weight_formats(numbers, self.config.hidden_size)
        self.data_type = numbers.activations

    def block(self, block: str) -> list[WeightGroup]:
        hidden, intermediate = self.config.hidden_size, self.config.intermediate_size
        return [
            *self.norm(f"{block}.ln_1"),
            *self.attention(f"{block}.attn.attention"),
            *self.norm(f"{block}.ln_2"),
            *self.biased(f"{block}.mlp.c_fc", hidden, intermediate),
            *self.biased(f"{block}.mlp.c_proj", intermediate, hidden),
        ]

    def vocabulary(self, name: str) -> WeightGroup:
        table = self.tensor(name, (self.config.vocab_size, self.config.hidden_size))
        return self.formats.embedding.group(name, table)

    def head(self, task: Task) -> list[WeightGroup]:
        """Return a head's weight and bias, which are never quantized: they are small."""
        assert task.head.tensors
        columns, hidden = task.columns(self.config), self.config.hidden_size
        shapes = [(columns, hidden), (columns,)]
        return [
            self.table(name, shape)
            for name, shape in zip(task.head.tensors.names, shapes, strict=False)
        ]

    def norm(self, name: str) -> list[WeightGroup]:
        shape = (self.config.hidden_size,)
        return [self.table(f"{name}.{part}", shape) for part in ("weight", "bias")]

    def attention(self, attention: str) -> list[WeightGroup]:
        """Query, key and value as one layer, and the output projection."""
        layers = [
            layer
            for size in self.head_sizes
            for layer in (self.qkv(attention, size), self.out_proj(attention, size))
        ]
        bias = self.table(f"{attention}.out_proj.bias", (self.config.hidden_size,))
        return [*(self.formats.linear.group(layer) for layer in layers), bias]

    def qkv(self, attention: str, head_size: int) -> Layer:
        """Return the layer of 3 * num_heads * head_size outputs."""
        hidden = self.config.hidden_size
        matrices = [
            padded_tensor(
                self.tensor(f"{attention}.{part}_proj.weight", (hidden, hidden)),
                self.config,
                head_size,
                axis=0,
            )
            for part in "qkv"
        ]
        name = f"{attention}.qkv_proj"
        moments = self.moments(f"{name}.weight")
        return Layer(f"{heads_layer(name, self.config, head_size)}.weight", matrices, moments)

    def out_proj(self, attention: str, head_size: int) -> Layer:
        """Return the layer of num_heads * head_size inputs."""
        name, hidden = f"{attention}.out_proj", self.config.hidden_size
        weight = self.tensor(f"{name}.weight", (hidden, hidden))
        moments = self.moments(f"{name}.weight")
        if moments is not None:
            for axis in (0, 1):
                moments = padded(moments, self.config, head_size, axis)
        return Layer(
            f"{heads_layer(name, self.config, head_size)}.weight",
            [padded_tensor(weight, self.config, head_size, axis=1)],
            moments,
        )

    def moments(self, weight: str) -> Floats | None:
        """Return a weight's moments; copies, where layers of several sizes overwrite them."""
        moments = self.source.moments.get(weight)
        return moments if moments is None or len(self.head_sizes) == 1 else moments.copy()

    def biased(self, name: str, inputs: int, outputs: int) -> list[WeightGroup]:
        weight = f"{name}.weight"
        matrix = self.tensor(weight, (outputs, inputs))
        layer = Layer(weight, [matrix], self.source.moments.get(weight))
        return [self.formats.linear.group(layer), self.table(f"{name}.bias", (outputs,))]

    def table(self, name: str, shape: tuple[int, ...]) -> WeightGroup:
        return table_group(name, self.tensor(name, shape), self.data_type)
