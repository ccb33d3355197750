"""What /v1/embeddings takes and returns."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from gptneo_onnx.runtime.server.schemas.base import CommonFields, ResponseBody
from gptneo_onnx.runtime.server.schemas.completions import Prompt
from gptneo_onnx.runtime.server.schemas.usage import Usage


class EmbeddingRequest(CommonFields):
    """A request for vectors of texts."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "dimensions": "vectors have the model's size, and their first numbers mean no more than "
        "others; leave it out"
    }

    input: Prompt = Field(description="a text, texts, token ids, or lists of them")
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="numbers, or their bytes as little-endian float32; float"
    )
    pooling: Literal["mean", "last"] | None = Field(
        default=None,
        description="the mean of the tokens' hidden states, or those of the last; mean",
    )
    normalize: bool | None = Field(
        default=None, description="scale vectors to length 1, as OpenAI's are; true"
    )
    add_special_tokens: bool | None = Field(
        default=None, description="put the tokens around a text that the tokenizer has for that"
    )


class Embedding(ResponseBody):
    """A vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="numbers, or base64")


class EmbeddingList(ResponseBody):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
