"""From the configs of a model, a caller and a call to the one that generate() goes by."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.generation_settings import DEFAULT_LENGTH, TOKEN_NAMES, GenerationSettings
from gptneo_onnx.runtime.companion_files import check_generation_links
from gptneo_onnx.runtime.generation.config import GenerationConfig, explicit_names
from gptneo_onnx.runtime.generation.config_checks import SAMPLING
from gptneo_onnx.runtime.generation.config_file import is_same
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES, FIELDS
from gptneo_onnx.runtime.generation.processors.checks import plain

# A model's config of an older release fills in no more of a caller's config than the tokens.
_FILLS_IN_SINCE = (4, 50)
_BEAMS = ("length_penalty", "early_stopping")
_GROUPS = ("num_beam_groups", "diversity_penalty")
_DRAFTED = ("num_assistant_tokens", "assistant_confidence_threshold")
_LOOKED_UP = ("prompt_lookup_num_tokens", "max_matching_ngram_size")
# Fields that count only above 0, and those that need an end token.
_ABOVE_ZERO = ("min_length", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size")
_OF_END_TOKENS = ("min_length", "min_new_tokens", "exponential_decay_length_penalty")
# What None means where it is not the default.
_OFF: Mapping[str, Any] = {"top_k": None, "max_length": None, "assistant_confidence_threshold": 0.0}
_KINDS = {each.name: each.metadata["kind"] for each in FIELDS if each.metadata}


def model_generation_config(directory: Path) -> GenerationConfig:
    """Return what a model's directory sets.

    Raises:
        ModelFileError: a file is damaged, links out of the directory, or has a value that no call
            can use.
    """
    check_generation_links(directory)
    settings = GenerationSettings.read(directory)
    try:
        config: GenerationConfig = GenerationConfig.from_dict(settings.values)
    except InputError as error:
        raise ModelFileError(f"{settings.path}: {error}") from error
    return config


def coerced_config(generation_config: Any) -> GenerationConfig:
    """Return a caller's generation_config; None becomes one that sets nothing.

    Raises:
        InputError: it is no GenerationConfig, of this project or of transformers.
    """
    if generation_config is None:
        return GenerationConfig()
    if isinstance(generation_config, GenerationConfig):
        return generation_config
    if callable(getattr(generation_config, "to_diff_dict", None)):  # transformers' own
        config: GenerationConfig = GenerationConfig.from_dict(generation_config.to_diff_dict())
        return config
    raise InputError(
        f"generation_config is of type {type(generation_config).__name__}; a "
        "GenerationConfig is expected, which GenerationConfig.from_dict() makes of a dict"
    )


def over(
    config: GenerationConfig, defaults: GenerationConfig, use_model_defaults: bool | None = None
) -> GenerationConfig:
    """Return a config with the values of a model's where it sets none itself.

    A value counts as not set where it equals the default, unless updated() was given it
    (GenerationMixin._prepare_generation_config).

    Args:
        config: a caller's.
        defaults: the model's.
        use_model_defaults: whether all values of `defaults` count, or only its tokens; None decides
            by the release of transformers that wrote the model's file.
    """
    combined, explicit = copy.copy(config), explicit_names(config)
    values = vars(combined)
    fills_in = use_model_defaults
    if fills_in is None:
        fills_in = _release(defaults) >= _FILLS_IN_SINCE
    if not fills_in:
        for name in (*TOKEN_NAMES, "decoder_start_token_id"):
            if values[name] is None and name not in explicit:
                values[name] = vars(defaults)[name]
        return combined
    for name, value in vars(defaults).items():
        is_kept = name.startswith("_") or name == "transformers_version" or name in explicit
        default = DEFAULT_VALUES.get(name)
        if not is_kept and is_same(values.get(name), default) and not is_same(value, default):
            values[name] = value
    if is_same(combined.temperature, 0) and "do_sample" not in explicit:
        values["do_sample"] = False
    return combined


def _release(config: GenerationConfig) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", str(config.transformers_version))
    return tuple(map(int, found.groups())) if found else _FILLS_IN_SINCE


def asked_names(config: GenerationConfig) -> set[str]:
    """Return the names that a caller's config sets."""
    values = vars(config).items()
    return {name for name, value in values if not is_same(value, DEFAULT_VALUES.get(name))}


def asked_length(config: GenerationConfig) -> int | None:
    """Return a config's max_length; None where it is the default, which counts new tokens.

    20 is the default too, wherever it stands but in a call (GenerationMixin.generate).
    """
    is_given = "max_length" in explicit_names(config)
    return None if config.max_length == DEFAULT_LENGTH and not is_given else config.max_length


def read_config(config: GenerationConfig, is_drafted: bool = False) -> GenerationConfig:
    """Return a config whose values are what generate() goes by: numbers, flags and tuples.

    Values that cannot have an effect are not looked at: they become the defaults. A temperature
    of 0 turns do_sample off.

    Args:
        config: a call's, as it was given.
        is_drafted: whether there is an assistant_model.

    Raises:
        InputError: a value that is not allowed; the first one is named.
    """
    given = {name: plain(getattr(config, name)) for name in _KINDS}
    read = copy.copy(config)
    vars(read).update({name: DEFAULT_VALUES[name] for name in _KINDS})
    for name in ("do_sample", "num_beams", "eos_token_id"):
        vars(read)[name] = _read(name, given[name])
    if read.do_sample and is_same(given["temperature"], 0):
        vars(read)["do_sample"] = given["do_sample"] = False
        if read.num_beams == 1:
            _check_one_result(given["num_return_sequences"])
    has_results = not _is_at_most(given["num_return_sequences"], 0)
    if read.num_beams == 1 and not has_results:  # sampling has one at least
        given["num_return_sequences"] = 1
    unused = _unused_names(read, given, is_drafted)
    for name in _KINDS:
        if name not in unused:
            vars(read)[name] = _read(name, given[name])
    if read.num_beam_groups > 1:
        _check_groups(read)
    return read


def _check_one_result(results: Any) -> None:
    """Refuse several results without beams: at temperature 0 they would all be the same."""
    if isinstance(results, int | float) and results > 1:
        raise InputError(
            f"num_return_sequences is {shown(results)}, but temperature 0 is greedy decoding, "
            "which has one result per prompt; pass a temperature above 0, or num_beams"
        )


def _read(name: str, value: Any) -> Any:
    if value is None:
        return _OFF.get(name, DEFAULT_VALUES[name])
    return _KINDS[name](name, value)


def _unused_names(read: GenerationConfig, given: Mapping[str, Any], is_drafted: bool) -> set[str]:
    """Return the names of values that cannot have an effect."""
    unused = {name for name in _ABOVE_ZERO if _is_at_most(given[name], 0)}
    if not read.do_sample:
        unused |= {*SAMPLING, "seed"}
    if read.num_beams == 1:
        unused |= {*_BEAMS, *_GROUPS}
    elif given["num_beam_groups"] is None or _is_at_most(given["num_beam_groups"], 1):
        unused |= set(_GROUPS)
    is_looked_up = read.num_beams == 1 and given["prompt_lookup_num_tokens"] is not None
    unused |= set() if is_looked_up else set(_LOOKED_UP)
    unused |= set() if is_drafted else set(_DRAFTED)
    if is_looked_up or is_drafted or read.num_beams > 1:
        unused.add("prefill_chunk_size")  # there these read prompts whole
    if read.eos_token_id is None:
        unused |= set(_OF_END_TOKENS)
    for name in ("max", "min"):
        unused |= {f"{name}_length"} if given[f"{name}_new_tokens"] is not None else set()
    return unused


def _is_at_most(value: Any, bound: float) -> bool:
    return isinstance(value, int | float) and value <= bound


def _check_groups(config: GenerationConfig) -> None:
    beams, groups = config.num_beams, config.num_beam_groups
    if beams % groups:
        raise InputError(
            f"num_beams is {beams} and num_beam_groups {groups}; num_beams must be a multiple of it"
        )
    if config.do_sample:
        raise InputError("num_beam_groups is above 1 and do_sample True; groups are not sampled")
    if config.diversity_penalty == 0:
        raise InputError(
            f"diversity_penalty is {config.diversity_penalty} and num_beam_groups {groups}; groups "
            "need one above 0 to differ"
        )
