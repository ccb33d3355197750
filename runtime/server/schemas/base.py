"""What all requests' and responses' bodies have in common."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gptneo_onnx.models.errors import printable, shown

# Token ids, and lengths in tokens: beyond every model's, and within int64.
LARGEST = 2**31 - 1


def _whole(value: Any) -> Any:
    """Return a number as JSON means it: 16.0 is a whole number there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]


class RequestBody(BaseModel):
    """A request's body: JSON's types as they are, and no fields but those that are known.

    REFUSED has fields of OpenAI's API that are not supported, with the reason. They may be null.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )
    REFUSED: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            if name in cls.REFUSED and value is not None:
                raise _refused(name, f"{name} is not supported: {cls.REFUSED[name]}")
            if name not in cls.model_fields and name not in cls.REFUSED:
                raise _refused(name, f"{shown(name)} is unknown; {_known(name, cls)}")
        return {name: value for name, value in values.items() if name not in cls.REFUSED}


class CommonFields(RequestBody):
    """Fields of every request for a model; those that OpenAI's clients may send are passed over."""

    model: str | None = Field(
        default=None, description="a model's name from /v1/models; by default the first"
    )
    user: str | None = Field(default=None, description="passed over")
    metadata: dict[str, Any] | None = Field(default=None, description="passed over")
    store: bool | None = Field(default=None, description="passed over")
    service_tier: str | None = Field(default=None, description="passed over")
    safety_identifier: str | None = Field(default=None, description="passed over")
    prompt_cache_key: str | None = Field(default=None, description="passed over")


class ResponseBody(BaseModel):
    """A response's body."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _refused(name: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(
        "refused_field", "{message}", {"message": message, "param": printable(name, 80)}
    )


def _known(name: str, body: type[BaseModel]) -> str:
    close = get_close_matches(name[:80], body.model_fields, n=1)
    suggestion = f"did you mean {close[0]}? " if close else ""
    return f"{suggestion}these are known: {', '.join(body.model_fields)}"
