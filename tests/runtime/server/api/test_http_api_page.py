"""docs/http-api.md names every endpoint and every field."""

import re
from pathlib import Path

import pytest

from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.schemas.base import RequestBody
from gptneo_onnx.runtime.server.schemas.chats import ChatRequest
from gptneo_onnx.runtime.server.schemas.completions import CompletionRequest
from gptneo_onnx.runtime.server.schemas.embeddings import EmbeddingRequest
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.schemas.sampling import OLDER_NAMES, StructuredOutputs
from gptneo_onnx.runtime.server.schemas.tokens import DetokenizeRequest, TokenizeRequest

PAGE = (Path(__file__).parents[4] / "docs/http-api.md").read_text()
NAMED = {*re.findall(r"`(\w+)(?:: \w+)?`", PAGE)}


@pytest.mark.parametrize(
    "body",
    [
        CompletionRequest,
        ChatRequest,
        EmbeddingRequest,
        TokenizeRequest,
        DetokenizeRequest,
        StructuredOutputs,
    ],
)
def test_every_field_is_explained(body: type[RequestBody]) -> None:
    names = {field.alias or name for name, field in body.model_fields.items()}
    assert names | {*body.REFUSED} - {*OLDER_NAMES} <= NAMED


def test_every_endpoint_is_listed() -> None:
    for path, methods in create_app([]).openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}`" in PAGE or f"{method.upper()} {path}," in PAGE


def test_every_status_is_explained() -> None:
    for status in ERRORS:
        assert f"| {status} | `" in PAGE or status == "4XX"
