"""The OpenAPI document is true: drawn requests get answers that it describes, and never a 500."""

import pytest
import schemathesis
from api_server import model_server, served_model
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.schemas.base import RequestBody
from gptneo_onnx.runtime.server.schemas.chats import ChatRequest
from gptneo_onnx.runtime.server.schemas.completions import CompletionRequest
from gptneo_onnx.runtime.server.schemas.embeddings import EmbeddingRequest
from gptneo_onnx.runtime.server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from gptneo_onnx.runtime.server.settings import ServerSettings

BODIES = (CompletionRequest, ChatRequest, EmbeddingRequest, TokenizeRequest, DetokenizeRequest)
MODELS = ("CompletionRequest", "ChatRequest", "EmbeddingRequest", "TokenizeRequest")


# The document has no rules for fields together, nor the limits of a server.
NOT_CHECKED = [positive_data_acceptance]
DRAWN = [
    (method, path, mode)
    for path, methods in create_app([]).openapi()["paths"].items()
    for method in methods
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if (method, mode) != ("get", GenerationMode.NEGATIVE)  # nothing could be wrong
]


@pytest.fixture(scope="module")
def document(embedded_export, tmp_path_factory):
    """The document of a server with a chat template."""
    template = tmp_path_factory.mktemp("chat") / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    limits = ServerSettings(chat_template=template, timeout=5)
    with model_server(served_model(embedded_export), settings=limits) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def leave_few_fields(case, kept):
    """Leave few of the fields that were drawn, so that some requests are served, and soon."""
    if isinstance(case.body, dict):
        case.body = {name: case.body[name] for name in case.body if name in kept}
        if "messages" in case.body and case.path == "/v1/chat/completions":
            case.body["max_tokens"] = 4


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), DRAWN)
def test_drawn_requests_get_what_is_described(document, method, path, mode):
    operation = document[path][method]
    required = {"prompt", "messages", "input", "tokens"}
    names = [name for kind in BODIES for name in kind.model_fields if name != "model"]
    statuses = set()

    @given(
        case=operation.as_strategy(generation_mode=mode),
        kept=st.sets(st.sampled_from(names), max_size=4),
    )
    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate],
    )
    def check(case, kept):
        if mode is GenerationMode.POSITIVE:
            leave_few_fields(case, kept | required)
        response = case.call()
        case.validate_response(response, excluded_checks=NOT_CHECKED)
        statuses.add(response.status_code)

    check()
    assert statuses
    if mode is GenerationMode.POSITIVE and "{" not in path:
        assert 200 in statuses


def test_every_field_is_described(http):
    document = http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for name in MODELS:
        for field, value in schemas[name]["properties"].items():
            assert value.get("description") or field == "messages", f"{name}.{field}"
        assert schemas[name]["additionalProperties"] is False


def test_every_answer_is_described(http):
    document = http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if not path.startswith(("/v1", "/token", "/detoken", "/version")):
            continue
        for operation in methods.values():
            responses = operation["responses"]
            assert "422" not in responses
            assert {"200", "400", "401", "404", "408", "429", "503"} <= {*responses}
            answer = responses["200"]["content"]["application/json"]["schema"]
            assert answer, path
            for status in ("400", "429"):
                error = responses[status]["content"]["application/json"]["schema"]
                assert error == {"$ref": "#/components/schemas/ErrorResponse"}


def test_refused_fields_are_none_that_are_known():
    def kinds(kind):
        yield kind
        for each in kind.__subclasses__():
            yield from kinds(each)

    for kind in kinds(RequestBody):
        assert not {*kind.REFUSED} & {*kind.model_fields}
