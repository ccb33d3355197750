"""A server with the embedded model, and clients for it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from api_server import model_server, served_model

from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings

TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="session")
def tiny(embedded_export: Path) -> ServedModel:
    """The embedded model with eight slots."""
    return served_model(embedded_export, slots=8)


@pytest.fixture(scope="session")
def address(tiny: ServedModel) -> Iterator[str]:
    """Where a server of the embedded model answers."""
    with model_server(tiny) as address:
        yield address


@pytest.fixture(scope="session")
def chat_address(embedded_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server answers that was given a chat template."""
    template = tmp_path_factory.mktemp("chat") / "template.jinja"
    template.write_text(TEMPLATE)
    settings = ServerSettings(chat_template=template)
    with model_server(served_model(embedded_export), settings=settings) as address:
        yield address


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    """A client that knows nothing of OpenAI's API."""
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def chat_client(chat_address: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client of the server with a chat template."""
    with openai.OpenAI(base_url=f"{chat_address}/v1", api_key="none", max_retries=0) as client:
        yield client
