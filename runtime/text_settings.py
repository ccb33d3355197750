"""How a tokenizer's files say that texts are cut and arranged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TextSettings:
    """How a tokenizer's files say that texts are cut and arranged, by transformers' names.

    Attributes:
        model_max_length: tokens of a text at most; None if the files do not say.
        padding_side: left or right; on the left, a question stands after its context.
        truncation_side: where texts are cut that are too long.
        special_tokens: the texts of special tokens by name, such as unk_token.
    """

    model_max_length: int | None = None
    padding_side: str = "right"
    truncation_side: str = "right"
    special_tokens: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: Mapping[str, Any], special_tokens: Mapping[str, str | None]
    ) -> "TextSettings":
        """Read a tokenizer_config.json, or the attributes of a tokenizer of transformers."""
        length = config.get("model_max_length")
        is_length = isinstance(length, int) and not isinstance(length, bool) and length > 0
        sides = {
            name: side
            for name in ("padding_side", "truncation_side")
            if (side := config.get(name)) in ("left", "right")
        }
        return cls(length if is_length else None, special_tokens=special_tokens, **sides)
