"""Text while it is generated."""

from collections.abc import Sequence
from typing import Protocol

from gptneo_onnx.runtime.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"


class Streamer(Protocol):
    """What generate() calls: put() with the prompt's ids, then with each token's, then end()."""

    def put(self, ids: Sequence[int]) -> None: ...

    def end(self) -> None: ...


class TextStreamer:
    """Prints text as soon as it is certain (transformers.TextStreamer).

    Never half a character: bytes of UTF-8 that wait for the rest are held back.
    """

    def __init__(
        self, tokenizer: Tokenizer, skip_prompt: bool = False, skip_special_tokens: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.skip_special_tokens = skip_special_tokens
        self._pending: list[int] = []
        self._printed = 0
        self._is_prompt = True

    def put(self, ids: Sequence[int]) -> None:
        if self._is_prompt:
            self._is_prompt = False
            if self.skip_prompt:
                return
        self._pending.extend(int(token) for token in ids)
        text = self._decoded()
        if text.endswith(_REPLACEMENT):
            return
        self.on_finalized_text(text[self._printed :])
        if text.endswith("\n"):
            # A line is final: later tokens need not decode it again.
            self._pending, self._printed = [], 0
        else:
            self._printed = len(text)

    def end(self) -> None:
        text = self._decoded() if self._pending else ""
        self.on_finalized_text(text[self._printed :], stream_end=True)
        self._pending, self._printed, self._is_prompt = [], 0, True

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Override to send the text elsewhere."""
        print(text, flush=True, end="\n" if stream_end else "")

    def _decoded(self) -> str:
        return self.tokenizer.decode(self._pending, self.skip_special_tokens)
