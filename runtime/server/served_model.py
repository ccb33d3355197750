"""A model that is served: with its tokenizer, and the engine that its requests share."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request

from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import AsyncEngine
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class ServedModel:
    """A model that is served.

    Attributes:
        name: what requests call it.
        model: the model.
        tokenizer: its tokenizer.
        engine: serves requests.
        created: when it was loaded, in seconds since 1970.
    """

    name: str
    model: GPTNeoForCausalLM
    tokenizer: Tokenizer
    engine: AsyncEngine
    created: int = field(default_factory=lambda: int(time.time()))


def served_models(request: Request) -> Mapping[str, ServedModel]:
    """Return the models of the application by name; the first is the default."""
    models: Mapping[str, ServedModel] = request.app.state.models
    return models
