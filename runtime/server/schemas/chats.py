"""What /v1/chat/completions takes and returns."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gptneo_onnx.runtime.scheduling import FinishReason
from gptneo_onnx.runtime.server.schemas.base import LARGEST, Integer, ResponseBody
from gptneo_onnx.runtime.server.schemas.completions import PromptLogprob
from gptneo_onnx.runtime.server.schemas.messages import Messages
from gptneo_onnx.runtime.server.schemas.sampling import MOST_LOGPROBS, OLDER_NAMES, SamplingFields
from gptneo_onnx.runtime.server.schemas.usage import Usage

_NO_TOOLS = "the server calls no tools; ask for JSON by response_format"
_ONLY_TEXT = "the models read and write text only"


class ChatRequest(SamplingFields):
    """A request to answer a chat."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        **OLDER_NAMES,
        **dict.fromkeys(
            ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"), _NO_TOOLS
        ),
        "audio": _ONLY_TEXT,
        "prediction": "nothing here uses it",
        "reasoning_effort": "the models do not reason apart from their text",
        "web_search_options": "the server reads no pages",
        "chat_template": "the server renders its own only; start it with --chat-template",
    }

    messages: Messages
    max_completion_tokens: Annotated[Integer, Field(ge=1, le=LARGEST)] | None = Field(
        default=None, description="most tokens to generate; all that the context has room for"
    )
    max_tokens: Annotated[Integer, Field(ge=1, le=LARGEST)] | None = Field(
        default=None, description="an older name of max_completion_tokens"
    )
    logprobs: bool | None = Field(default=None, description="add tokens' log probabilities")
    top_logprobs: Annotated[Integer, Field(ge=0, le=MOST_LOGPROBS)] | None = Field(
        default=None, description="as many of the likeliest tokens beside each; needs logprobs"
    )
    modalities: list[Literal["text"]] | None = Field(default=None, description="passed over")
    add_generation_prompt: bool | None = Field(
        default=None, description="end the chat with the header of an answer; true"
    )
    continue_final_message: bool | None = Field(
        default=None, description="continue the last message rather than answer it"
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="further values for the template"
    )


class TopLogprob(ResponseBody):
    """A token that may stand at a place."""

    token: str = Field(
        description="its text; with a part of a character, its bytes as bytes:\\xe2\\x80"
    )
    logprob: float
    bytes: list[int] | None


class ChatLogprob(TopLogprob):
    """A token with its log probability, and the likeliest tokens beside it."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(ResponseBody):
    """The tokens of an answer, before penalties and temperature."""

    content: list[ChatLogprob]
    refusal: None = None


class AnswerMessage(ResponseBody):
    """An answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class _ChoiceFields(ResponseBody):
    """What a whole answer and a part of one have in common."""

    index: int
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = Field(
        description="stop: an end token or stop text; length: the limit; null while it goes on"
    )
    stop_reason: str | int | None = Field(default=None, description="the stop text, or end token")
    token_ids: list[int] | None = Field(default=None, description="with return_token_ids")


class ChatChoice(_ChoiceFields):
    """An answer with why it ended."""

    message: AnswerMessage


class ChatCompletion(ResponseBody):
    """Answers."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="seconds since 1970")
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = Field(default=None, description="the model's")
    prompt_token_ids: list[int] | None = Field(default=None, description="with return_token_ids")
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = Field(
        default=None, description="by token id; null for the first token"
    )


class Delta(ResponseBody):
    """What a part adds to an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(_ChoiceFields):
    """A part of an answer."""

    delta: Delta


class ChatChunk(ResponseBody):
    """A chunk of a stream of answers."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(description="seconds since 1970")
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = Field(default=None, description="the model's")
    prompt_token_ids: list[int] | None = Field(default=None, description="in the first chunk")
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = Field(
        default=None, description="in the first chunk"
    )
