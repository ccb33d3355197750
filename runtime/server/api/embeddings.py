"""POST /v1/embeddings."""

import asyncio
import base64
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from gptneo_onnx.runtime.server.api.merged import while_connected
from gptneo_onnx.runtime.server.api.prompts import checked_ids, each_of, first_token
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.embeddings import (
    Embedding,
    EmbeddingList,
    EmbeddingRequest,
)
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.schemas.usage import usage_of
from gptneo_onnx.runtime.server.served_model import ServedModel, requested_model

router = APIRouter()
_WAITING = 4
Vector = NDArray[np.float32]


@router.post("/v1/embeddings", responses=ERRORS)
async def create_embeddings(body: EmbeddingRequest, request: Request) -> EmbeddingList:
    """Return vectors of texts."""
    model = requested_model(request, body.model)
    texts = await asyncio.to_thread(_tokens, body, model)
    seconds = request.app.state.settings.timeout
    vectors = await while_connected(request, _vectors(texts, body, model, seconds))
    if body.normalize is not False:
        vectors = [_normalized(vector) for vector in vectors]
    is_packed = body.encoding_format == "base64"
    return EmbeddingList(
        data=[
            Embedding(index=index, embedding=_packed(vector) if is_packed else vector.tolist())
            for index, vector in enumerate(vectors)
        ],
        model=model.name,
        usage=usage_of(sum(map(len, texts)), 0),
    )


def _tokens(body: EmbeddingRequest, model: ServedModel) -> list[Sequence[int]]:
    """Return the token ids of each input."""
    texts = []
    for given in each_of(body.input):
        ids: Sequence[int] = given if not isinstance(given, str) else ()
        if isinstance(given, str):
            ids = model.tokenizer.encode(given, body.add_special_tokens is not False)
        if len(ids) > model.context:
            raise ParameterError(
                f"a text of input has {len(ids)} tokens, more than the model's context of "
                f"{model.context}; cut it",
                "input",
            )
        texts.append(checked_ids("input", ids, model) or [first_token(model)])
    return texts


async def _vectors(
    texts: Sequence[Sequence[int]], body: EmbeddingRequest, model: ServedModel, seconds: float
) -> list[Vector]:
    """Return the vector of each text; if one fails, the others are not read.

    Few wait in the engine's queue at a time, so that others' requests have room there.
    """
    room = asyncio.Semaphore(_WAITING)

    async def vector(ids: Sequence[int]) -> Vector:
        async with room:
            return await model.engine.embed(ids, pooling=body.pooling or "mean", timeout=seconds)

    tasks = [asyncio.create_task(vector(ids)) for ids in texts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _normalized(vector: Vector) -> Vector:
    length = np.linalg.norm(vector.astype(np.float64))
    scaled: Vector = (vector / max(float(length), 1e-30)).astype(np.float32)
    return scaled


def _packed(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
