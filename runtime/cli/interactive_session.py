"""What an interactive session of `gptneo-onnx generate` has: text, settings, screen."""

import sys
from collections.abc import Callable
from functools import partial

from gptneo_onnx.runtime.cli.conversation import Conversation
from gptneo_onnx.runtime.cli.described_results import DescribingPipeline
from gptneo_onnx.runtime.cli.interactive_settings import Settings
from gptneo_onnx.runtime.cli.terminal import is_terminal
from gptneo_onnx.runtime.cli.terminal_text import TerminalText, one_line, print_text, visible


class Session:
    """A conversation with its settings.

    Attributes:
        conversation: the text, and the model.
        settings: how the model writes.
        is_over: whether the user has ended it.
    """

    def __init__(self, generator: DescribingPipeline, settings: Settings) -> None:
        self.settings = settings
        self.conversation = Conversation(
            generator.model, generator.tokenizer, settings.config, **settings.arguments
        )
        self.is_over = False

    def apply_settings(self) -> None:
        """Have the following turns go by the settings as they are now."""
        self.conversation.configure(self.settings.config, self.settings.arguments)

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


def _print(text: str) -> None:
    print(text, end="", flush=True)
