"""How a tokenizer's files say that texts are cut and arranged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptneo_onnx.models.special_tokens import ADDITIONAL


@dataclass(frozen=True)
class TextSettings:
    """How a tokenizer's files say that texts are cut and arranged, by transformers' names.

    Attributes:
        model_max_length: tokens of a text at most; None if the files do not say.
        padding_side: left or right; on the left, a question stands after its context.
        truncation_side: where texts are cut that are too long.
        special_tokens: the texts of special tokens by name, such as unk_token.
        additional_special_tokens: the texts of those without a name.
        extra_special_tokens: the texts of those with names that the files give them.
    """

    model_max_length: int | None = None
    padding_side: str = "right"
    truncation_side: str = "right"
    special_tokens: Mapping[str, str | None] = field(default_factory=dict)
    additional_special_tokens: tuple[str, ...] = ()
    extra_special_tokens: Mapping[str, str] = field(default_factory=dict)

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
        listed = special_tokens.get(ADDITIONAL) or config.get(ADDITIONAL) or ()
        extra = config.get("extra_special_tokens")
        extra = extra if isinstance(extra, Mapping) else {}
        return cls(
            length if is_length else None,
            special_tokens=special_tokens,
            additional_special_tokens=tuple(map(_text_of, listed)),
            extra_special_tokens={name: _text_of(token) for name, token in extra.items()},
            **sides,
        )


def _text_of(token: Any) -> str:
    return str(token.get("content") if isinstance(token, Mapping) else token)
