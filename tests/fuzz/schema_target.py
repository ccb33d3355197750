"""JSON schemas that a text is held to."""

import json
from pathlib import Path

from fuzz_forms import byte_tokenizer, constrain
from fuzzing import Target, mutate_json

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

SCHEMAS = (
    {},
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "[a-z]{1,3}"},
     "b": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 10},
     "minItems": 1, "maxItems": 3}}, "required": ["a"], "additionalProperties": False},
    {"anyOf": [{"const": 1}, {"enum": ["x", None]}, {"type": "number", "multipleOf": 0.5}]},
    {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
     "$ref": "#/$defs/node"},
    {"type": "string", "format": "date-time", "minLength": 3},
)  # fmt: skip


def seeds() -> list[bytes]:
    return [json.dumps(schema).encode() for schema in SCHEMAS]


def run(data: bytes, folder: Path) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8") from error
    for whitespace in (True, False):
        constrain(StructuredOutput.from_json_schema(byte_tokenizer(), text, whitespace))


TARGET = Target(seeds, run, mutate_json)
