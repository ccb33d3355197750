"""What /v1/completions takes and returns."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gptneo_onnx.runtime.scheduling import FinishReason
from gptneo_onnx.runtime.server.schemas.base import LARGEST, Integer, ResponseBody
from gptneo_onnx.runtime.server.schemas.sampling import (
    MOST_LOGPROBS,
    OLDER_NAMES,
    SamplingFields,
    TokenId,
)
from gptneo_onnx.runtime.server.schemas.usage import Usage

Prompt = (
    str
    | Annotated[list[str], Field(min_length=1, max_length=2048)]
    | Annotated[list[TokenId], Field(min_length=1)]
    | Annotated[
        list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=2048)
    ]
)


class CompletionRequest(SamplingFields):
    """A request to continue texts."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        **OLDER_NAMES,
        "suffix": "GPT-Neo reads from left to right only; put all that is known into prompt",
    }

    prompt: Prompt | None = Field(
        default=None,
        description="a text, texts, token ids, or lists of them; by default the first token",
    )
    max_tokens: Annotated[Integer, Field(ge=0, le=LARGEST)] | None = Field(
        default=None, description="most tokens to generate; 16. 0 needs echo, or prompt_logprobs"
    )
    echo: bool | None = Field(default=None, description="begin each result with its prompt")
    logprobs: Annotated[Integer, Field(ge=0, le=MOST_LOGPROBS)] | None = Field(
        default=None, description="add tokens' log probabilities, with as many others beside each"
    )


class CompletionLogprobs(ResponseBody):
    """The tokens of a text with their log probabilities, before penalties and temperature."""

    tokens: list[str] = Field(
        description="texts; a token with a part of a character as bytes:\\xe2\\x80"
    )
    token_logprobs: list[float | None] = Field(description="null for the prompt's first token")
    top_logprobs: list[dict[str, float] | None] = Field(
        description="the likeliest tokens, and the one itself"
    )
    text_offset: list[int] = Field(description="the character of `text` that each begins in")


class PromptLogprob(ResponseBody):
    """A token that may stand at a place of the prompt."""

    logprob: float
    rank: int = Field(description="1 for the likeliest")
    decoded_token: str


class CompletionChoice(ResponseBody):
    """A result."""

    index: int = Field(description="prompt * n + result")
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = Field(
        description="stop: an end token or stop text; length: max_tokens; null while it goes on"
    )
    stop_reason: str | int | None = Field(default=None, description="the stop text, or end token")
    token_ids: list[int] | None = Field(default=None, description="with return_token_ids")
    prompt_token_ids: list[int] | None = Field(default=None, description="with return_token_ids")
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = Field(
        default=None, description="by token id; null for the first token"
    )


class Completion(ResponseBody):
    """Results, or a chunk of a stream of them."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="seconds since 1970")
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = Field(default=None, description="the model's")
