"""Compares a tokenizer of ours with one of transformers."""

import numpy as np
from wild_tokenizer import END_OF_TEXT, TEXTS

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
            assert ours.tokenize(text, "hello") == theirs.tokenize(text, "hello")
    for is_pair in (True, False):
        added = theirs.num_special_tokens_to_add(is_pair)
        assert ours.num_special_tokens_to_add(is_pair) == added


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
