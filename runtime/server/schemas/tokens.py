"""What /tokenize, /detokenize and /tokenizer_info take and return, as vLLM's server does."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gptneo_onnx.runtime.server.schemas.base import CommonFields, ResponseBody
from gptneo_onnx.runtime.server.schemas.messages import Messages
from gptneo_onnx.runtime.server.schemas.sampling import TokenId


class TokenizeRequest(CommonFields):
    """A text, or a chat, to be encoded."""

    prompt: str | None = Field(default=None, description="a text")
    messages: Messages | None = Field(default=None, description="a chat, instead of a text")
    add_special_tokens: bool | None = Field(
        default=None,
        description="put the tokens around it that the tokenizer has for that; true for a text",
    )
    add_generation_prompt: bool | None = Field(
        default=None, description="end a chat with the header of an answer; true"
    )
    return_token_strs: bool | None = Field(default=None, description="add token_strs")

    @model_validator(mode="after")
    def _check(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise PydanticCustomError("tokenize", "give a prompt, or messages")
        return self


class Tokenized(ResponseBody):
    """The tokens of a text."""

    count: int
    max_model_len: int = Field(description="tokens of a prompt and its result at most")
    tokens: list[int]
    token_strs: list[str] | None = Field(
        default=None, description="as in log probabilities; with return_token_strs"
    )


class DetokenizeRequest(CommonFields):
    """Tokens to be decoded."""

    tokens: Annotated[list[TokenId], Field(max_length=1_000_000)]


class Detokenized(ResponseBody):
    """The text of tokens."""

    prompt: str


class TokenizerInfo(ResponseBody):
    """A model's special tokens and chat template; lm-evaluation-harness reads them."""

    tokenizer_class: str
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    unk_token: str | None
    chat_template: str | None
