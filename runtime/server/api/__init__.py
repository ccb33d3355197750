"""The endpoints, a file for each; ROUTERS has all of them."""

from fastapi import APIRouter

from gptneo_onnx.runtime.server.api import (
    chat_completions,
    completions,
    embeddings,
    models,
    tokenization,
)

ROUTERS: list[APIRouter] = [
    completions.router,
    chat_completions.router,
    embeddings.router,
    models.router,
    tokenization.router,
]
