"""What /v1/models and /version return."""

from typing import Literal

from pydantic import Field

from gptneo_onnx.runtime.server.schemas.base import ResponseBody


class Capabilities(ResponseBody):
    """What a model can be asked for."""

    completions: bool
    chat: bool = Field(description="there is a chat template")
    embeddings: bool = Field(description="the export has the last layer's hidden states")


class ModelCard(ResponseBody):
    """A model that is served."""

    id: str = Field(description="what requests call it")
    object: Literal["model"] = "model"
    created: int = Field(description="when it was loaded, in seconds since 1970")
    owned_by: str = "user"
    max_model_len: int = Field(description="tokens of a prompt and its result at most")
    capabilities: Capabilities


class ModelList(ResponseBody):
    """The models that are served; the first is the default."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Version(ResponseBody):
    """The release of gptneo-onnx that answers."""

    version: str
