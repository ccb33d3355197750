"""Text while it is generated."""

import asyncio
import inspect
import queue
from collections.abc import Sequence
from typing import Any, Protocol

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"


class Streamer(Protocol):
    """What generate() calls: put() with the prompt's ids, then with each token's, then end()."""

    def put(self, ids: Sequence[int]) -> None: ...

    def end(self) -> None: ...


class TextStreamer:
    """Prints text as soon as it is certain (transformers.TextStreamer).

    Never half a character: bytes of UTF-8 that wait for the rest are held back. transformers holds
    back whole words, up to the next space. With clean_up_tokenization_spaces lines are held back,
    since a later token may still take a space away.

    Args:
        tokenizer: of the model.
        skip_prompt: leave the prompt out.
        decode_kwargs: for the tokenizer's decode(), such as skip_special_tokens=True.

    Raises:
        InputError: decode() has no such argument.
    """

    def __init__(
        self, tokenizer: Tokenizer, skip_prompt: bool = False, **decode_kwargs: Any
    ) -> None:
        _check_decode_kwargs(tokenizer, decode_kwargs)
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self._pending: list[int] = []
        self._printed = 0
        self._is_prompt = True
        self._has_begun = False

    def put(self, ids: Sequence[int]) -> None:
        if self._is_prompt:
            self._is_prompt = False
            if self.skip_prompt:
                return
        self._pending.extend(int(token) for token in ids)
        text = self._decoded()
        if not self._is_certain(text):
            return
        self.on_finalized_text(text[self._printed :])
        if text.endswith("\n"):
            # A line is final: later tokens need not decode it again.
            self._pending, self._printed = [], 0
        else:
            self._printed = len(text)

    def end(self) -> None:
        text = self._decoded() if self._pending else ""
        rest = text[self._printed :]
        self._has_begun = not self._is_prompt
        # Before the text goes out: should that fail, the next call still starts a text of its own.
        self._pending, self._printed, self._is_prompt = [], 0, True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Override to send the text elsewhere."""
        print(text, flush=True, end="\n" if stream_end and self._has_begun else "")

    def _decoded(self) -> str:
        return self.tokenizer.decode(self._pending, **self.decode_kwargs)

    def _is_certain(self, text: str) -> bool:
        if self.decode_kwargs.get("clean_up_tokenization_spaces"):
            return text.endswith("\n")
        return not text.endswith(_REPLACEMENT)


class TextIteratorStreamer(TextStreamer):
    """Text to iterate over while generate() runs in a thread (transformers.TextIteratorStreamer).

        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
        Thread(target=model.generate, args=[ids], kwargs={"streamer": streamer}).start()
        for text in streamer: ...

    The iteration ends with generate(), also when that fails: the error is the thread's own.

    Args:
        tokenizer, skip_prompt, decode_kwargs: TextStreamer's.
        timeout: seconds to wait for the next piece before queue.Empty is raised; None waits.

    Raises:
        InputError: a timeout that is no time, or an argument that decode() has not.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = _checked_timeout(timeout)
        self.stop_signal: None = None
        self.text_queue: queue.Queue[str | None] = queue.Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text_queue.put(text)
        if stream_end:
            self.text_queue.put(self.stop_signal)

    def __iter__(self) -> "TextIteratorStreamer":
        return self

    def __next__(self) -> str:
        try:
            text = self.text_queue.get(timeout=self.timeout)
        except queue.Empty as error:
            raise queue.Empty(_late(self.timeout)) from error
        if text is None:
            raise StopIteration
        return text


class AsyncTextIteratorStreamer(TextStreamer):
    """TextIteratorStreamer for `async for` (transformers.AsyncTextIteratorStreamer).

    To be made inside the coroutine that iterates: pieces are handed to its event loop.

    Args:
        tokenizer, skip_prompt, decode_kwargs: TextStreamer's.
        timeout: seconds to wait for the next piece before TimeoutError is raised; None waits.

    Raises:
        InputError: no event loop is running, or TextIteratorStreamer's reasons.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = _checked_timeout(timeout)
        self.stop_signal: None = None
        self.text_queue: asyncio.Queue[str | None] = asyncio.Queue()
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise InputError(
                "no event loop is running; make an AsyncTextIteratorStreamer inside a coroutine, "
                "or take TextIteratorStreamer"
            ) from error

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        # generate() runs in another thread, and asyncio's queues are not made for that.
        self.loop.call_soon_threadsafe(self.text_queue.put_nowait, text)
        if stream_end:
            self.loop.call_soon_threadsafe(self.text_queue.put_nowait, self.stop_signal)

    def __aiter__(self) -> "AsyncTextIteratorStreamer":
        return self

    async def __anext__(self) -> str:
        try:
            async with asyncio.timeout(self.timeout):
                text = await self.text_queue.get()
        except TimeoutError as error:
            raise TimeoutError(_late(self.timeout)) from error
        if text is None:
            raise StopAsyncIteration
        return text


def _check_decode_kwargs(tokenizer: Tokenizer, decode_kwargs: dict[str, Any]) -> None:
    """At once: in the midst of a generation it would be too late."""
    signature = inspect.signature(tokenizer.decode)
    try:
        signature.bind([], **decode_kwargs)
    except TypeError as error:
        allowed = ", ".join(list(signature.parameters)[1:])
        raise InputError(
            f"decode_kwargs are {shown(decode_kwargs)}; what the tokenizer's decode() takes is "
            f"allowed: {allowed}"
        ) from error


def _checked_timeout(timeout: float | None) -> float | None:
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise InputError(
            f"timeout is {shown(timeout)}; seconds above 0 are allowed, or None to wait for ever"
        )
    return timeout


def _late(timeout: float | None) -> str:
    return f"no text came within {timeout} seconds; see whether generate() still runs"
