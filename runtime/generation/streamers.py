"""Streamers: they pass on text while it is generated."""

import asyncio
import inspect
import queue
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"


class Streamer(Protocol):
    """Receives ids from generate(), in the shapes that transformers' generate() puts.

    put() gets the prompt int64 [1, length], padding included, then the ids int64 [tokens] of each
    step; end() comes last.
    """

    def put(self, ids: Ids) -> None: ...

    def end(self) -> None: ...


class TextStreamer:
    """Prints text as soon as it is final (transformers.TextStreamer).

    The bytes of an incomplete character are held back until the rest follows; transformers holds
    back whole words, up to the next space. With clean_up_tokenization_spaces whole lines are held
    back, since a later token may still remove a space.

    Args:
        tokenizer: the model's tokenizer.
        skip_prompt: whether to leave out the prompt.
        decode_kwargs: arguments for the tokenizer's decode(), such as skip_special_tokens=True.

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
        clean_up = decode_kwargs.get("clean_up_tokenization_spaces")
        self._cleans_up = tokenizer.clean_up_tokenization_spaces if clean_up is None else clean_up
        self._pending: list[int] = []
        self._printed = 0
        self._is_prompt = True
        self._has_begun = False

    def put(self, ids: ArrayLike) -> None:
        if self._is_prompt:
            self._is_prompt = False
            if self.skip_prompt:
                return
        self._pending.extend(_single_row(ids))
        text = self._decoded()
        if not self._is_final(text):
            return
        self.on_finalized_text(text[self._printed :])
        if text.endswith("\n"):
            # No later token changes a whole line, so it need not be decoded again.
            self._pending, self._printed = [], 0
        else:
            self._printed = len(text)

    def end(self) -> None:
        text = self._decoded() if self._pending else ""
        rest = text[self._printed :]
        self._has_begun = not self._is_prompt
        # Before the text is sent: if that fails, the next call must still begin a new text.
        self._pending, self._printed, self._is_prompt = [], 0, True
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Override to send the text elsewhere."""
        print(text, flush=True, end="\n" if stream_end and self._has_begun else "")

    def _decoded(self) -> str:
        return self.tokenizer.decode(self._pending, **self.decode_kwargs)

    def _is_final(self, text: str) -> bool:
        if self._cleans_up:
            return text.endswith("\n")
        return not text.endswith(_REPLACEMENT)


class TextIteratorStreamer(TextStreamer):
    """Iterates over text while generate() runs in a thread (transformers.TextIteratorStreamer).

        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
        Thread(target=model.generate, args=[ids], kwargs={"streamer": streamer}).start()
        for text in streamer: ...

    The iteration ends with generate(), even when that fails: the error is raised in its thread.

    Args:
        tokenizer: the model's tokenizer.
        skip_prompt: whether to leave out the prompt.
        timeout: seconds to wait for the next piece before queue.Empty is raised; None waits.
        decode_kwargs: arguments for the tokenizer's decode(), as for TextStreamer.

    Raises:
        InputError: the timeout is not a number above 0, or decode() has no such argument.
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
            raise queue.Empty(_timeout_message(self.timeout)) from error
        if text is None:
            raise StopIteration
        return text


class AsyncTextIteratorStreamer(TextStreamer):
    """A TextIteratorStreamer for `async for` (transformers.AsyncTextIteratorStreamer).

    Construct it inside the coroutine that iterates: pieces are passed to its event loop.

    Args:
        tokenizer: the model's tokenizer.
        skip_prompt: whether to leave out the prompt.
        timeout: seconds to wait for the next piece before TimeoutError is raised; None waits.
        decode_kwargs: arguments for the tokenizer's decode(), as for TextStreamer.

    Raises:
        InputError: no event loop is running, or as for TextIteratorStreamer.
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
        # generate() runs in another thread, and asyncio's queues are not thread-safe.
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
            raise TimeoutError(_timeout_message(self.timeout)) from error
        if text is None:
            raise StopAsyncIteration
        return text


def _single_row(ids: ArrayLike) -> list[int]:
    """Return ids [length], or [1, length] as generate() puts a prompt."""
    array = np.asarray(ids)
    if array.ndim > 1 and len(array) > 1:
        raise InputError(f"a streamer takes one sequence, and there are {len(array)}")
    return [int(token) for token in array.ravel()]


def _check_decode_kwargs(tokenizer: Tokenizer, decode_kwargs: dict[str, Any]) -> None:
    """Check decode()'s arguments before generation, since an error in its midst comes too late."""
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


def _timeout_message(timeout: float | None) -> str:
    return f"no text came within {timeout} seconds; see whether generate() still runs"
