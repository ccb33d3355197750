"""Text of tokens as they come: together it is what decode() returns of all."""

import codecs

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.server.api.incremental_text import (
    BytesText,
    DecodedText,
    decodes_bytes,
    incremental_text,
)

TEXT = "She was née 😀 你好\n<|endoftext|>He"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


def parts_of(text, ids):
    return [*(text.add(token) for token in ids), text.finish()]


@pytest.mark.parametrize("kind", [BytesText, DecodedText])
@pytest.mark.parametrize("skip", [False, True])
def test_parts_are_the_whole_text(tokenizer, kind, skip):
    ids = tokenizer.encode(TEXT)
    parts = parts_of(kind(tokenizer, skip), ids)
    assert "".join(parts) == tokenizer.decode(ids, skip_special_tokens=skip)
    assert "\ufffd" not in "".join(parts)


@pytest.mark.parametrize("kind", [BytesText, DecodedText])
def test_a_character_comes_when_it_is_complete(tokenizer, kind):
    ids = tokenizer.encode("é")
    assert len(ids) == 2
    assert parts_of(kind(tokenizer, False), ids) == ["", "é", ""]


def test_bytes_that_are_no_text_are_replaced_as_decode_does(tokenizer, random):
    for _ in range(300):
        ids = random.integers(0, len(tokenizer), random.integers(1, 12)).tolist()
        skip = bool(random.integers(2))
        expected = tokenizer.decode(ids, skip_special_tokens=skip)
        assert "".join(parts_of(BytesText(tokenizer, skip), ids)) == expected
        assert "".join(parts_of(DecodedText(tokenizer, skip), ids)) == expected


def test_an_incomplete_character_ends_as_decode_shows_it(tokenizer):
    ids = tokenizer.encode("é")[:1]
    assert parts_of(BytesText(tokenizer, False), ids) == ["", "\ufffd"]
    assert tokenizer.decode(ids) == "\ufffd"


def test_ids_beyond_the_vocabulary_have_no_text(tokenizer):
    assert parts_of(BytesText(tokenizer, False), [len(tokenizer) + 5]) == ["", ""]


def test_byte_level_tokenizers_are_recognized(tokenizer):
    assert decodes_bytes(tokenizer)
    cleaning = Tokenizer(tokenizer.backend, None, clean_up_tokenization_spaces=True)
    assert not decodes_bytes(cleaning)


def test_other_tokenizers_are_decoded_again(random):
    vocabulary = {piece: i for i, piece in enumerate(["▁a", "b", "▁c", ".", "<0xC3>", "<0xA9>"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="b"))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer = Tokenizer(backend, None)
    for _ in range(200):
        ids = random.integers(0, 6, random.integers(1, 10)).tolist()
        text = incremental_text(tokenizer, False)
        assert "".join(parts_of(text, ids)) == tokenizer.decode(ids)


def test_lines_are_held_back_where_spaces_are_cleaned_up(tokenizer):
    cleaning = Tokenizer(tokenizer.backend, None, clean_up_tokenization_spaces=True)
    ids = tokenizer.encode("Yes .\nNo .")
    parts = parts_of(incremental_text(cleaning, False), ids)
    assert "".join(parts) == cleaning.decode(ids) == "Yes.\nNo."
    assert "Yes.\n" in parts


def test_python_replaces_what_rust_replaces():
    """BytesText decodes with Python's decoder what the tokenizers package decodes in Rust."""
    random = np.random.default_rng(1)
    for _ in range(2000):
        raw = bytes(random.choice([0x41, 0x80, 0xC3, 0xA9, 0xE2, 0xF0, 0x9F, 0xED, 0xFF], 6))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        parts = [decoder.decode(raw[i : i + 1]) for i in range(len(raw))]
        assert "".join(parts) + decoder.decode(b"", final=True) == raw.decode("utf-8", "replace")
