"""How many tokens a call may generate."""

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.config import DEFAULT_NEW_TOKENS, GenerationConfig


def max_new_tokens(config: GenerationConfig, width: int, longest: int, context: int) -> int:
    """How many tokens fit: explicit lengths must, the default is cut to what does.

    Args:
        config: says how many are wanted.
        width: columns of the prompts, padding included: max_length counts them.
        longest: tokens of the longest prompt.
        context: of the model, in tokens.

    Raises:
        InputError: none can be generated, or not as many as were asked for.
    """
    room = context - longest
    if room < 1:
        raise InputError(
            f"the prompt has {longest} tokens and the model's context is {context}: none can be "
            "added; shorten the prompt"
        )
    if config.max_new_tokens is not None:
        wanted, said = config.max_new_tokens, f"max_new_tokens is {config.max_new_tokens}"
    elif config.max_length is not None:
        wanted, said = config.max_length - width, f"max_length is {config.max_length}"
    else:
        return min(DEFAULT_NEW_TOKENS, room)
    if wanted < 1:
        padding = ", padding included" if width > longest else ""
        raise InputError(f"{said}, but the prompt alone has {width} tokens{padding}; raise it")
    if wanted > room:
        raise InputError(
            f"{said} and the prompt has {longest} tokens, more than the context of {context}; "
            f"at most {room} can be generated"
        )
    return wanted
