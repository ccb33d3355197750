"""The names that a text-generation pipeline takes."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from difflib import get_close_matches

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.generation_settings import METADATA
from gptneo_onnx.runtime.generation.argument_types import TokenArguments
from gptneo_onnx.runtime.generation.config_checks import INAPPLICABLE, OTHER_NAMES
from gptneo_onnx.runtime.load_arguments import LOAD_NAMES, OWN_NAMES
from gptneo_onnx.runtime.pipelines.arguments import CallArguments

_CONFIG = "generation_config"
_OF_GENERATE = (*TokenArguments.__annotations__, "streamer", *INAPPLICABLE, *METADATA)


def check_names(names: Iterable[str], own: Collection[str], is_call: bool = True) -> None:
    """Raise InputError for a name that is no argument of a text-generation pipeline.

    Args:
        names: those that were passed, without the pipeline's own (CallArguments).
        own: what the model's config has besides.
        is_call: whether they were passed to a call, not to pipeline().
    """
    for name in names:
        if name in _OF_GENERATE or name in own or (name == _CONFIG and is_call):
            continue
        if name == _CONFIG:
            raise InputError(f"{_CONFIG} is an argument of the pipeline's calls; pass it there")
        if is_call and (name in LOAD_NAMES or name in OWN_NAMES):
            raise InputError(f"{name} is an argument of pipeline(), not of a call; pass it there")
        known = [*_OF_GENERATE, *(each.name for each in fields(CallArguments))]
        known += [] if is_call else [*LOAD_NAMES, *OWN_NAMES]
        close = OTHER_NAMES.get(name) or get_close_matches(name, sorted(set(known)), n=3)
        advice = f"it has {', '.join(close)}" if close else "docs/generation.md lists them"
        raise InputError(f"the text-generation pipeline has no argument {name!r}; {advice}")
