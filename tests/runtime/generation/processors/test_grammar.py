"""Grammars that cannot be used, and their error messages."""

import re
import subprocess
import sys

import pytest
import tokenizers
from refusals import refused

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[", "unclosed character class"),
        ("a(", "unclosed group"),
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_an_invalid_regular_expression(tokenizer, pattern, reason):
    with refused(InputError, f"the regular expression '.*' cannot be used: .*{reason}"):
        StructuredOutput.from_regex(tokenizer, pattern)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "thing"}, "cannot be used: Invalid type: thing"),
        ({"type": "string", "not": {}}, r'cannot be used: Unimplemented keys: \["not"\]'),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable schema: minimum"),
        (False, "Unsatisfiable schema: schema is false"),
        ([], "schema must be an object or boolean"),
        (7, "schema must be an object or boolean"),
        ("{", "is not JSON: Expecting property name"),
        (
            {"const": {1}},
            "is not JSON: Object of type set is not JSON serializable; an object, its",
        ),
        ({"const": float("nan")}, "is not JSON: Out of range float"),
        ('{"items":' * 500 + "{}" + "}" * 500, "cannot be used: recursion limit exceeded"),
        ("[" * 100_000, "the JSON schema is nested too deeply; make it flatter"),
    ],
    ids=range(11),
)
def test_an_invalid_schema(tokenizer, schema, reason):
    with refused(InputError, reason):
        StructuredOutput.from_json_schema(tokenizer, schema)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("", "Empty grammar"),
        ('start: "a" other', r"at 1\(8\): unknown name: \"other\""),
        ("start: " + "(" * 500 + '"a"' + ")" * 500, "lark grammar too deeply nested"),
        ('start: "\x01', "lexer error"),
    ],
    ids=range(4),
)
def test_an_invalid_grammar(tokenizer, grammar, reason):
    with refused(InputError, f"the grammar '.* cannot be used: .*{reason}"):
        StructuredOutput.from_grammar(tokenizer, grammar)


@pytest.mark.parametrize("source", [None, b"a", re.compile("a")])
def test_a_grammar_that_is_not_a_text(tokenizer, source):
    with refused(InputError, "the regular expression is .*; a text is allowed"):
        StructuredOutput.from_regex(tokenizer, source)


def test_a_tokenizer_of_another_kind():
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<end>": 1}, "a"))
    with refused(InputError, "the tokenizer cannot be used for structured output: .*; take one of"):
        StructuredOutput.from_regex(Tokenizer(words, "<end>"), "a")


def test_without_llguidance_its_extra_is_named():
    script = (
        "import sys; sys.modules['llguidance'] = None\n"
        "from gptneo_onnx.models import EMBEDDED_CHECKPOINT, MissingDependencyError\n"
        "from gptneo_onnx.runtime import Tokenizer\n"
        "from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput\n"
        "tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)\n"
        "try:\n"
        "    StructuredOutput.from_regex(tokenizer, 'a')\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == (
        "structured output needs llguidance, which is not installed: "
        "pip install 'gptneo-onnx[structured]'\n"
    ), done.stderr


@pytest.mark.parametrize("step", [2**31, 4294967295, 100_003, [99_991, 89]])
def test_a_multiple_that_llguidance_would_not_finish_with(tokenizer, step):
    steps = [{"multipleOf": each} for each in (step if isinstance(step, list) else [step])]
    schema = {"type": "object", "properties": {"a": {"allOf": [{"type": "number"}, *steps]}}}
    with refused(InputError, "multipleOf, all taken together, .*; allow any number, or fewer"):
        StructuredOutput.from_json_schema(tokenizer, schema)


@pytest.mark.parametrize("step", [5, 0.01, 86_400_000, 1e9, 12.5])
def test_a_multiple_that_is_followed(tokenizer, step):
    StructuredOutput.from_json_schema(tokenizer, {"type": "number", "multipleOf": step})


def test_a_schema_at_which_llguidance_panics(tokenizer):
    """It cuts a value short for a message, in the middle of a character."""
    schema = {"type": "string", "minLength": {"type": "Sequence", "": "\u00e9" * 40}}
    with refused(InputError, "the JSON schema .* cannot be used: llguidance fails at it: end byte"):
        StructuredOutput.from_json_schema(tokenizer, schema)
