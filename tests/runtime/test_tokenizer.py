"""Tokenizer: the bytes that a token stands for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from refusals import refused
from wild_tokenizer import write_json, write_vocabulary

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, ModelFileError
from gptneo_onnx.runtime import Tokenizer

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
TEXT = "Anne—always Anne.\n\nÀ “Louisa” – 5 € \U0001f600\x00\t\x7f\xad and so on<|endoftext|>"


@pytest.fixture(scope="module", params=[EMBEDDED_CHECKPOINT, GPT2], ids=["embedded", "gpt2"])
def tokenizer(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(request.param, directory)
    return Tokenizer.from_pretrained(directory)


def small_tokenizer(*tokens):
    """Make a tokenizer of these tokens, an added token 'café' and the special token '<end>'."""
    model = tokenizers.models.BPE({token: index for index, token in enumerate(tokens)}, [])
    backend = tokenizers.Tokenizer(model)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_tokens(["café"])
    backend.add_special_tokens(["<end>"])
    return Tokenizer(backend, "<end>")


def test_the_bytes_of_a_texts_tokens_are_the_texts(tokenizer):
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(TEXT))) == TEXT.encode()


def test_every_token_has_the_bytes_that_decode_to_its_text(tokenizer):
    size = tokenizer.backend.get_vocab_size()
    assert size in (4096, 50257)
    assert sorted(tokenizer.vocabulary_bytes) == list(range(size))
    for token in range(size):
        text = tokenizer.token_bytes(token).decode(errors="replace")
        assert text == tokenizer.decode([token])


def test_each_of_the_256_bytes_is_a_token(tokenizer):
    assert {bytes([value]) for value in range(256)} <= set(tokenizer.vocabulary_bytes.values())


def test_a_single_id_is_decoded_and_an_impossible_one_is_named(tokenizer):
    assert tokenizer.decode(5) == tokenizer.decode([5]) == tokenizer.decode(np.array(5))
    assert tokenizer.decode([]) == tokenizer.decode(np.array([], np.int64)) == ""
    for wrong in (-1, 2**40, 2**70):
        with pytest.raises(InputError, match=f"token {wrong} cannot be decoded; ids from 0 to"):
            tokenizer.decode([5, wrong])


def test_letters_of_the_byte_alphabet_are_bytes():
    tokenizer = small_tokenizer("Ġthe", "âĤ", "¬", "Ċ", "Ń", "Ā")
    assert [tokenizer.token_bytes(token) for token in range(6)] == [
        b" the", b"\xe2\x82", b"\xac", b"\n", b"\xad", b"\x00",
    ]  # fmt: skip


def test_added_tokens_and_tokens_outside_the_alphabet_are_their_own_text():
    tokenizer = small_tokenizer("a", "語")
    assert tokenizer.token_bytes(1) == "語".encode()
    assert tokenizer.token_bytes(2) == "café".encode()
    assert tokenizer.token_bytes(3) == b"<end>"
    assert tokenizer.special_token_ids == {3}
    # The decoder of the tokenizers package reads the é as a byte.
    assert tokenizer.decode([2]) == "caf\ufffd"


@pytest.mark.parametrize("token", [-1, 4, 10**20, "a"])
def test_a_token_that_is_not_there_is_refused(token):
    with refused(InputError, rf"token {token!r} is none of the tokenizer's 4; ids from 0 to 3"):
        small_tokenizer("a", "b").token_bytes(token)


def test_a_vocabulary_and_its_merges_are_read(tmp_path):
    tokenizer = Tokenizer.from_pretrained(GPT2)
    assert tokenizer.encode("Hello world<|endoftext|>") == [15496, 995, 50256]
    assert tokenizer.eos_token_id == 50256
    with refused(ModelFileError, "has no tokenizer.json: pass token ids"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ["x y", "h", "h e l"])
def test_damaged_merges_are_named(tmp_path, content):
    write_vocabulary(tmp_path)
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{content}\n")
    with refused(ModelFileError, "vocab.json and merges.txt are not a tokenizer"):
        Tokenizer.from_pretrained(tmp_path)


def test_added_tokens_and_a_first_token(tmp_path):
    added = {"267": {"content": "<|user|>", "special": True}}
    write_vocabulary(tmp_path, add_bos_token=True, added_tokens_decoder=added)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("<|user|>hello") == [266, 267, 259]
    assert tokenizer.encode("<|user|>hello", add_special_tokens=False) == [267, 259]
    assert tokenizer("hello") == {"input_ids": [266, 259], "attention_mask": [1, 1]}
    assert tokenizer.decode([267, 259]) == "<|user|>hello"
    assert tokenizer.decode([267, 259], skip_special_tokens=True) == "hello"
    assert tokenizer.special_token_ids == {266, 267}


def test_special_tokens_can_be_read_as_text(tmp_path):
    write_vocabulary(tmp_path, split_special_tokens=True)
    assert 266 not in Tokenizer.from_pretrained(tmp_path).encode("<|endoftext|>")


@pytest.mark.parametrize("clean_up", [True, False, None])
def test_decoding_cleans_up_as_the_config_says(tmp_path, clean_up):
    write_vocabulary(tmp_path)
    config = {} if clean_up is None else {"clean_up_tokenization_spaces": clean_up}
    write_json(tmp_path / "tokenizer_config.json", config)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.encode("King , I do n't .")
    cleaned, spaced = "King, I don't.", "King , I do n't ."
    assert tokenizer.decode(ids) == (cleaned if clean_up else spaced)
    assert tokenizer.batch_decode([ids]) == [tokenizer.decode(ids)]
    assert tokenizer.batch_decode([ids], clean_up_tokenization_spaces=True) == [cleaned]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == spaced


def test_what_is_taken_for_a_tokenizer(tmp_path):
    tokenizer = Tokenizer.from_pretrained(GPT2)
    assert Tokenizer.coerce(tokenizer) is tokenizer
    tokenizer.save_pretrained(tmp_path / "saved")
    file = tmp_path / "saved" / "tokenizer.json"
    for named in (GPT2, str(GPT2), (GPT2, {"use_fast": True}), file, tokenizer.backend):
        assert Tokenizer.coerce(named).encode("Hello") == tokenizer.encode("Hello")
    for alone in (file, tokenizer.backend):
        assert Tokenizer.coerce(alone).eos_token is None
    with refused(ModelFileError, "has no tokenizer.json"):
        Tokenizer.coerce(tmp_path)
    for wrong in ("not there", "x" * 5000, tmp_path / "missing"):
        with refused(InputError, "which is not a directory; pass one with tokenizer.json"):
            Tokenizer.coerce(wrong)
    for wrong in (3, [GPT2], {}, Tokenizer):
        with refused(InputError, r"tokenizer is of type \w+; a directory, a hub id"):
            Tokenizer.coerce(wrong)


def test_a_tokenizer_of_the_other_package_is_copied():
    backend = tokenizers.Tokenizer.from_str(Tokenizer.from_pretrained(GPT2).backend.to_str())
    backend.enable_padding(direction="left", pad_token="!", pad_id=0)
    backend.enable_truncation(3)
    ours = Tokenizer.coerce(backend)
    assert (ours.pad_token, ours.padding_side) == ("!", "left")
    assert len(ours.encode("Hello " * 9)) > 3
    assert backend.truncation["max_length"] == 3


def test_arguments_take_the_place_of_entries_of_the_config(tmp_path):
    write_vocabulary(tmp_path, pad_token="h", padding_side="right", model_max_length=9)
    write_json(tmp_path / "special_tokens_map.json", {"pad_token": "e"})
    added = tokenizers.AddedToken("<more>", special=True)
    ours = Tokenizer.from_pretrained(
        tmp_path,
        pad_token="l",
        padding_side="left",
        model_max_length=5,
        add_prefix_space=True,
        additional_special_tokens=[added],
    )
    assert (ours.pad_token, ours.padding_side, ours.model_max_length) == ("l", "left", 5)
    assert ours.encode("hello") == ours.encode(" hello")
    assert ours.additional_special_tokens == ["<more>"]
    assert ours.encode("<more>") == [267]
    with refused(InputError, "from_pretrained has no argument 'pad_tokn'; those that say where"):
        Tokenizer.from_pretrained(tmp_path, pad_tokn="l")


# Calls. tests/peers/test_tokenizer_calls.py holds them against transformers.


@pytest.fixture
def letters(tmp_path):
    write_vocabulary(tmp_path, model_max_length=6)
    return Tokenizer.from_pretrained(tmp_path)


def test_a_call_returns_lists_and_attributes(letters):
    encoded = letters(["ab", "c"])
    assert encoded.input_ids == encoded["input_ids"]
    assert [len(ids) for ids in encoded.input_ids] == [2, 1]
    assert encoded.attention_mask == [[1, 1], [1]]
    assert {**encoded}.keys() == {"input_ids", "attention_mask"}


def test_arrays_need_padding_and_padding_a_token(letters):
    with refused(InputError, "different numbers of tokens; pass padding=True"):
        letters(["ab", "c"], return_tensors="np")
    letters.pad_token = None
    with refused(InputError, "no pad_token to pad with; set one, as in tokenizer.pad_token = "):
        letters(["ab", "c"], padding=True)
    letters.pad_token = letters.eos_token
    encoded = letters(["ab", "c"], padding=True, padding_side="left", return_tensors="np")
    assert encoded.input_ids.shape == (2, 2)
    assert encoded.attention_mask.tolist() == [[1, 1], [0, 1]]
    assert encoded.input_ids[1, 0] == letters.pad_token_id


def test_texts_are_cut_where_it_is_asked_for(letters):
    text = "abcdefghij"
    assert len(letters(text).input_ids) == 10
    assert len(letters(text, truncation=True).input_ids) == 6  # model_max_length
    assert letters(text, max_length=3).input_ids == letters("abc").input_ids
    left = letters(text, truncation=True, max_length=3, truncation_side="left")
    assert left.input_ids == letters("hij").input_ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "both"}, "padding is 'both'; True, False, 'longest', 'max_length'"),
        ({"truncation": 3}, "truncation is '3'; True, False"),
        ({"truncation": "only_second", "max_length": 1}, "there is no second text; pass text_pair"),
        ({"text_pair": "c", "truncation": "only_first", "max_length": 1}, "raise max_length, or"),
        ({"stride": -1}, "stride is -1; a whole number of at least 0"),
        ({"stride": 2, "max_length": 1}, "leaves no room beside it; pass a smaller stride"),
        ({"stride": 1, "max_length": 1}, "a part has room for 1 tokens of a text"),
        ({"text_pair": ["b"]}, "a prompt is of type list; a text is expected"),
        ({"max_length": 0, "truncation": True}, "max_length is 0; a whole number of at least 1"),
        ({"padding_side": "top"}, "padding_side is 'top'; left or right is allowed"),
        ({"return_tensors": "tf"}, "return_tensors is 'tf'; 'np' is allowed"),
        ({"is_split_into_words": True}, "no argument is_split_into_words"),
        ({"max_lenght": 3}, "no argument max_lenght"),
    ],
)
def test_other_arguments_are_refused(letters, arguments, message):
    with refused(InputError, message):
        letters("ab", **arguments)


def test_pairs_are_cut_where_the_strategy_says(letters):
    def cut(strategy, **arguments):
        encoded = letters("abcdefgh", "uvwxyz", truncation=strategy, max_length=9, **arguments)
        return letters.decode(encoded.input_ids)

    assert cut("longest_first") == cut(True) == "abcdeuvwx"
    assert cut("only_first") == "abcuvwxyz"
    assert cut("only_second") == "abcdefghu"
    assert cut("only_second", truncation_side="left") == "abcdefghz"


def test_several_pairs_are_given_in_either_way(letters):
    expected = [letters("ab", "c"), letters("d", "ef")]
    for encoded in (
        letters(["ab", "d"], ["c", "ef"]),
        letters([("ab", "c"), ["d", "ef"]]),
        letters.batch_encode_plus([("ab", "c"), ("d", "ef")]),
    ):
        assert encoded.input_ids == [each.input_ids for each in expected]
        assert [encoded.sequence_ids(row) for row in range(2)] == [[0, 0, 1], [0, 1, 1]]
    with refused(InputError, "there are 2 texts, and 1 in text_pair"):
        letters(["ab", "d"], ["c"])
    with refused(InputError, "text_pair is 'c'; with several texts a list of as many is allowed"):
        letters(["ab", "d"], "c")
    for wrong in ([("a", "b", "c")], [3], [("a", 3)], 3, b"a"):
        with refused(InputError, r"a prompt is of type \w+; a text is expected"):
            letters(wrong)


def test_what_is_cut_off_comes_in_further_rows(letters):
    encoded = letters(
        ["abcdefgh", "xy"],
        truncation=True,
        max_length=4,
        stride=1,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert letters.batch_decode(encoded.input_ids) == ["abcd", "defg", "gh", "xy"]
    assert encoded.overflow_to_sample_mapping == [0, 0, 0, 1]
    assert encoded.offset_mapping[1][0] == (3, 4)
    assert encoded.char_to_token(1, 4) == 1
    assert encoded.token_to_chars(2, 1) == (7, 8)
    assert encoded[3].tokens == encoded.tokens(3) == ["x", "y"]


def test_calls_of_several_threads_do_not_cut_each_others_texts(letters):
    text = "abcdefgh" * 200

    def lengths(longest):
        return {len(letters(text, max_length=longest).input_ids) for _ in range(50)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lengths, [5, 50, 500, None])) == [{5}, {50}, {500}, {1600}]
    assert letters.backend.truncation is None


def test_special_tokens_can_be_set(letters):
    letters.pad_token = "a"
    assert letters.pad_token_id == letters.convert_tokens_to_ids("a")
    letters.pad_token_id = letters.convert_tokens_to_ids("b")
    assert letters.pad_token == "b"
    with refused(InputError, "pad_token is '<pad>', which is no token of the vocabulary"):
        letters.pad_token = "<pad>"
    assert bool(letters)
    assert len(letters) == len(letters.get_vocab())


def test_saved_files_are_read_again(letters, tmp_path):
    letters.padding_side = "left"
    letters.save_pretrained(tmp_path / "saved")
    again = Tokenizer.from_pretrained(tmp_path / "saved")
    assert again("abc") == letters("abc")
    assert again.padding_side == "left"
    assert again.model_max_length == 6
