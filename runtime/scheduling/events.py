"""What a request's stream yields."""

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a sequence ended, by OpenAI's names."""

    STOP = "stop"  # an end token, a stop string or another criterion
    LENGTH = "length"  # as many tokens as were asked for


@dataclass(frozen=True, slots=True)
class TokenScore:
    """The log probability of a token by the model's logits, with the likeliest tokens beside it.

    Attributes:
        token: its id.
        logprob: natural logarithm of its probability, before processors and temperature.
        rank: how many tokens are as likely or likelier, itself included; 1 for the likeliest.
        top: the likeliest tokens and their logarithms, the best first.
    """

    token: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token of a sequence.

    Attributes:
        sequence: the sequence's number among the request's results.
        token: its id.
        score: its log probability; None unless the request asked for `logprobs`, and with beams.
        finish_reason: why the sequence ends with this token; None where it goes on.
    """

    sequence: int
    token: int
    score: TokenScore | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """The log probabilities of a prompt's tokens, before the first TokenEvent.

    Attributes:
        scores: of each token but the first, whose entry is None.
    """

    scores: tuple[TokenScore | None, ...]


Event = TokenEvent | PromptEvent
