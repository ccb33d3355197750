"""A GenerationConfig's values as data: in a dict, and in JSON."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from gptneo_onnx.models.generation_settings import TRANSFORMERS_VERSION
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES
from gptneo_onnx.runtime.generation.processors.checks import plain

FROM_MODEL_CONFIG = "_from_model_config"
_METADATA = (FROM_MODEL_CONFIG, "transformers_version")
# Fields that transformers leaves out of dicts, and that only this project has.
_LEFT_OUT_ALWAYS = ("compile_config",)
_LEFT_OUT_UNSET = ("seed",)


def all_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of a config's values, without those that dicts leave out."""
    found = {
        name: copy.deepcopy(value)
        for name, value in values.items()
        if name == FROM_MODEL_CONFIG
        or not (name.startswith("_") or name in _LEFT_OUT_ALWAYS or is_left_out(name, value))
    }
    watermark = found.get("watermarking_config")
    if is_dataclass(watermark) and not isinstance(watermark, type):
        found["watermarking_config"] = asdict(watermark)
    return found | {"transformers_version": TRANSFORMERS_VERSION}


def is_left_out(name: str, value: Any) -> bool:
    """Tell whether a field is one that transformers has not, and is not set."""
    return name in _LEFT_OUT_UNSET and value is None


def differing_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of all_values() that differ from the defaults, and the version."""
    defaults = DEFAULT_VALUES | {FROM_MODEL_CONFIG: False, "transformers_version": None}
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or not is_same(value, defaults[name])
    }


def is_same(first: Any, second: Any) -> bool:
    """Tell whether two values of a field are equal: a list and a tuple of the same are."""
    try:
        return bool(plain(first) == plain(second))
    except (ArithmeticError, TypeError, ValueError):  # kinds of numbers that compare with no other
        return False


def json_text(values: Mapping[str, Any], ignore_metadata: bool) -> str:
    """Return values as JSON."""
    kept = {k: v for k, v in values.items() if not (ignore_metadata and k in _METADATA)}
    bias = kept.get("sequence_bias")
    if isinstance(bias, Mapping):  # JSON has no lists for keys
        kept["sequence_bias"] = [[ids, value] for ids, value in bias.items()]
    return json.dumps(_as_json(kept), indent=2, sort_keys=True, default=repr) + "\n"


def _as_json(value: Any) -> Any:
    """Turn numpy's numbers and arrays into Python's, and sequences into lists."""
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in value.items()}
    value = plain(value)
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value
