"""POST /tokenize, POST /detokenize and GET /tokenizer_info."""

import asyncio

from fastapi import APIRouter, Request

from gptneo_onnx.runtime.server.api.chat_prompt import chat_template_of, rendered_chat
from gptneo_onnx.runtime.server.api.prompts import checked_ids
from gptneo_onnx.runtime.server.api.token_logprobs import token_text
from gptneo_onnx.runtime.server.schemas.errors import ERRORS
from gptneo_onnx.runtime.server.schemas.tokens import (
    Detokenized,
    DetokenizeRequest,
    Tokenized,
    TokenizeRequest,
    TokenizerInfo,
)
from gptneo_onnx.runtime.server.served_model import ServedModel, requested_model
from gptneo_onnx.runtime.server.settings import ServerSettings

router = APIRouter()


@router.post("/tokenize", response_model_exclude_unset=True, responses=ERRORS)
async def tokenize(body: TokenizeRequest, request: Request) -> Tokenized:
    """Encode a text or a chat."""
    model = requested_model(request, body.model)
    return await asyncio.to_thread(_tokenized, body, model, request.app.state.settings)


@router.post("/detokenize", responses=ERRORS)
async def detokenize(body: DetokenizeRequest, request: Request) -> Detokenized:
    """Decode tokens."""
    model = requested_model(request, body.model)
    ids = [*checked_ids("tokens", body.tokens, model)]
    return Detokenized(prompt=await asyncio.to_thread(model.tokenizer.decode, ids))


@router.get("/tokenizer_info", responses=ERRORS)
async def tokenizer_info(request: Request, model: str | None = None) -> TokenizerInfo:
    """Describe a model's tokenizer."""
    served = requested_model(request, model)
    tokenizer = served.tokenizer
    return TokenizerInfo(
        tokenizer_class="PreTrainedTokenizerFast",
        model_max_length=served.context,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        unk_token=tokenizer.unk_token,
        chat_template=chat_template_of(served, request.app.state.settings),
    )


def _tokenized(body: TokenizeRequest, model: ServedModel, settings: ServerSettings) -> Tokenized:
    tokenizer = model.tokenizer
    if body.messages is not None:
        text = rendered_chat(
            body.messages,
            model,
            settings,
            add_generation_prompt=body.add_generation_prompt is not False,
        )
        ids = tokenizer.encode(text, bool(body.add_special_tokens))
    else:
        assert body.prompt is not None
        ids = tokenizer.encode(body.prompt, body.add_special_tokens is not False)
    tokenized = Tokenized(count=len(ids), max_model_len=model.context, tokens=ids)
    if body.return_token_strs:
        tokenized.token_strs = [token_text(tokenizer, token) for token in ids]
    return tokenized
