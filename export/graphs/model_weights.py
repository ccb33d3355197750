"""Every weight of the model: its name, its order in the file, and the tensors it is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.graphs.float_format import table_group
from gptneo_onnx.export.graphs.formats import weight_formats
from gptneo_onnx.export.graphs.layers import Layer
from gptneo_onnx.export.weights.conversion import Floats
from gptneo_onnx.export.weights.weight_group import WeightGroup
from gptneo_onnx.models.graph import EMBEDDING, POSITIONS, NumberFormat

FINAL_NORM = "ln_f"
LM_HEAD = "lm_head.weight"


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
    calibrated: Iterator[WeightSource] | None = None,
) -> Iterator[WeightGroup]:
    """Yield every weight of the model, in the order in which they are stored.

    Args:
        checkpoint: has every tensor.
        numbers: what the weights are stored as.
        calibrated: the source of each block in turn, where that is not the checkpoint as it is. The
            next one is asked for when the weights of the block before were taken.

    Raises:
        ModelFileError: a tensor is missing, or has another shape than the config says.
        InputError: the precision's blocks do not fit the model's sizes.
    """
    config = checkpoint.config
    outside = _Groups(WeightSource(checkpoint), numbers)
    yield outside.vocabulary(EMBEDDING)
    yield outside.table(POSITIONS, (config.max_position_embeddings, config.hidden_size))
    for layer in range(config.num_layers):
        source = next(calibrated) if calibrated else WeightSource(checkpoint)
        yield from _Groups(source, numbers).block(f"h.{layer}")
        del source  # its moments, before those of the next block are computed
    yield from outside.norm(FINAL_NORM)
    if not config.tie_word_embeddings:
        yield outside.vocabulary(LM_HEAD)


class _Groups:
    """The weight groups of a source's tensors."""

    def __init__(self, source: WeightSource, numbers: NumberFormat) -> None:
        self.source = source
        self.config = source.checkpoint.config
        self.tensor = source.checkpoint.tensor
        self.formats = weight_formats(numbers, self.config.hidden_size)
        self.data_type = numbers.activations

    def block(self, block: str) -> list[WeightGroup]:
        hidden, intermediate = self.config.hidden_size, self.config.intermediate_size
        attention = f"{block}.attn.attention"
        return [
            *self.norm(f"{block}.ln_1"),
            self.qkv(attention),
            *self.biased(f"{attention}.out_proj", hidden, hidden),
            *self.norm(f"{block}.ln_2"),
            *self.biased(f"{block}.mlp.c_fc", hidden, intermediate),
            *self.biased(f"{block}.mlp.c_proj", intermediate, hidden),
        ]

    def vocabulary(self, name: str) -> WeightGroup:
        table = self.tensor(name, (self.config.vocab_size, self.config.hidden_size))
        return self.formats.embedding.group(name, table)

    def norm(self, name: str) -> list[WeightGroup]:
        shape = (self.config.hidden_size,)
        return [self.table(f"{name}.{part}", shape) for part in ("weight", "bias")]

    def qkv(self, attention: str) -> WeightGroup:
        """Query, key and value as one layer of 3 * hidden outputs."""
        hidden = self.config.hidden_size
        projections = [f"{attention}.{part}_proj.weight" for part in "qkv"]
        return self.layer(f"{attention}.qkv_proj.weight", projections, (hidden, hidden))

    def biased(self, name: str, inputs: int, outputs: int) -> list[WeightGroup]:
        weight = f"{name}.weight"
        return [
            self.layer(weight, [weight], (outputs, inputs)),
            self.table(f"{name}.bias", (outputs,)),
        ]

    def layer(self, weight: str, tensors: list[str], shape: tuple[int, int]) -> WeightGroup:
        matrices = [self.tensor(name, shape) for name in tensors]
        layer = Layer(weight, matrices, self.source.moments.get(weight))
        return self.formats.linear.group(layer)

    def table(self, name: str, shape: tuple[int, ...]) -> WeightGroup:
        return table_group(name, self.tensor(name, shape), self.data_type)
