"""Lark grammars and regular expressions that a text is held to.

An input is `lark` or `regex`, a zero byte, and the text.
"""

from pathlib import Path

from fuzz_forms import byte_tokenizer, constrain
from fuzzing import Random, Target, mutate_bytes

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

FORMS = (
    ("lark", 'start: "a" b* | "c" start\nb: /[0-9]{1,3}/ " "\n'),
    ("lark", 'start: NAME ("," NAME)+\nNAME: /[a-z]+/\n%ignore /[ \\t]+/\n'),
    ("lark", 'start: %json {"type": "object"} | item{2,5}\nitem[capture]: "x" | /y(?!z)/\n'),
    ("lark", "start: <[256]> text\ntext[stop=/!/, max_tokens=4]: /.*/\n"),
    ("regex", "[a-z]+(, [a-z]+)*"),
    ("regex", r"(?i)(\d{1,3}|x|\p{L}){2,40}[^\n]*$"),
    ("regex", "a{0,1000}b?"),
)


def seeds() -> list[bytes]:
    return [f"{kind}\0{text}".encode() for kind, text in FORMS]


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    kind, _, text = data.partition(b"\0")
    return kind + b"\0" + mutate_bytes(random, text, [seed.partition(b"\0")[2] for seed in seeds])


def run(data: bytes, folder: Path) -> None:
    kind, _, content = data.partition(b"\0")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8") from error
    make = StructuredOutput.from_regex if kind == b"regex" else StructuredOutput.from_grammar
    constrain(make(byte_tokenizer(), text))


TARGET = Target(seeds, run, mutate)
