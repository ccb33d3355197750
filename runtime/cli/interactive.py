"""The interactive session of `gptneo-onnx generate`: entries, and what comes of them."""

import sys
from collections.abc import Callable
from functools import partial

from gptneo_onnx.models.errors import GPTNeoOnnxError
from gptneo_onnx.runtime.cli.conversation import Conversation
from gptneo_onnx.runtime.cli.interactive_commands import complete, run_command
from gptneo_onnx.runtime.cli.interactive_settings import Settings
from gptneo_onnx.runtime.cli.line_input import Entry, LineInput
from gptneo_onnx.runtime.cli.terminal_text import (
    TerminalText,
    is_terminal,
    one_line,
    print_text,
    visible,
)
from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline

WELCOME = (
    "Type how the text begins; the model continues it, then you again, each time on a new line. "
    "After an empty line the model writes on. Ctrl-C stops the model, /help lists commands and "
    "settings, /quit or Ctrl-D ends."
)


class Session:
    """A conversation with its settings.

    Attributes:
        conversation: the text, and the model.
        settings: how the model writes.
        is_over: whether the user has ended it.
    """

    def __init__(self, generator: TextGenerationPipeline, settings: Settings) -> None:
        self.settings = settings
        self.conversation = Conversation(
            generator.model, generator.tokenizer, settings.config, **settings.arguments
        )
        self.is_over = False

    def apply_settings(self) -> None:
        """Have the following turns go by the settings as they are now."""
        self.conversation.configure(self.settings.config, self.settings.arguments)

    def take(self, entry: Entry) -> None:
        """Do what an entry says, or continue it; a mistake is told."""
        try:
            if entry.text.startswith("/") and not entry.is_quoted:
                if entry.text.startswith("//"):
                    self.turn(entry.text[1:])
                else:
                    run_command(self, entry.text)
            else:
                self.turn(entry.text)
        except GPTNeoOnnxError as error:
            self.say(" ".join(str(error).split()))

    def turn(self, text: str) -> None:
        """Add a text and have the model continue it; Ctrl-C stops the model."""
        self.write(partial(self.conversation.turn, text))

    def write(self, generate: Callable[[Callable[[str], None]], None]) -> None:
        """Show what the model writes, on standard output.

        Args:
            generate: calls what it is given with the text, piece by piece.
        """
        terminal = TerminalText(sys.stdout) if is_terminal(sys.stdout) else None
        try:
            generate(_print if terminal is None else terminal.write)
        except KeyboardInterrupt:
            if terminal is not None:
                terminal.flush()
            _print("\n")
            self.say("stopped")

    def say(self, text: str) -> None:
        """Show a note, on standard error."""
        self.show(f"[{one_line(text)}]")

    def show(self, text: str) -> None:
        """Show lines, on standard error: what is on standard output is the text alone."""
        print_text(visible(text), sys.stderr)


def converse(
    generator: TextGenerationPipeline, settings: Settings, keeps_history: bool = True
) -> None:
    """Take turns, from standard input and on standard output, until the input ends.

    Args:
        generator: has the model and its tokenizer.
        settings: those that the session begins with.
        keeps_history: whether what is typed on a terminal is kept for later sessions.

    Raises:
        InputError: standard input is closed, or not UTF-8.
        KeyboardInterrupt: Ctrl-C was typed, and the input comes from no terminal.
    """
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
                print(file=sys.stderr)  # the shell's prompt belongs on a line of its own
            return
        try:
            session.take(entry)
        except KeyboardInterrupt:  # while a file was read, or a moment after the last token
            session.say("stopped")


def _print(text: str) -> None:
    print(text, end="", flush=True)
