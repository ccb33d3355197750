"""GET /v1/models, /v1/models/{model} and /version."""

from importlib.metadata import version

from fastapi import APIRouter, Request

from gptneo_onnx.runtime.server.api.chat_prompt import chat_template_of
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.schemas.models import Capabilities, ModelCard, ModelList, Version
from gptneo_onnx.runtime.server.served_model import ServedModel, requested_model, served_models
from gptneo_onnx.runtime.server.settings import ServerSettings

router = APIRouter()


@router.get("/v1/models", responses=ERRORS)
async def list_models(request: Request) -> ModelList:
    """List the models that are served."""
    settings = request.app.state.settings
    return ModelList(data=[_card(model, settings) for model in served_models(request).values()])


@router.get("/v1/models/{model:path}", responses=ERRORS)
async def retrieve_model(model: str, request: Request) -> ModelCard:
    """Describe a model."""
    return _card(requested_model(request, model), request.app.state.settings)


@router.get("/version", responses=ERRORS)
async def show_version() -> Version:
    """Return the release of gptneo-onnx."""
    return Version(version=version("gptneo-onnx"))


def _card(model: ServedModel, settings: ServerSettings) -> ModelCard:
    capabilities = Capabilities(
        completions=True,
        chat=chat_template_of(model, settings) is not None,
        embeddings=model.has_last_hidden_states,
    )
    return ModelCard(
        id=model.name,
        created=model.created,
        max_model_len=model.context,
        capabilities=capabilities,
    )
