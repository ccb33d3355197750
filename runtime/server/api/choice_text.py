"""A result's text, from the tokens that the engine chooses to the parts that a client gets."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gptneo_onnx.runtime.scheduling import FinishReason, TokenEvent, TokenScore
from gptneo_onnx.runtime.server.api.incremental_text import incremental_text
from gptneo_onnx.runtime.server.api.stop_search import StopSearch
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class PlacedToken:
    """A token, and the character of the result that it begins in."""

    token: int
    score: TokenScore | None
    offset: int


@dataclass(frozen=True)
class Part:
    """The next part of a result.

    Attributes:
        text: the text since the last part.
        tokens: the tokens since the last part. Those of a stop text are among them.
        finish_reason: why the result ends with this part; None where it goes on.
        stop_reason: the stop text or the token that ended it, if one did.
    """

    text: str
    tokens: Sequence[PlacedToken] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None


@dataclass(frozen=True)
class TextOptions:
    """How the tokens of a result become its text.

    Attributes:
        stops: texts that end it.
        end_tokens: tokens that end it, and that its text leaves out.
        own_end_tokens: those of them that are the model's, and no reason worth naming.
        keeps_stop: whether the text that ended it, or its end token's, is part of it.
        min_tokens: tokens in which no stop text counts.
        skip_special_tokens: whether special tokens have no text.
    """

    stops: Sequence[str] = ()
    end_tokens: Collection[int] = ()
    own_end_tokens: Collection[int] = ()
    keeps_stop: bool = False
    min_tokens: int = 0
    skip_special_tokens: bool = True


class ChoiceText:
    """A result while its tokens come.

    Attributes:
        tokens: how many it has.
        logprob: the sum of their log probabilities.
        is_finished: whether it has ended; later tokens are passed over.
    """

    def __init__(self, tokenizer: Tokenizer, options: TextOptions) -> None:
        self.tokens = 0
        self.logprob = 0.0
        self.is_finished = False
        self._options = options
        self._text = incremental_text(tokenizer, options.skip_special_tokens)
        self._search = StopSearch(options.stops, options.keeps_stop)
        self._decoded = 0  # characters
        self._returned = 0
        self._waiting: list[tuple[PlacedToken, int]] = []  # with the character that each ends at

    def add(self, event: TokenEvent) -> Part | None:
        """Take a token; return the part that it completes, None if it completes none."""
        if self.is_finished:
            return None
        self.tokens += 1
        self.logprob += event.score.logprob if event.score else 0.0
        is_last = event.finish_reason is not None
        text = self._decode(event, is_last)
        returned = self._search.add(text, self.tokens > self._options.min_tokens)
        if self._search.found is not None:
            return self._end(returned, FinishReason.STOP, self._search.found)
        if is_last:
            is_named = self._is_end(event) and event.token not in self._options.own_end_tokens
            reason = event.token if is_named else None
            return self._end(returned + self._search.finish(), event.finish_reason, reason)
        self._returned += len(returned)
        ready = [placed for placed, end in self._waiting if end <= self._returned]
        self._waiting = [each for each in self._waiting if each[1] > self._returned]
        return Part(returned, ready) if returned or ready else None

    def _decode(self, event: TokenEvent, is_last: bool) -> str:
        """Return the text that a token completes, and take note of where it is."""
        start = self._decoded
        is_left_out = self._is_end(event) and not self._options.keeps_stop
        text = "" if is_left_out else self._text.add(event.token)
        if is_last:
            text += self._text.finish()
        self._decoded += len(text)
        placed = PlacedToken(event.token, event.score, start)
        self._waiting.append((placed, self._decoded))
        return text

    def _is_end(self, event: TokenEvent) -> bool:
        return event.finish_reason is FinishReason.STOP and event.token in self._options.end_tokens

    def _end(self, text: str, reason: FinishReason | None, stop_reason: str | int | None) -> Part:
        self.is_finished = True
        tokens = [placed for placed, _ in self._waiting]
        self._waiting = []
        return Part(text, tokens, reason, stop_reason)
