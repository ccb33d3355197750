"""Tokenizers that do harm: refused in one line, in the runtime and in the exporter."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import check_message, refused
from small_tokenizers import content, every_part, sequence

from gptneo_onnx.export import set_tokenizer
from gptneo_onnx.export.calibration.calibration_text import calibration_windows
from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.runtime import Tokenizer

GROWING = {"type": "Replace", "pattern": {"Regex": "."}, "content": "." * 1000}
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
UNKNOWN = {"SpecialToken": {"id": "X", "type_id": 0}}
# Each ended every prompt with a panic, or kept a short one busy for hours.
HOSTILE: dict[str, dict[str, Any]] = {
    "no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "exponential split": {"pre_tokenizer": {**SPLIT, "pattern": {"Regex": "(a+)+b"}}},
    "exponential replace": {"normalizer": {**GROWING, "pattern": {"Regex": "(a|a)*b"}}},
    "nothing replaced": {"normalizer": {**GROWING, "pattern": {"String": ""}}},
    "growing twice": {"normalizer": sequence("normalizer", [GROWING, GROWING])},
    "rules": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "unknown token": {
        "post_processor": {
            "type": "TemplateProcessing", "single": [UNKNOWN], "pair": [], "special_tokens": {}
        }
    },
    "decoder": {"decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 1}},
    "prefix": {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]],
                         "continuing_subword_prefix": "####"}},
}  # fmt: skip


def write(folder: Path, whole: dict[str, Any]) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


@pytest.mark.parametrize("parts", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tokenizer_is_refused_before_it_is_read(
    parts: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, content(**parts))
    (tmp_path / "out").mkdir()
    for read in (
        lambda: Tokenizer.from_pretrained(folder),
        lambda: Tokenizer.from_pretrained(folder / "tokenizer.json"),
        lambda: write_tokenizer(folder, tmp_path / "out"),
        lambda: calibration_windows(folder / "tokenizer.json", folder / "tokenizer.json", 99, 9),
    ):
        with refused(ModelFileError, "tokenizer.json is not a tokenizer that is accepted: "):
            read()
    assert [*(tmp_path / "out").iterdir()] == []
    assert capfd.readouterr() == ("", "")  # no panic's lines


def test_set_tokenizer_leaves_the_export_as_it_was(embedded_export: Path, tmp_path: Path) -> None:
    folder = write(tmp_path, content(**HOSTILE["no length"]))
    with refused(ModelFileError, "is not a tokenizer that is accepted"):
        set_tokenizer(embedded_export, folder, dry_run=True)
    with refused(ModelFileError, "is not a tokenizer that is accepted"):
        set_tokenizer(embedded_export, folder / "tokenizer.json", dry_run=True)


@pytest.mark.parametrize(
    "parts",
    [
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "nope"}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "nope"}},
        {"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": None}},
        {  # a panic of the package: the added token is empty once it is normalized
            "normalizer": {"type": "Strip", "strip_left": True, "strip_right": True},
            "added_tokens": [{"id": 60, "content": " ", "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": True, "special": False}],
        },
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_encoded_is_named(parts: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, content(**parts)))
    for encode in (tokenizer.encode, tokenizer, tokenizer.tokenize):
        with refused(InputError, "the tokenizer cannot encode 'é z é': "):
            encode("é z é")


def test_ids_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    decoder = {"type": "Strip", "content": "a", "start": 0, "stop": 1}
    model = {"type": "BPE", "vocab": {"": 0, "a": 1}, "merges": []}
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, content(decoder=decoder, model=model)))
    assert tokenizer.decode([1]) == ""
    with refused(InputError, r"the tokenizer cannot decode \[0\]: "):
        tokenizer.decode([0])


@pytest.mark.parametrize("whole", every_part(), ids=lambda whole: "")
def test_each_part_alone_encodes_and_decodes(whole: dict[str, Any], tmp_path: Path) -> None:
    """What cannot be done with a part is said in one line."""
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, whole))
    for text in ("The cat sat.", "é \U0001f469\u200d\U0001f4bb 中文<|end|>", " " * 300, ""):
        try:
            tokenizer.decode(tokenizer.encode(text))
        except GPTNeoOnnxError as error:
            check_message(error)


def test_no_whole_tokenizer_is_in_a_message(tmp_path: Path) -> None:
    whole = content(model={"type": "BPE", "vocab": {f"t{i}": i for i in range(9000)}, "merges": 3})
    with refused(ModelFileError, "tokenizer.json is not a tokenizer: "):
        Tokenizer.from_pretrained(write(tmp_path, whole))


def test_padding_of_the_file_does_not_reach_calibration(tmp_path: Path) -> None:
    """It would make a text of a trillion tokens."""
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None,
               "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}  # fmt: skip
    write(tmp_path, content(padding=padding))
    (tmp_path / "text").write_text("a b " * 20)
    windows = calibration_windows(tmp_path / "text", tmp_path / "tokenizer.json", 99, 8)
    assert windows.shape == (10, 8)
