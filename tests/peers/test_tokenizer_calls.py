"""Tokenizers are called as transformers' are, and answer the same, on drawn tokenizer files."""

import numpy as np
import pytest
import wild_tokenizer
from wild_tokenizer import END_OF_TEXT, TEXTS

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
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
            expected = plain(theirs(text, **arguments))
            expected.pop("token_type_ids", None)  # returned here where it is asked for
            assert plain(ours(text, **call)) == expected, call
        theirs.truncation_side = ours.truncation_side


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
