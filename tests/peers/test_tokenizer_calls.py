"""Tokenizers are called as transformers' are, and answer the same, on drawn tokenizer files."""

import numpy as np
import pytest
import wild_tokenizer
from tokenizer_checks import check_attributes, check_calls, check_vocabulary, plain
from wild_tokenizer import TEXTS

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import Tokenizer

DRAWS = 40


@pytest.fixture(autouse=True)
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    return transformers


def drawn_call(random):
    """Arguments of a call, many of which transformers refuses."""

    def choice(*values):
        return values[random.integers(len(values))]

    call = {
        "truncation": choice(None, True, False, "longest_first", "only_first", "only_second"),
        "max_length": choice(None, 1, 2, 3, 4, 5, 7, 9, 12),
        "stride": choice(0, 0, 0, 1, 2, 3),
        "padding": choice(False, False, True, "max_length", "do_not_pad"),
        "padding_side": choice("left", "right", None),
        "pad_to_multiple_of": choice(None, None, 3),
        "add_special_tokens": choice(True, True, False),
        "split_special_tokens": choice(None, None, True, False),
        "return_tensors": choice(None, None, "np"),
        "return_token_type_ids": choice(True, False),
    }
    for name in ("overflowing_tokens", "offsets_mapping", "special_tokens_mask", "length"):
        call[f"return_{name}"] = choice(True, False)
    return {name: value for name, value in call.items() if value is not None}


def drawn_texts(random):
    texts = [text for text in [*TEXTS, "a b in in hello a b"] if text]

    def some(count):
        return [texts[i] for i in random.integers(len(texts), size=count)]

    match random.integers(4):
        case 0:
            return (some(1)[0],)
        case 1:
            return (*some(2),)
        case 2:
            return (some(3), some(3)) if random.random() < 0.5 else (some(2),)
        case _:
            return ([(*some(2),), some(2)],)


def check_drawn_calls(theirs, ours, random, count=40):
    """The same values of a call, or an error of both; return how many had values."""
    answered = 0
    if ours.pad_token is None:
        theirs.pad_token = ours.pad_token = next(iter(ours.get_vocab()))
    for _ in range(count):
        call, texts = drawn_call(random), drawn_texts(random)
        side = "left" if random.random() < 0.3 else "right"
        theirs.truncation_side = side
        try:
            expected = theirs(*texts, **call)
            if "return_tensors" in call:  # arrays of lists there where texts have other lengths
                assert all(array.dtype == np.int64 for array in expected.values())
        except BaseException:  # tokenizers panics with one
            with pytest.raises(InputError):
                ours(*texts, truncation_side=side, **call)
            continue
        found = ours(*texts, truncation_side=side, **call)
        answered += 1
        types = ("token_type_ids",) if call["return_token_type_ids"] else ()
        names = [name for name in expected if name != "token_type_ids" or types]
        assert [*found] == names, call
        for name in names:
            if "return_tensors" in call:
                assert found[name].dtype == np.int64
            assert plain(found)[name] == plain(expected)[name], (name, texts, call)
        for row in range(len(expected.encodings)):
            assert found.sequence_ids(row) == expected.sequence_ids(row)
            assert found.word_ids(row) == expected.word_ids(row)
            assert found.tokens(row) == expected.tokens(row)
    return answered


def test_drawn_tokenizers(transformers, tmp_path, random):
    compared = answered = 0
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
        answered += check_drawn_calls(theirs, ours, random)
    assert compared > DRAWS // 2
    assert answered > 10 * compared


def test_the_embedded_model(transformers, random):
    theirs = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    check_attributes(theirs, ours)
    check_vocabulary(theirs, ours)
    check_calls(theirs, ours)
    assert check_drawn_calls(theirs, ours, random, 300) > 100


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
        expected.pop("token_type_ids", None)
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
