"""Shows text on a terminal while it is generated."""

import sys

from gptneo_onnx.runtime.cli.terminal_text import TerminalText
from gptneo_onnx.runtime.generation.streamers import TextStreamer
from gptneo_onnx.runtime.tokenizer import Tokenizer


class TerminalStreamer(TextStreamer):
    """Writes to standard output, a terminal, as TerminalText does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._terminal = TerminalText(sys.stdout)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._terminal.write(text)
        if stream_end and self._has_begun:
            self._terminal.end()
