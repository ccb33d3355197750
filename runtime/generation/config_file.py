"""What a GenerationConfig has to say in a file."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gptneo_onnx.runtime.generation.processors.checks import plain


def saved_values(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ from their defaults, in a form that JSON can hold."""
    changed = {name: values[name] for name in defaults if values[name] != defaults[name]}
    watermark = changed.get("watermarking_config")
    if watermark is not None:
        changed["watermarking_config"] = asdict(watermark)
    bias = changed.get("sequence_bias")
    if isinstance(bias, Mapping):
        changed["sequence_bias"] = [[ids, value] for ids, value in bias.items()]
    return {name: _as_json(value) for name, value in changed.items()}


def _as_json(value: Any) -> Any:
    """Turn numpy's numbers and arrays into Python's, and sequences into lists."""
    if isinstance(value, Mapping):
        return {name: _as_json(each) for name, each in value.items()}
    value = plain(value)
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value
