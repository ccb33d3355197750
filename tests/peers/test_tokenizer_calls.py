"""Tokenizers are called as transformers' are, and answer the same, on drawn tokenizer files."""

import numpy as np
import pytest
import wild_tokenizer
from wild_tokenizer import END_OF_TEXT, TEXTS

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer

DRAWS = 40
CALLS = [
    {},
    {"add_special_tokens": False},
    {"truncation": True, "max_length": 5},
    {"max_length": 4},
    {"truncation": True, "max_length": 3, "truncation_side": "left"},
    {"padding": True},
    {"padding": "longest", "padding_side": "left", "return_tensors": "np"},
    {"padding": "max_length", "max_length": 24, "truncation": True},
    {"padding": True, "pad_to_multiple_of": 8},
    {"padding": True, "return_special_tokens_mask": True, "return_length": True},
    {"return_offsets_mapping": True, "return_attention_mask": False},
    {
        "padding": "max_length",
        "max_length": 6,
        "truncation": "longest_first",
        "padding_side": "left",
    },
    {"padding": False, "truncation": "do_not_truncate"},
]


@pytest.fixture(autouse=True)
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    return transformers


def plain(encoding):
    return {
        name: np.asarray(values).tolist() if not isinstance(values, list) else values
        for name, values in encoding.items()
        if name != "token_type_ids"
    }


def check_calls(theirs, ours):
    texts = [text for text in TEXTS if text and END_OF_TEXT not in text]
    for call in CALLS:
        if call.get("padding"):
            theirs.pad_token = ours.pad_token = ours.eos_token or next(iter(ours.get_vocab()))
        arguments = dict(call)
        if "truncation_side" in arguments:  # an attribute there, unlike padding_side
            theirs.truncation_side = arguments.pop("truncation_side")
        for text in (texts, texts[0]):
            assert plain(ours(text, **call)) == plain(theirs(text, **arguments)), call
        theirs.truncation_side = ours.truncation_side


def check_vocabulary(theirs, ours):
    assert len(ours) == len(theirs)
    assert ours.vocab_size == theirs.vocab_size
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    tokens = [*list(theirs.get_vocab())[:40], "no such token \u2603"]
    for token in tokens:
        assert ours.convert_tokens_to_ids(token) == theirs.convert_tokens_to_ids(token)
    assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    ids = list(range(len(theirs)))
    for skip in (False, True):
        assert ours.convert_ids_to_tokens(ids, skip) == theirs.convert_ids_to_tokens(ids, skip)
    assert ours.convert_ids_to_tokens(3) == theirs.convert_ids_to_tokens(3)
    for text in TEXTS:
        if END_OF_TEXT not in text:
            assert ours.tokenize(text) == theirs.tokenize(text)
            pair = ours.encoding(text, "hello").ids  # what question answering reads
            assert pair == theirs(text, "hello").input_ids


def once(special):
    """Without repeated tokens, which transformers keeps where files list one twice."""
    if isinstance(special, dict):
        return {name: once(value) for name, value in special.items()}
    return list(dict.fromkeys(special)) if isinstance(special, list) else special


def check_attributes(theirs, ours):
    for name in ("bos", "eos", "unk", "pad", "sep", "cls", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(theirs, f"{name}_token"), name
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id"), name
    for name in ("special_tokens_map", "all_special_tokens", "additional_special_tokens"):
        assert once(getattr(ours, name)) == once(getattr(theirs, name)), name
    assert {*ours.all_special_ids} == {*theirs.all_special_ids}
    assert ours.padding_side == theirs.padding_side
    assert ours.truncation_side == theirs.truncation_side
    assert ours.model_max_length == theirs.model_max_length
    assert ours.is_fast == theirs.is_fast


def test_drawn_tokenizers(transformers, tmp_path, random):
    compared = 0
    for number in range(DRAWS):
        directory = wild_tokenizer.Draw(tmp_path / str(number), random).write()
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(directory)
        except (ValueError, TypeError):  # add_bos_token with tokens that its template misreads
            continue
        ours = Tokenizer.from_pretrained(directory)
        if {*theirs.get_vocab()} != {*ours.get_vocab()}:
            continue  # GPT-2's class added its end token
        compared += 1
        check_attributes(theirs, ours)
        check_vocabulary(theirs, ours)
        check_calls(theirs, ours)
    assert compared > DRAWS // 2


def test_the_embedded_model(transformers):
    theirs = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    check_attributes(theirs, ours)
    check_vocabulary(theirs, ours)
    check_calls(theirs, ours)


def test_tensors_of_torch(transformers):
    torch = pytest.importorskip("torch")
    theirs = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    expected, found = (each("She was", return_tensors="pt") for each in (theirs, ours))
    assert torch.equal(expected.input_ids, found.input_ids)
    assert torch.equal(expected.attention_mask, found.attention_mask)


def test_padding_what_was_encoded(transformers):
    theirs = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    for each in (theirs, ours):
        each.pad_token = each.eos_token
    texts = ["She", "She was fond of"]
    for encoded in (lambda each: each(texts), lambda each: [each(text) for text in texts]):
        expected = theirs.pad(encoded(theirs), return_tensors="np")
        found = ours.pad(encoded(ours), return_tensors="np")
        assert plain(found) == plain(expected)


def test_what_is_saved_is_read_by_transformers(transformers, tmp_path):
    ours = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours.pad_token = ours.eos_token
    ours.padding_side = "left"
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.padding_side == "left"
    check_attributes(theirs, Tokenizer.from_pretrained(tmp_path))
    assert theirs("She was").input_ids == ours("She was").input_ids
