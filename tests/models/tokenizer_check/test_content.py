"""The parts of a tokenizer.json: all of the tokenizers package, within bounds."""

import base64
import json
from typing import Any

import pytest
import tokenizers
from refusals import check_message, refused
from small_tokenizers import PARTS, charsmap, content, every_part, sequence

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.tokenizer_check.charsmap import check_charsmap
from gptneo_onnx.models.tokenizer_check.content import backend_errors, read_backend

TEXTS = [
    "The cat sat. It's 12,345\r\n\n\tcafé!",
    "é\u0301 \ufdfa 中文 x<|end|>xx ##",
    "a b. " * 9,
    "",
]


def read(whole: dict[str, Any]) -> tokenizers.Tokenizer:
    return read_backend(tokenizers.Tokenizer.from_str, whole, "FILE is")


def replaced(pattern: dict[str, str], text: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": text}


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False
    }  # fmt: skip


@pytest.mark.parametrize("whole", every_part(), ids=lambda whole: "")
def test_every_part_is_read_as_the_package_reads_it(whole: dict[str, Any]) -> None:
    theirs, ours = tokenizers.Tokenizer.from_str(json.dumps(whole)), read(whole)
    assert ours.to_str() == theirs.to_str()
    for text in TEXTS:
        assert ours.encode(text).ids == theirs.encode(text).ids


def test_no_part_of_the_package_is_forgotten() -> None:
    modules = {
        "normalizer": tokenizers.normalizers,
        "pre_tokenizer": tokenizers.pre_tokenizers,
        "decoder": tokenizers.decoders,
        "post_processor": tokenizers.processors,
    }
    for kind, module in modules.items():
        base = {"normalizer": "Normalizer", "pre_tokenizer": "PreTokenizer", "decoder": "Decoder",
                "post_processor": "PostProcessor"}[kind]  # fmt: skip
        base_class = getattr(module, base)
        known = {
            name
            for name, each in vars(module).items()
            if isinstance(each, type) and issubclass(each, base_class) and each is not base_class
        }
        accepted = {part["type"] for part in PARTS[kind]} | {"Sequence", "DecodeStream"}
        assert known - accepted == set(), kind


_AS_LONG_AS = {"type": "Replace", "pattern": {"Regex": "."}, "content": "." * 1000}
_ROOT = {"SpecialToken": {"id": "X", "type_id": 0}}
_A, _B = ({"Sequence": {"id": text, "type_id": 0}} for text in "AB")


def template(*single: Any, **special: Any) -> dict[str, Any]:
    return {
        "type": "TemplateProcessing", "single": [*single], "pair": [_A, _B],
        "special_tokens": special,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "part", "reason"),
    [
        ("normalizer", {"strip_left": True}, "an object with a type is expected"),
        ("normalizer", {"type": "Rot13"}, "has the type 'Rot13'; Sequence, BertNormalizer, "),
        ("normalizer", [], "an object with a type is expected"),
        ("normalizer", {"type": "Sequence"}, "a list normalizers is expected"),
        ("normalizer", replaced({"String": ""}, "x"), "the text to replace has 1 to 10000"),
        ("normalizer", replaced({"Glob": "*"}, "x"), "neither a String nor a Regex"),
        ("normalizer", replaced({"Regex": "(a+)+b"}, "x"), r"regular expression '\(a\+\)\+b'"),
        ("normalizer", _AS_LONG_AS, "makes 1000 characters of one"),
        ("normalizer", replaced({"Regex": "(a+)"}, "$1" * 99), "makes 29[67] characters of one"),
        ("normalizer", replaced({"Regex": "a*"}, "x" * 64), "makes 65 characters of one"),
        ("normalizer", sequence("normalizer", [replaced({"String": "."}, "." * 8)] * 3),
         "makes 512 characters of one, with what comes before"),
        ("normalizer", sequence("normalizer", [{"type": "Lowercase"}] * 1001), "more than 1000"),
        ("normalizer", {"type": "Prepend", "prepend": "x" * 257}, "at most 256 characters"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "!"}, "not base64"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": None}, "not a text"),
        ("pre_tokenizer", {"type": "FixedLength", "length": 0}, "at least 1 is expected"),
        ("pre_tokenizer", {"type": "FixedLength", "length": True}, "at least 1 is expected"),
        ("pre_tokenizer", split(r"(\w+)*$"), "which may take too long, or is not understood"),
        ("pre_tokenizer", sequence("pre_tokenizer", [split(r"\s+(?!\S)")] * 300),
         "may take too long, with what comes before"),
        ("pre_tokenizer",
         sequence("pre_tokenizer", [{"type": "ByteLevel", "add_prefix_space": True}] * 9),
         "makes 256 characters of one"),
        ("decoder", {"type": "Strip", "content": " ", "start": 3, "stop": 3}, "stop 0, or stop 1"),
        ("decoder", _AS_LONG_AS, "makes 1000 characters of one"),
        ("post_processor", template(_ROOT, _A), "single has 'X', which is none of special_tokens"),
        ("post_processor", template(_B), "single may have A, once"),
        ("post_processor", template(_A, _A), "single may have A, once"),
        ("post_processor", template({"Sequence": []}), "a text is expected for the id"),
        ("post_processor", template(_A, X={"ids": [1, 2], "tokens": ["x"]}), "as many ids"),
        ("post_processor", template(*[_ROOT] * 300, X={"ids": [1], "tokens": ["X"]}),
         "more than 256 tokens would be added"),
        ("post_processor", {"type": "BertProcessing", "sep": []}, "a token with its id"),
        ("model", [], "model is"),
        ("model", {"vocab": 3}, "vocab of the model is 3"),
        ("model", {"vocab": {"x" * 20_000: 0}}, "a token of 20000 characters"),
        ("model", {"vocab": {}, "max_input_chars_per_word": 10**9}, "0 to 1000 is allowed"),
        ("model", {"vocab": {}, "unk_token": 1}, "unk_token of the model is 1"),
        ("model", {"vocab": {"a": 0}, "merges": [["a", "b"]], "continuing_subword_prefix": "####"},
         "whose second part does not begin with '####'"),
        ("model", {"vocab": {"a": 0}, "merges": ["a b"], "continuing_subword_prefix": "##"},
         "whose second part does not begin with '##'"),
        ("added_tokens", {"a": 1}, "added_tokens is"),
        ("added_tokens", [{"content": chr(65 + i) * 16_000} for i in range(40)],
         "40 tokens with 640000 characters"),
    ],
)  # fmt: skip
def test_what_could_panic_or_take_long_is_refused(kind: str, part: Any, reason: str) -> None:
    with refused(ModelFileError, f"FILE is not a tokenizer that is accepted: .*{reason}"):
        read(content(**{kind: part}))


def test_replacements_of_other_letters_do_not_add_up() -> None:
    """As of a tokenizer that writes a hundred letters with others."""
    parts = [replaced({"String": chr(0xC0 + i)}, "ae") for i in range(100)]
    normalizer = sequence("normalizer", parts)
    made = read(content(normalizer=normalizer))
    assert made.normalizer.normalize_str("\xc0\xc1!") == "aeae!"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda map_: map_[:100], "its trie has 2048 bytes, of 100"),
        (lambda map_: b"\x03\0\0\0" + map_[4:], "its trie has 3 bytes"),
        (lambda map_: map_[:4] + b"\xff\xff\xff\x7f" + map_[8:], "points out of it"),
        (lambda map_: map_[:4] + b"\xff" * 3 + b"\x00" + map_[8:], "points out of it"),
        (lambda map_: map_[:-2] + b"\xff\0", "not UTF-8"),
        (lambda map_: map_.replace(b"\0\0\0\x80", b"\xff\0\0\x80"), "names no replacement"),
    ],
)
def test_a_damaged_table_of_rules(change: Any, reason: str) -> None:
    good = base64.b64decode(charsmap())
    assert check_charsmap(charsmap()) == 2
    with pytest.raises(ValueError, match=reason):
        check_charsmap(base64.b64encode(change(good)).decode())


def test_a_table_of_rules_is_applied() -> None:
    made = read(content(normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap()}))
    assert made.normalizer.normalize_str("axb") == "afib"


class PanicException(BaseException):
    """As pyo3 names its own."""


def test_a_panic_becomes_one_short_line() -> None:
    for error in (PanicException("a\nb" * 500), Exception("x\x1b[2J")):
        with (
            pytest.raises(InputError, match="no texts: ") as caught,
            backend_errors(InputError, lambda: "no texts"),
        ):
            raise error
        check_message(caught.value)
    with pytest.raises(KeyboardInterrupt), backend_errors(InputError, lambda: "no texts"):
        raise KeyboardInterrupt
