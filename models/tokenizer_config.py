"""Writes tokenizer_config.json with every special token that other files, or the class, name.

Some programs that read it know nothing of those files and classes: transformers.js is one.
"""

from collections.abc import Mapping
from typing import Any

from gptneo_onnx.models.special_tokens import ADDITIONAL, TokenSettings, text_of


def new_config(
    class_name: str, texts: Mapping[str, str | None], settings: TokenSettings
) -> dict[str, Any]:
    """Return a config where there was none.

    Args:
        class_name: the class of transformers.
        texts: special tokens by name.
        settings: has further special tokens.
    """
    additional = _additional(settings)
    listed = {ADDITIONAL: additional} if additional else {}
    return {"tokenizer_class": class_name, **texts, **listed}


def completed_config(texts: Mapping[str, str | None], settings: TokenSettings) -> dict[str, Any]:
    """Return the settings' config; tokens that it names already stay as they are written."""
    config = dict(settings.config)
    for name, text in texts.items():
        if name not in config or _text(config[name]) != text:
            config[name] = text
    additional = _additional(settings)
    known = [_text(token) for token in config.get(ADDITIONAL) or []]
    if additional != [*dict.fromkeys(known)]:
        config[ADDITIONAL] = additional
    return config


def _additional(settings: TokenSettings) -> list[str]:
    return [*dict.fromkeys(text_of(token) for token in settings.additional)]


def _text(token: Any) -> str | None:
    """Return the text of a special token, which may be an object with the text as `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
