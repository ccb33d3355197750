"""TextStreamer: text as it comes, never half a character."""

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import TextStreamer, Tokenizer

TEXT = "Anne—always Anne.\n\nÀ “Louisa” – 5 € \U0001f600 and so on"


class Pieces(TextStreamer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pieces: list[str] = []

    def on_finalized_text(self, text, stream_end=False):
        self.pieces.append(text)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


def stream(streamer, tokenizer, prompt, text):
    streamer.put(tokenizer.encode(prompt))
    for token in tokenizer.encode(text):
        streamer.put([token])
    streamer.end()


def test_pieces_make_the_text_and_none_holds_half_a_character(tokenizer):
    streamer = Pieces(tokenizer)
    stream(streamer, tokenizer, "The ", TEXT)
    assert "".join(streamer.pieces) == "The " + TEXT
    assert not any("\ufffd" in piece for piece in streamer.pieces)
    assert len(streamer.pieces) > 10


def test_the_prompt_can_be_left_out(tokenizer):
    streamer = Pieces(tokenizer, skip_prompt=True)
    stream(streamer, tokenizer, "The ", TEXT)
    assert "".join(streamer.pieces) == TEXT


def test_special_tokens_can_be_left_out(tokenizer):
    for skip, expected in ((True, "ab"), (False, "a<|endoftext|>b")):
        streamer = Pieces(tokenizer, skip_special_tokens=skip)
        stream(streamer, tokenizer, "", "a<|endoftext|>b")
        assert "".join(streamer.pieces) == expected


def test_bytes_that_never_become_a_character_come_at_the_end(tokenizer):
    streamer = Pieces(tokenizer)
    streamer.put([])
    streamer.put(tokenizer.encode("€")[:1])
    assert "".join(streamer.pieces) == ""
    streamer.end()
    assert "".join(streamer.pieces) == "\ufffd"


def test_a_streamer_can_be_used_again(tokenizer, capsys):
    streamer = TextStreamer(tokenizer, skip_prompt=True)
    for _ in range(2):
        stream(streamer, tokenizer, "a", "b c")
    assert capsys.readouterr().out == "b c\nb c\n"
