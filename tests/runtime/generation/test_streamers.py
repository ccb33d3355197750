"""Streamers: text in whole characters, printed or passed to another thread."""

import asyncio
import queue
from threading import Thread

import pytest
from refusals import refused

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, TextStreamer, Tokenizer
from gptneo_onnx.runtime.generation.streamers import (
    AsyncTextIteratorStreamer,
    TextIteratorStreamer,
)

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


def test_arguments_of_decode_can_be_passed(tokenizer):
    text = "it is n't , said Anne .\nno ."
    streamer = Pieces(tokenizer, clean_up_tokenization_spaces=True)
    stream(streamer, tokenizer, "", text)
    # A line at a time: the space before a point is only known to go when the point is there.
    assert [piece for piece in streamer.pieces if piece] == ["it isn't, said Anne.\n", "no."]


@pytest.mark.parametrize("told", [None, False])
def test_a_tokenizers_own_cleaning_up_holds_lines_back(tokenizer, told):
    cleaning = Tokenizer(tokenizer.backend, "<|endoftext|>", clean_up_tokenization_spaces=True)
    streamer = Pieces(cleaning, clean_up_tokenization_spaces=told)
    stream(streamer, cleaning, "", "it is n't .\nno .")
    pieces = [piece for piece in streamer.pieces if piece]
    if told is None:
        assert pieces == ["it isn't.\n", "no."]
    else:
        assert "".join(pieces) == "it is n't .\nno ."
        assert len(pieces) > 2


@pytest.mark.parametrize("arguments", [{"skip_special": True}, {"ids": [1]}])
def test_other_arguments_are_refused_at_once(tokenizer, arguments):
    allowed = "skip_special_tokens, clean_up_tokenization_spaces"
    with refused(InputError, f"decode_kwargs are .*; what .* takes is allowed: {allowed}"):
        TextStreamer(tokenizer, **arguments)


def test_the_end_of_a_text_that_cannot_be_sent_is_not_the_next_ones_beginning(tokenizer):
    class Failing(Pieces):
        def on_finalized_text(self, text, stream_end=False):
            if stream_end:
                raise OSError("closed")
            super().on_finalized_text(text, stream_end)

    streamer = Failing(tokenizer, skip_prompt=True)
    with pytest.raises(OSError, match="closed"):
        stream(streamer, tokenizer, "a", "b")
    streamer.put(tokenizer.encode("the next prompt"))
    streamer.put(tokenizer.encode("c"))
    assert streamer.pieces == ["b", "c"]


# --- iterating in another thread


def generated_in_a_thread(model, ids, streamer, errors, **arguments):
    def run():
        try:
            model.generate([ids], streamer=streamer, **arguments)
        except Exception as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_text_is_iterated_over_while_it_is_generated(tokenizer, embedded_export):
    model, ids = GPTNeoForCausalLM.from_pretrained(embedded_export), tokenizer.encode("She was")
    expected = tokenizer.decode(model.generate([ids], max_new_tokens=30)[0])
    for skip_prompt, start in ((False, 0), (True, len("She was"))):
        streamer = TextIteratorStreamer(tokenizer, skip_prompt, timeout=60)
        errors = []
        thread = generated_in_a_thread(model, ids, streamer, errors, max_new_tokens=30)
        pieces = list(streamer)
        thread.join(60)
        assert not errors
        assert "".join(pieces) == expected[start:]
        assert len(pieces) > 10


def test_the_iteration_ends_when_generate_fails(tokenizer, embedded_export):
    class Failing(TextIteratorStreamer):
        tokens = 0

        def put(self, ids):
            self.tokens += 1
            if self.tokens == 4:
                raise RuntimeError("no more")
            super().put(ids)

    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    streamer = Failing(tokenizer, skip_prompt=True, timeout=60)
    errors = []
    thread = generated_in_a_thread(
        model, tokenizer.encode("She was"), streamer, errors, max_new_tokens=30
    )
    assert "".join(streamer)
    thread.join(60)
    assert [str(error) for error in errors] == ["no more"]


def test_a_second_text_can_be_iterated_over(tokenizer):
    streamer = TextIteratorStreamer(tokenizer, timeout=60)
    for _ in range(2):
        stream(streamer, tokenizer, "The ", TEXT)
        assert "".join(streamer) == "The " + TEXT


def test_special_tokens_can_be_left_out_of_the_iteration(tokenizer):
    streamer = TextIteratorStreamer(tokenizer, timeout=60, skip_special_tokens=True)
    stream(streamer, tokenizer, "", "a<|endoftext|>b")
    assert "".join(streamer) == "ab"


def test_a_text_that_does_not_come_is_an_error_after_the_timeout(tokenizer):
    streamer = TextIteratorStreamer(tokenizer, timeout=0.01)
    streamer.put(tokenizer.encode("a"))
    assert next(streamer) == "a"
    with pytest.raises(queue.Empty, match=r"no text came within 0\.01 seconds; see whether"):
        next(streamer)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", True])
@pytest.mark.parametrize("streamer", [TextIteratorStreamer, AsyncTextIteratorStreamer])
def test_an_invalid_timeout(tokenizer, streamer, timeout):
    with refused(InputError, f"timeout is {timeout!r}; seconds above 0 are allowed, or None"):
        streamer(tokenizer, timeout=timeout)


# --- iterating in an event loop


def test_an_event_loop_goes_on_while_text_is_generated(tokenizer, embedded_export):
    model, ids = GPTNeoForCausalLM.from_pretrained(embedded_export), tokenizer.encode("She was")
    expected = tokenizer.decode(model.generate([ids], max_new_tokens=30)[0])
    errors = []

    async def read():
        streamer = AsyncTextIteratorStreamer(tokenizer, timeout=60)
        generated_in_a_thread(model, ids, streamer, errors, max_new_tokens=30)
        return [piece async for piece in streamer]

    async def read_and_count():
        task, turns = asyncio.create_task(read()), 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        return await task, turns

    pieces, turns = asyncio.run(read_and_count())
    assert not errors
    assert "".join(pieces) == expected
    assert len(pieces) > 10
    assert turns > 1


def test_an_event_loop_is_told_when_no_text_comes(tokenizer):
    async def read():
        streamer = AsyncTextIteratorStreamer(tokenizer, timeout=0.01)
        streamer.put(tokenizer.encode("a"))
        return [piece async for piece in streamer]

    with pytest.raises(TimeoutError, match=r"no text came within 0\.01 seconds; see whether"):
        asyncio.run(read())


def test_an_event_loop_reads_a_second_text_and_skips_the_prompt(tokenizer):
    async def read():
        streamer = AsyncTextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60)
        texts = []
        for _ in range(2):
            stream(streamer, tokenizer, "The ", TEXT)
            texts.append("".join([piece async for piece in streamer]))
        return texts

    assert asyncio.run(read()) == [TEXT, TEXT]


def test_outside_an_event_loop_a_streamer_is_refused(tokenizer):
    with refused(InputError, "no event loop is running; .* or take TextIteratorStreamer"):
        AsyncTextIteratorStreamer(tokenizer)


@pytest.mark.parametrize(
    "arguments", [{"max_new_tokens": -1}, {"num_beams": 2}, {"stop_strings": "."}], ids=str
)
def test_nobody_waits_for_a_call_that_was_refused(embedded_export, tokenizer, arguments, capsys):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    waiting = TextIteratorStreamer(tokenizer, timeout=5)
    with pytest.raises(InputError):
        model.generate([[1]], streamer=waiting, **arguments)
    assert "".join(waiting) == ""
    with pytest.raises(InputError):
        model.generate([[1]], streamer=TextStreamer(tokenizer), **arguments)
    assert capsys.readouterr().out == ""
