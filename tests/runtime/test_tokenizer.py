"""Tokenizer: the bytes that a token stands for."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from refusals import refused

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
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
