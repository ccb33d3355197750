"""What a GenerationConfig may hold, and what generate() can do of it."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.generation_settings import METADATA
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.runtime.generation.config_file import is_same
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES, GenerationFields
from gptneo_onnx.runtime.generation.generation_mode import GenerationMode
from gptneo_onnx.runtime.generation.processors.checks import plain

# Arguments of transformers' generate() that this runtime has no use for, with the values that ask
# for nothing. Any other value raises an error.
INAPPLICABLE: Mapping[str, tuple[Any, ...]] = {
    "inputs_embeds": (None,),
    "custom_generate": (None,),
    "trust_remote_code": (None, False),
    "top_h": (None,),  # from a newer release
    "assistant_tokenizer": (None,),
}
# transformers' arguments that say how to compute: no result depends on them.
PASSED_OVER = ("synced_gpus",)
# Arguments of generate() that transformers' config refuses.
CALL_ARGUMENTS = (
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "streamer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
    "use_model_defaults",
)
_CACHES = (
    "static",
    "offloaded_static",
    "sliding_window",
    "hybrid",
    "hybrid_chunked",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
    "dynamic",
    "dynamic_full",
    "offloaded",
    "quantized",
)
SAMPLING = ("temperature", "top_p", "min_p", "typical_p", "top_k", "epsilon_cutoff", "eta_cutoff")
_OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
# The modes that are code of the hub in transformers 4.57, with the fields that ask for them.
_LACKING = {
    GenerationMode.CONTRASTIVE_SEARCH: ("penalty_alpha",),
    GenerationMode.DOLA_GENERATION: ("dola_layers",),
    GenerationMode.CONSTRAINED_BEAM_SEARCH: ("constraints", "force_words_ids"),
}


def check_values(values: Mapping[str, Any]) -> None:
    """Check what transformers checks of a config by itself (GenerationConfig.validate).

    Raises:
        InputError: a value that no call can use.
    """
    early = values["early_stopping"]
    if not any(is_same(early, allowed) for allowed in (True, False, "never")):
        raise InputError(f"early_stopping is {shown(early)}; True, False or 'never' is allowed")
    most = plain(values["max_new_tokens"])
    if most is not None and not (isinstance(most, int | float) and most > 0):
        raise InputError(
            f"max_new_tokens is {shown(most)}; a whole number of at least 1 is allowed"
        )
    cache = values["cache_implementation"]
    if cache is not None and not (isinstance(cache, str) and cache in _CACHES):
        raise InputError(f"cache_implementation is {shown(cache)}; {', '.join(_CACHES)} is allowed")
    compiling = values["compile_config"]
    if compiling is not None and type(compiling).__name__ != "CompileConfig":
        raise InputError(f"compile_config is {shown(compiling)}; a CompileConfig is allowed")
    for name in CALL_ARGUMENTS:
        if name in values:
            raise InputError(f"{name} is an argument of generate(); a config has none of that name")
    _check_results(values)


def _check_results(values: Mapping[str, Any]) -> None:
    results, beams = plain(values["num_return_sequences"]), plain(values["num_beams"])
    if is_same(results, 1):
        return
    if is_same(beams, 1) and values["do_sample"] is False:
        raise InputError(
            f"num_return_sequences is {shown(results)}, but greedy decoding has one result per "
            "prompt; pass do_sample=True, or num_beams"
        )
    if is_same(beams, 1):
        return
    if not isinstance(results, int | float) or not isinstance(beams, int | float):
        raise InputError(
            f"num_return_sequences is {shown(results)} and num_beams {shown(beams)}; whole "
            "numbers of at least 1 are allowed"
        )
    if results > beams:
        raise InputError(
            f"num_return_sequences is {shown(results)}, and there are only {shown(beams)} beams; "
            "raise num_beams"
        )


def without_effect(values: Mapping[str, Any]) -> list[str]:
    """Return the names of values that cannot have an effect beside the others, or are no tokens."""
    names = []
    pad = plain(values["pad_token_id"])
    if isinstance(pad, int | float) and pad < 0:
        names.append("pad_token_id")
    if values["do_sample"] is False:
        names += [each for each in SAMPLING if _is_set(each, values)]
    if is_same(values["num_beams"], 1):
        names += ["early_stopping"] if values["early_stopping"] is not False else []
        names += ["length_penalty"] if _is_set("length_penalty", values) else []
    if values["use_cache"] is False:
        caches = ("cache_implementation", "cache_config", "return_legacy_cache")
        names += [each for each in caches if values[each] is not None]
    if values["return_dict_in_generate"] is not True:
        names += [each for each in _OUTPUTS if values[each] is True]
    return names


def _is_set(name: str, values: Mapping[str, Any]) -> bool:
    return values[name] is not None and not is_same(values[name], DEFAULT_VALUES[name])


# Arguments of other libraries' generation, which no spelling leads to.
OTHER_NAMES = {
    "max_tokens": ["max_new_tokens"],
    "n": ["num_return_sequences"],
    "stop": ["stop_strings"],
    "stop_sequences": ["stop_strings"],
}


def check_unknown(name: str, value: Any) -> None:
    """Raise InputError for an argument that has no field, unless its value asks for nothing."""
    if asks_for_nothing(name, value):
        return
    if name in CALL_ARGUMENTS:
        raise InputError(f"{name} is an argument of generate(); a config has none of that name")
    if name in INAPPLICABLE:
        raise InputError(
            f"{name}={shown(value)} is not supported; leave it at {INAPPLICABLE[name][0]!r}"
        )
    close = OTHER_NAMES.get(name) or get_close_matches(name, DEFAULT_VALUES, n=3)
    names = ", ".join(close) or "those of GenerationConfig (docs/generation.md)"
    raise InputError(f"generate() has no argument {name!r}; it has {names}")


def asks_for_nothing(name: str, value: Any) -> bool:
    """Tell whether a value of an argument that has no field can be ignored."""
    if name in METADATA or name in PASSED_OVER:
        return True
    return any(value is neutral for neutral in INAPPLICABLE.get(name, ()))


def check_mode(config: GenerationFields, mode: GenerationMode, asked: Collection[str]) -> None:
    """Raise InputError for what a config asks for and generate() lacks.

    Args:
        config: a call's.
        mode: how it asks to generate.
        asked: the names that the call itself set; the others come from the model's own config.
    """
    for name in _LACKING.get(mode, ()):
        value = getattr(config, name)
        if value is not None:
            _refuse(name, value, asked)
    for name, neutral in (("assistant_early_exit", None), ("is_assistant", False)):
        if not any(is_same(getattr(config, name), each) for each in (None, neutral)):
            _refuse(name, getattr(config, name), asked)
    if plain(config.return_dict_in_generate):
        # A model's own config asks in vain: files set them for other uses.
        for name in ("output_attentions", "output_hidden_states"):
            if plain(getattr(config, name)) and name in asked:
                raise InputError(
                    f"{name}={shown(getattr(config, name))} is not supported; leave it at False: "
                    "calling the model returns hidden states"
                )


def _refuse(name: str, value: Any, asked: Collection[str]) -> None:
    again = "export again from a checkpoint whose file does not set it"
    if name in asked:  # by the caller, or by a pipeline that passes its model's settings on
        raise InputError(
            f"{name}={shown(value)} is not supported; leave it at {DEFAULT_VALUES[name]!r}, or "
            f"where the model's {GENERATION_CONFIG_FILE} sets it, {again}"
        )
    raise InputError(
        f"the model's {GENERATION_CONFIG_FILE} sets {name}, which is not supported; "
        f"pass {name}=None to generate without it, or {again}"
    )


def strict_message(names: Sequence[str]) -> str:
    """Return what is wrong with values that without_effect() names."""
    return (
        f"the config sets {', '.join(names)}, which cannot have an effect beside its other "
        "values (do_sample, num_beams, use_cache, return_dict_in_generate), or is no token; "
        "reset it"
    )
