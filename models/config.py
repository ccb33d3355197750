"""A GPT-Neo's config, read from the config.json of a checkpoint or of an exported model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gptneo_onnx.models.activations import ACTIVATIONS
from gptneo_onnx.models.config_names import TransformersNames
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.labels import Labels

LayerKind = Literal["global", "local"]
LAYER_KINDS: tuple[LayerKind, ...] = ("global", "local")

MAX_LAYERS = 1024
MAX_SIZE = 2**24
# What ONNX Runtime's GroupQueryAttention takes as sizes of heads.
HEAD_MULTIPLE = 8
MAX_EPSILON = 1e6

# Other names that transformers takes (GPTNeoConfig.attribute_map); where both stand, these count.
ALIASES = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
# The end token and the first token of a config.json that names none.
DEFAULT_TOKEN = 50256
DEFAULT_VOCAB_SIZE = 50257


@dataclass(frozen=True)
class GPTNeoConfig(TransformersNames):
    """The fields of transformers.GPTNeoConfig that the model's computation depends on.

    What follows from them is there too, by transformers' names.

    Attributes:
        vocab_size: rows of the token embedding and columns of the logits.
        hidden_size: width of the residual stream: num_heads x head_dim.
        num_heads: attention heads per layer.
        layer_kinds: one kind per layer. "global" attends to every earlier position, "local" to the
            last window_size positions, the current one included.
        window_size: positions that a local layer attends to.
        max_position_embeddings: the longest sequence, in tokens.
        intermediate_size: width of the MLP.
        activation_function: a key of ACTIVATIONS.
        layer_norm_epsilon: added to the variance in every layer normalization.
        tie_word_embeddings: whether the token embedding is also the logits' weight.
        bos_token_id, eos_token_id, pad_token_id: token ids, or None.
        names_pad_token: whether config.json names a pad token, of the vocabulary or not.
        labels: those of classification heads.
    """

    vocab_size: int
    hidden_size: int
    num_heads: int
    layer_kinds: tuple[LayerKind, ...]
    window_size: int
    max_position_embeddings: int
    intermediate_size: int
    activation_function: str
    layer_norm_epsilon: float
    tie_word_embeddings: bool
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    names_pad_token: bool
    labels: Labels

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def cache_head_dim(self) -> int:
        """The size of heads in fused and genai graphs and their caches: a multiple of 8.

        GroupQueryAttention takes no others. The numbers from head_dim on are zeros.
        """
        return -(-self.head_dim // HEAD_MULTIPLE) * HEAD_MULTIPLE

    @property
    def window_capacity(self) -> int:
        """Rows of a local layer's cache: window_size, but at most max_position_embeddings."""
        return min(self.window_size, self.max_position_embeddings)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "config.json") -> "GPTNeoConfig":
        """Read and check the contents of a config.json.

        Raises:
            ModelFileError: another architecture, or a field that is missing or out of range.
        """
        return _Reader(values, source).config()

    @classmethod
    def from_file(cls, path: Path) -> "GPTNeoConfig":
        """Read a config.json; raises ModelFileError as from_dict does, or if it cannot be read."""
        return cls.from_dict(read_json_object(path, max_bytes=1024 * 1024), str(path))


class _Reader:
    """Normalises a config.json once, so that no later code needs a default or a check."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.given = values
        self.values = without_aliases(values)
        self.source = source

    def config(self) -> GPTNeoConfig:
        self.check_architecture()
        hidden_size = self.integer("hidden_size", 2048)
        num_heads = self.integer("num_heads", 16)
        if hidden_size % num_heads:
            raise self.error(
                f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}"
            )
        vocab_size = self.integer("vocab_size", DEFAULT_VOCAB_SIZE)
        layer_kinds = self.layer_kinds()
        intermediate = self.values.get("intermediate_size")
        return GPTNeoConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_heads=num_heads,
            layer_kinds=layer_kinds,
            window_size=self.window_size(layer_kinds),
            max_position_embeddings=self.integer("max_position_embeddings", 2048),
            intermediate_size=(
                4 * hidden_size if intermediate is None else self.integer("intermediate_size", 0)
            ),
            activation_function=self.activation(),
            layer_norm_epsilon=self.epsilon(),
            tie_word_embeddings=self.boolean("tie_word_embeddings", True),
            bos_token_id=self.token("bos_token_id", vocab_size, DEFAULT_TOKEN),
            eos_token_id=self.token("eos_token_id", vocab_size, DEFAULT_TOKEN),
            pad_token_id=self.token("pad_token_id", vocab_size, None),
            names_pad_token=self.values.get("pad_token_id") is not None,
            labels=Labels.from_dict(self.values, self.source),
        )

    def check_architecture(self) -> None:
        """Refuse other models; a config.json without model_type may name a GPT-Neo's class."""
        architectures = self.values.get("architectures")
        first = architectures[0] if isinstance(architectures, list) and architectures else None
        names_class = isinstance(first, str) and first.startswith(("GPTNeoFor", "GPTNeoModel"))
        if "model_type" not in self.values and names_class:
            return
        model_type = self.values.get("model_type")
        if model_type != "gpt_neo":
            raise self.error(f"model_type is {shown(model_type)}; only 'gpt_neo' can be used")
        if self.values.get("pruned_heads"):
            pruned = shown(self.values["pruned_heads"])
            raise self.error(f"pruned_heads is {pruned}; a GPT-Neo's heads cannot be pruned")

    def error(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self.source}: {what}")

    def integer(self, name: str, default: int) -> int:
        return self.checked(name, self.values.get(name, default))

    def checked(self, name: str, value: Any) -> int:
        if type(value) is not int or not 1 <= value <= MAX_SIZE:
            raise self.error(
                f"{name} is {shown(value)}; a whole number from 1 to {MAX_SIZE} is allowed"
            )
        return value

    def window_size(self, layer_kinds: tuple[LayerKind, ...]) -> int:
        """Return the window; one that no layer has may be anything.

        One beyond MAX_SIZE is MAX_SIZE, as no context is longer; PyTorch takes up to 2**63 - 1.
        """
        value = self.values.get("window_size", 256)
        is_used = "local" in layer_kinds
        if not is_used and (type(value) is not int or not 1 <= value <= MAX_SIZE):
            return 256
        if type(value) is int and MAX_SIZE < value < 2**63:
            value = MAX_SIZE
        return self.checked("window_size", value)

    def boolean(self, name: str, default: bool) -> bool:
        value = self.values.get(name, default)
        if value is None or (type(value) is int and value in (0, 1)):
            return bool(value)  # as Python's truth values, which transformers goes by
        if type(value) is not bool:
            raise self.error(f"{name} is {shown(value)}; true or false is allowed")
        return value

    def token(self, name: str, vocab_size: int, default: int | None) -> int | None:
        value = self.values.get(name, default)
        if value is None:
            return None
        # transformers allows several end tokens; generation reads them all
        several = value if isinstance(value, list) and value else [value]
        ids = [int(each) if is_whole_float(each) else each for each in several]
        if any(type(each) is not int for each in ids):
            raise self.error(f"{name} is {shown(value)}; a token id below {vocab_size} is allowed")
        # Negative ids, and ids beyond the vocabulary as shrunk models have them, match no token.
        return ids[0] if 0 <= ids[0] < vocab_size else None

    def epsilon(self) -> float:
        value = self.values.get("layer_norm_epsilon", 1e-5)
        if type(value) not in (int, float) or not 0 <= value <= MAX_EPSILON:
            raise self.error(
                f"layer_norm_epsilon is {shown(value)}; a number from 0 to {MAX_EPSILON:g} is "
                "allowed"
            )
        return float(value)

    def activation(self) -> str:
        value = self.values.get("activation_function", "gelu_new")
        if not isinstance(value, str) or value not in ACTIVATIONS:
            allowed = ", ".join(sorted(ACTIVATIONS))
            raise self.error(f"activation_function is {shown(value)}; one of {allowed} is allowed")
        return value

    def layer_kinds(self) -> tuple[LayerKind, ...]:
        """Return the kinds that transformers goes by: attention_layers, else attention_types.

        Lists that are longer than the number of layers can come with num_hidden_layers: the first
        ones count.
        """
        num_layers = self.integer("num_layers", 24)
        if num_layers > MAX_LAYERS:
            raise self.error(f"num_layers is {num_layers}; at most {MAX_LAYERS} are allowed")
        kinds = self.listed_kinds()
        if kinds is None or "attention_types" in self.values:
            expanded = self.expanded_kinds(num_layers)
            kinds = expanded if kinds is None else kinds
        if len(kinds) < num_layers:
            raise self.error(
                f"attention_layers names {len(kinds)} layers, but num_layers is {num_layers}"
            )
        return kinds[:num_layers]

    def listed_kinds(self) -> tuple[LayerKind, ...] | None:
        """Return what attention_layers lists; None if it is missing."""
        listed = self.values.get("attention_layers")
        if listed is None:
            return None
        if not isinstance(listed, list) or any(kind not in LAYER_KINDS for kind in listed):
            raise self.error(
                f"attention_layers is {shown(listed)}; a list of one kind for each layer is "
                f"allowed, {' or '.join(LAYER_KINDS)}"
            )
        return tuple(listed)

    def expanded_kinds(self, num_layers: int) -> tuple[LayerKind, ...]:
        """Return what attention_types makes: as many as num_layers says, by either of its names."""
        declared = num_layers
        if "num_hidden_layers" in self.given:
            declared = self.checked("num_layers", self.given.get("num_layers", 24))
        types = self.values.get("attention_types", [[["global", "local"], declared // 2]])
        kinds = self.expand(types)
        if len(kinds) not in (declared, num_layers) or len(kinds) < num_layers:
            raise self.error(
                f"attention_types makes {len(kinds)} layers, but num_layers is {num_layers}"
            )
        return kinds

    def expand(self, types: Any) -> tuple[LayerKind, ...]:
        """Expand [[["global", "local"], 2]] to global, local, global, local."""
        kinds: list[LayerKind] = []
        try:
            for pattern, count in types:
                if type(count) is not int or not 0 <= count <= MAX_LAYERS:
                    raise ValueError
                if not isinstance(pattern, list) or any(
                    kind not in LAYER_KINDS for kind in pattern
                ):
                    raise ValueError
                if len(kinds) + len(pattern) * count > MAX_LAYERS:
                    raise ValueError
                kinds.extend(pattern * count)
        except (TypeError, ValueError) as error:
            raise self.error(
                f"attention_types is {shown(types)}; a list of [[kinds], count] is allowed, "
                f"each kind one of {', '.join(LAYER_KINDS)}, at most {MAX_LAYERS} layers in all"
            ) from error
        return tuple(kinds)


def without_aliases(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a config.json with each alias replaced by the name it stands for."""
    renamed = {ALIASES[name]: value for name, value in values.items() if name in ALIASES}
    return {name: value for name, value in values.items() if name not in ALIASES} | renamed


def without_contradictions(values: Mapping[str, Any], config: GPTNeoConfig) -> dict[str, Any]:
    """Return the contents of a config.json that has aliases, for readers that do not know them."""
    renamed = without_aliases(values)
    kinds = list(config.layer_kinds)
    return renamed | {"attention_types": [[kinds, 1]], "attention_layers": kinds}


def is_whole_float(value: Any) -> bool:
    """Tell whether a value is a float such as 3.0, which transformers takes for some integers."""
    return isinstance(value, float) and value.is_integer()
