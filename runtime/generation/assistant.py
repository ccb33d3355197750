"""The model that drafts tokens: what generate()'s assistant_model and self_draft name."""

from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.engine.engine import Engine


def assistant_of(assistant_model: Any, self_draft: Any, engine: Engine) -> Engine | None:
    """Return the engine of an assistant_model; None for the model itself, which drafts nothing.

    Args:
        assistant_model: a model, or the name of another precision of the engine's model.
        self_draft: whether the smallest precision of the engine's model drafts.
        engine: the one that is assisted.

    Raises:
        InputError: it is no model with a head, or one of another vocabulary; or the engine's
            directory has no such precision.
    """
    if self_draft not in (True, False, None):
        raise InputError(f"self_draft is {shown(self_draft)}; True or False is allowed")
    if self_draft and assistant_model is not None:
        raise InputError("self_draft and assistant_model exclude each other; pass one of them")
    if self_draft or isinstance(assistant_model, str):
        twin = engine.twin(assistant_model, "self_draft" if self_draft else "assistant_model")
        return None if twin is engine else twin
    if assistant_model is None:
        return None
    assistant = getattr(assistant_model, "engine", None)
    if not isinstance(assistant, Engine):
        raise InputError(
            f"assistant_model is of type {type(assistant_model).__name__}; "
            "a GPTNeoForCausalLM is expected"
        )
    if not hasattr(assistant_model, "generate"):
        raise InputError(
            f"assistant_model is a {type(assistant_model).__name__}, which gives no logits; "
            "a GPTNeoForCausalLM is expected"
        )
    if assistant is engine:  # its drafts are what the model would choose anyway: none are needed
        return None
    if assistant.config.vocab_size != engine.config.vocab_size:
        raise InputError(
            f"assistant_model has a vocabulary of {assistant.config.vocab_size} tokens and the "
            f"model one of {engine.config.vocab_size}; they must have the same tokenizer"
        )
    return assistant
