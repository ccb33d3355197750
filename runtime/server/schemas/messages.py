"""The messages of a chat."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gptneo_onnx.runtime.server.schemas.base import RequestBody

_NO_TOOLS = "the server calls no tools"


class TextPart(RequestBody):
    """A part of a message."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "image_url": "the models read text only",
        "input_audio": "the models read text only",
        "file": "the models read text only",
    }

    type: Literal["text"] = Field(description="text is all that models read")
    text: str


class Message(RequestBody):
    """A message of a chat."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "tool_calls": _NO_TOOLS,
        "tool_call_id": _NO_TOOLS,
        "function_call": _NO_TOOLS,
        "audio": "the models read text only",
    }

    role: Literal["developer", "system", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = Field(default=None, description="for templates that know names")
    refusal: str | None = Field(default=None, description="passed over")
    annotations: list[Any] | None = Field(default=None, description="passed over")

    def for_template(self) -> dict[str, str]:
        """Return the message as templates take it; parts of a text become its lines."""
        content = self.content
        if not isinstance(content, str):
            content = "\n".join(part.text for part in content)
        named = {} if self.name is None else {"name": self.name}
        return {"role": self.role, "content": content, **named}


Messages = Annotated[list[Message], Field(min_length=1)]
