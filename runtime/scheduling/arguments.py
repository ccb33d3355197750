"""Checks what a scheduled request may ask of generate()."""

from copy import copy
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.generation.call import GenerationCall, prepare_call
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

# Arguments of generate() that steps of other requests leave no room for.
_REFUSED = ("streamer", "assistant_model", "self_draft", "past_key_values", "token_healing")


def scheduled_call(
    engine: Engine, defaults: GenerationConfig, slots: int, **kwargs: Any
) -> GenerationCall:
    """Check a request's arguments.

    Args:
        engine: steps the model.
        defaults: the model's own config.
        slots: slots that a request may take at most.
        kwargs: arguments of generate().

    Raises:
        InputError: an argument cannot be used, or asks for what only generate() does.
    """
    for name in _REFUSED:
        if kwargs.get(name):
            raise InputError(
                f"{name} is not for requests that share the model with others; leave it out, or "
                "call generate()"
            )
    call = prepare_call(engine, defaults, **_with_own_processors(kwargs))
    if len(call.prompts) != 1:
        raise InputError(
            f"input_ids has {len(call.prompts)} prompts; submit a request for each of them"
        )
    needed = call.repeats * (2 if call.guidance else 1)
    if needed > slots:
        raise InputError(
            f"the request needs {needed} slots, for its results, beams and guidance, and there "
            f"are {slots}; ask for fewer, or make a scheduler with more slots"
        )
    return call


def _with_own_processors(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments in which each StructuredOutput is a copy.

    It follows the text of one call at a time, and requests that share it run at once.
    """
    processors = kwargs.get("logits_processor")
    if not isinstance(processors, list | tuple):
        return kwargs
    own = [copy(each) if isinstance(each, StructuredOutput) else each for each in processors]
    return kwargs | {"logits_processor": own}
