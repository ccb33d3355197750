"""A model that is served: with its tokenizer, and the engine that its requests share."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request

from gptneo_onnx.models.errors import shown
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import AsyncEngine
from gptneo_onnx.runtime.server.errors import UnknownModelError
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

    @property
    def context(self) -> int:
        """Tokens of a prompt and its result at most."""
        return self.model.config.max_position_embeddings

    @property
    def has_last_hidden_states(self) -> bool:
        """Whether texts can be embedded."""
        return self.model.config.num_layers in self.model.engine.hidden_layers

    @property
    def fingerprint(self) -> str:
        """What tells its graph and weights from others."""
        return f"fp_{self.model.engine.fingerprint[:16]}"

    def default_tokens(self, default: int | None) -> int | None:
        """Return how many tokens a request without a number gets: the model's settings, if any."""
        return self.generation_config.max_new_tokens or default

    @property
    def generation_config(self) -> GenerationConfig:
        """The model's own settings."""
        return self.model.generation_config

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        return tuple(self.generation_config.eos_token_ids)


def served_models(request: Request) -> Mapping[str, ServedModel]:
    """Return the models of the application by name; the first is the default."""
    models: Mapping[str, ServedModel] = request.app.state.models
    return models


def requested_model(request: Request, name: str | None) -> ServedModel:
    """Return the model of a name; the first for None.

    Raises:
        UnknownModelError: there is no model of that name.
    """
    models = served_models(request)
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        raise UnknownModelError(
            f"there is no model {shown(name)}; these are served: {', '.join(models)}"
        )
    return models[name]
