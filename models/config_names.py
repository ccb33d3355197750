"""The names of transformers.GPTNeoConfig that follow from a GPTNeoConfig's fields."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from gptneo_onnx.models.labels import Labels


class TransformersNames:
    """Attributes and methods of transformers.GPTNeoConfig, for a class that has the fields."""

    model_type = "gpt_neo"
    is_encoder_decoder = False

    num_heads: int
    layer_kinds: tuple[Literal["global", "local"], ...]
    labels: Labels

    @property
    def num_layers(self) -> int:
        return len(self.layer_kinds)

    @property
    def num_hidden_layers(self) -> int:
        """Another name of num_layers."""
        return self.num_layers

    @property
    def num_attention_heads(self) -> int:
        """Another name of num_heads."""
        return self.num_heads

    @property
    def attention_layers(self) -> list[str]:
        """The kind of each layer."""
        return [*self.layer_kinds]

    @property
    def attention_types(self) -> list[list[Any]]:
        """The kinds as [[pattern, repetitions]], with the shortest pattern that repeats."""
        kinds = self.attention_layers
        for length in range(1, len(kinds) + 1):
            times, rest = divmod(len(kinds), length)
            if not rest and kinds[:length] * times == kinds:
                return [[kinds[:length], times]]
        return []

    @property
    def num_labels(self) -> int:
        return self.labels.count

    @property
    def id2label(self) -> Mapping[int, str]:
        return self.labels.id2label

    @property
    def label2id(self) -> Mapping[str, Any]:
        return self.labels.label2id

    @property
    def problem_type(self) -> str | None:
        return self.labels.problem_type

    def to_dict(self) -> dict[str, Any]:
        """Return what the model's computation depends on, under config.json's names."""
        own = ("layer_kinds", "names_pad_token", "labels")
        return {
            "model_type": self.model_type,
            **{name: value for name, value in vars(self).items() if name not in own},
            "num_layers": self.num_layers,
            "attention_types": self.attention_types,
            "attention_layers": self.attention_layers,
            "id2label": dict(self.id2label),
            "label2id": dict(self.label2id),
            "problem_type": self.problem_type,
        }

    def to_json_string(self) -> str:
        """Return to_dict() as JSON with sorted names."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
