"""The interactive session of `gptneo-onnx generate`: entries, and what comes of them."""

import sys
from functools import partial

from gptneo_onnx.models.errors import GPTNeoOnnxError
from gptneo_onnx.runtime.cli.described_results import DescribingPipeline
from gptneo_onnx.runtime.cli.interactive_commands import complete, run_command
from gptneo_onnx.runtime.cli.interactive_session import Session
from gptneo_onnx.runtime.cli.interactive_settings import Settings
from gptneo_onnx.runtime.cli.line_input import Entry, LineInput
from gptneo_onnx.runtime.cli.signals import going_on

WELCOME = (
    "Type how the text begins; the model continues it, then you again, each time on a new line. "
    "After an empty line the model writes on. Ctrl-C stops the model, /help lists commands and "
    "settings, /quit or Ctrl-D ends."
)


def converse(generator: DescribingPipeline, settings: Settings, keeps_history: bool = True) -> None:
    """Take turns, from standard input and on standard output, until the input ends.

    Args:
        generator: has the model and its tokenizer.
        settings: those that the session begins with.
        keeps_history: whether what is typed on a terminal is kept for later sessions.

    Raises:
        InputError: standard input is closed, or not UTF-8.
        KeyboardInterrupt: Ctrl-C was typed, and the input comes from no terminal.
    """
    with going_on():
        _converse(generator, settings, keeps_history)


def _converse(generator: DescribingPipeline, settings: Settings, keeps_history: bool) -> None:
    session = Session(generator, settings)
    lines = LineInput(partial(complete, session), keeps_history)
    if lines.is_terminal:
        session.show(WELCOME)
    was_interrupted = False
    while not session.is_over:
        try:
            entry = lines.next_entry()
        except KeyboardInterrupt:
            if not lines.is_terminal:
                raise
            print(file=sys.stderr)
            if was_interrupted:
                return
            was_interrupted = True
            session.say("Ctrl-C once more, /quit or Ctrl-D ends")
            continue
        was_interrupted = False
        if entry is None:
            if lines.is_terminal:
                print(file=sys.stderr)  # so that the shell's prompt starts a new line
            return
        try:
            _take(session, entry)
        except KeyboardInterrupt:  # while a file was read, or a moment after the last token
            session.say("stopped")


def _take(session: Session, entry: Entry) -> None:
    """Do what an entry says, or have the model continue it; a mistake is told."""
    try:
        if entry.is_quoted or not entry.text.startswith("/"):
            session.turn(entry.text)
        elif entry.text.startswith("//"):
            session.turn(entry.text[1:])
        else:
            run_command(session, entry.text)
    except GPTNeoOnnxError as error:
        session.say(" ".join(str(error).split()))
