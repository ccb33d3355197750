"""Writing a text in turns gives the same text as all at once, and only new tokens are prefilled."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.interactive import Conversation, converse
from gptneo_onnx.runtime.engine.decoder import Decoder


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export)


@pytest.fixture(scope="module")
def tokenizer(embedded_export):
    return Tokenizer.from_pretrained(embedded_export)


@pytest.fixture
def conversation(model, tokenizer):
    return Conversation(model, tokenizer, GenerationConfig(max_new_tokens=12))


@pytest.fixture
def prefilled(monkeypatch):
    """The number of tokens of each prefill."""
    counts = []
    original = Decoder.prefill

    def counted(decoder, slot, ids, *arguments):
        counts.append(len(ids))
        return original(decoder, slot, ids, *arguments)

    monkeypatch.setattr(Decoder, "prefill", counted)
    return counts


def said(conversation, *lines):
    written = []
    for line in lines:
        conversation.turn(line, written.append)
    return "".join(written)


def test_turns_make_one_text_and_only_new_tokens_are_prefilled(
    conversation, model, tokenizer, prefilled
):
    text = said(conversation, "She was", "very fond of", "", "him")
    ids = conversation.ids
    new = [len(tokenizer.encode(line)) for line in ("She was", "\nvery fond of", "", "\nhim")]
    # Each turn but the first also takes the token that the turn before it ended with.
    assert prefilled == [new[0], 1 + new[1], 1, 1 + new[3]]

    written = tokenizer.encode("She was")
    for line in ("\nvery fond of", "", "\nhim", None):
        written = model.generate([written], max_new_tokens=12, eos_token_id=None)[0].tolist()
        written += [] if line is None else tokenizer.encode(line)
    assert ids == written
    assert text.count("\n") >= 4


def test_a_long_text_past_the_window(conversation, model, tokenizer, prefilled):
    conversation.config = conversation.config.updated(max_new_tokens=80)
    said(conversation, "She was", "", "", "")
    whole = model.generate(
        tokenizer("She was", return_tensors="np")["input_ids"],
        max_new_tokens=320,
        eos_token_id=None,
    )
    assert conversation.ids == whole[0].tolist()
    assert prefilled[1:4] == [1, 1, 1]


def test_what_was_written_before_an_interruption_stays(conversation, prefilled):
    class InterruptionError(Exception):
        pass

    pieces = []

    def write(text):
        pieces.append(text)
        if len(pieces) == 5:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        conversation.turn("She was", write)
    assert conversation.tokenizer.decode(conversation.ids) == "She was" + "".join(pieces[:5])
    said(conversation, "and")


def test_an_end_token_does_not_end_the_text(model, tokenizer):
    conversation = Conversation(
        model, tokenizer, GenerationConfig(max_new_tokens=5, forced_eos_token_id=0)
    )
    said(conversation, "She", "and")
    assert tokenizer.eos_token_id == 0
    assert 0 not in conversation.ids


def test_the_context_ends_the_text(conversation):
    conversation.config = conversation.config.updated(max_new_tokens=1000)
    said(conversation, "She was")
    assert len(conversation.ids) == 512
    with pytest.raises(InputError, match="tokens and fills the model's context of 512; /clear beg"):
        said(conversation, "and")


def test_the_first_line_may_not_be_empty(conversation):
    with pytest.raises(InputError, match="the text is still empty; type how it begins"):
        said(conversation, "")


class TestTheTerminal:
    def take(self, conversation, monkeypatch, text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        converse(conversation)

    def test_lines_until_the_input_ends(self, conversation, monkeypatch, capsys):
        self.take(conversation, monkeypatch, "She was\nvery\n")
        first = capsys.readouterr().out
        conversation.clear()
        self.take(conversation, monkeypatch, "She was\nvery\n/quit\nnever read\n")
        assert capsys.readouterr().out == first

    def test_clear_begins_anew(self, conversation, monkeypatch, capsys):
        self.take(conversation, monkeypatch, "She was\n")
        once = capsys.readouterr().out
        conversation.clear()
        self.take(conversation, monkeypatch, "She was\n/clear\nShe was\n")
        assert capsys.readouterr().out == once * 2

    def test_mistakes_are_told_and_the_conversation_goes_on(
        self, conversation, monkeypatch, capsys
    ):
        self.take(conversation, monkeypatch, "\nShe was\n")
        output = capsys.readouterr()
        assert output.err == "[the text is still empty; type how it begins]\n"
        assert output.out

    def test_standard_input_that_is_closed(self, conversation, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(InputError, match="standard input is closed"):
            converse(conversation)


def test_a_terminal_with_prompt_and_interruption(embedded_export):
    """The real command on a real terminal: Ctrl-C stops the model, Ctrl-D the command."""
    command = [
        sys.executable,
        "-m",
        "gptneo_onnx.runtime.cli.main",
        "generate",
        str(embedded_export),
    ]
    command += ["--interactive", "--max-new-tokens", "450"]
    in_terminal = f"import os, pty; os._exit(os.waitstatus_to_exitcode(pty.spawn({command!r})))"
    process = subprocess.Popen(
        [sys.executable, "-c", in_terminal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)  # a fault must not hang the tests
    watchdog.start()
    shown = b""

    def wait_for(text):
        nonlocal shown
        while text not in shown and (more := process.stdout.read(4096)):
            shown += more
        assert text in shown, shown
        shown = shown.partition(text)[2]

    wait_for(b"/quit or Ctrl-D ends")
    wait_for(b"> ")
    process.stdin.write(b"She was\n")
    wait_for(b"She was\r\n")
    wait_for(b" ")
    process.stdin.write(b"\x03")
    wait_for(b"[stopped]")
    wait_for(b"> ")
    process.stdin.write(b"\x04")
    assert process.wait(timeout=60) == 0
    watchdog.cancel()
    process.stdin.close()
    process.stdout.close()


def test_max_length_bounds_the_whole_text(model, tokenizer):
    conversation = Conversation(model, tokenizer, GenerationConfig(max_length=21))
    said(conversation, "She was")
    assert len(conversation.ids) == 21
    with pytest.raises(InputError, match="has 21 tokens and fills max_length, 21; /clear begins"):
        conversation.turn("", print)


def test_a_model_whose_config_asks_for_beams_writes_a_single_text(model, tokenizer):
    config = GenerationConfig(
        max_new_tokens=12, num_beams=4, num_beam_groups=2, diversity_penalty=1.0
    )
    plain = Conversation(model, tokenizer, GenerationConfig(max_new_tokens=12))
    assert said(Conversation(model, tokenizer, config), "She was") == said(plain, "She was")


def test_the_arguments_of_the_command_reach_the_model(embedded_export, monkeypatch):
    from gptneo_onnx.runtime.cli import main as cli

    seen = []
    original = GPTNeoForCausalLM.generate

    def generate(model, *arguments, **kwargs):
        seen.append(kwargs)
        return original(model, *arguments, **kwargs)

    monkeypatch.setattr(GPTNeoForCausalLM, "generate", generate)
    monkeypatch.setattr(sys, "stdin", io.StringIO("She\n"))
    options = ["--max-new-tokens", "7", "--temperature", "0.5", "--draft", str(embedded_export)]
    assert cli.main(["generate", str(embedded_export), "--interactive", *options]) == 0
    assert seen[0]["max_new_tokens"] == 7
    assert isinstance(seen[0]["assistant_model"], GPTNeoForCausalLM)
    assert seen[0]["generation_config"].do_sample is True
    assert seen[0]["generation_config"].temperature == 0.5
    assert np.shape(seen[0]["past_key_values"].sequences) == (0,)
