"""Messages: one line of printable characters, whatever names and values hold."""

import pickle

import pytest
from refusals import LONGEST

from gptneo_onnx.models.errors import (
    DeviceError,
    ExportError,
    GPTNeoOnnxError,
    InputError,
    MissingDependencyError,
    ModelFileError,
    printable,
    shown,
)

HOSTILE = [
    ("a\x1b[2Jb", "a\\x1b[2Jb"),
    ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "\\x1b]8;;http://x\\x07link\\x1b]8;;\\x07"),
    ("\x1b]52;c;eA==\x1b\\", "\\x1b]52;c;eA==\\x1b\\"),
    ("\x9b31m", "\\x9b31m"),
    ("one\r\ntwo\n\n three", "one two  three"),
    ("over\rwritten", "over written"),
    ("\u2028next", " next"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\u2066a\u2069", "\\u2066a\\u2069"),
    ("bell\x07\x08\x7f", "bell\\x07\\x08\\x7f"),
    ("lone \udc80", "lone \\udc80"),
    ("tag\U000e0041", "tag\\U000e0041"),
    ("tab\there", "tab\\x09here"),
]
HARMLESS = [
    "café 中文 – “x” ",
    "\u00a0\u3000",
    "\U0001f469\u200d\U0001f4bb",
    "\u0645\u06cc\u200c\u062e",
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE)
@pytest.mark.parametrize(
    "kind", [InputError, ModelFileError, ExportError, DeviceError, MissingDependencyError]
)
def test_errors_show_what_would_steer_a_terminal(
    kind: type[GPTNeoOnnxError], text: str, expected: str
) -> None:
    assert str(kind(text)) == expected
    assert printable(text) == expected
    assert expected.isprintable()
    assert str(pickle.loads(pickle.dumps(kind(text)))) == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_letters_spaces_and_pictures_stay(text: str) -> None:
    assert printable(text) == text


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    message = str(InputError(f"begin {'x' * 10_000} end"))
    assert len(message) <= 1200
    assert message.startswith("begin x")
    assert message.endswith("x end")
    assert len(shown("x" * LONGEST)) == 80
