"""The range of every field of GenerationConfig, and the arguments it has no field for, as data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gptneo_onnx.models.errors import InputError, shown

MAX_RETURN_SEQUENCES = 1024
SCHEDULES = ("constant", "heuristic", "heuristic_transient")

# transformers' arguments that this runtime has no use for, with the values that ask for nothing:
# config files and habit pass them so. Any other value is an error that names the argument.
INAPPLICABLE: Mapping[str, tuple[Any, ...]] = {
    # generate() returns neither (a call of the model has hidden states); its cache is always used.
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "use_cache": (True, None),
    "cache_implementation": (None, "dynamic"),
    "cache_config": (None,),
    "return_legacy_cache": (None, False),
    "inputs_embeds": (None,),
    # In transformers 4.57 these are code on the hub, not in the package.
    "penalty_alpha": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "dola_layers": (None,),
    "custom_generate": (None,),
    "trust_remote_code": (None, False),
    # Of newer and older releases, of encoder-decoders, of torch.
    "top_h": (None,),
    "low_memory": (None, False),
    "decoder_start_token_id": (None,),
    "is_assistant": (False,),
    "assistant_early_exit": (None,),
    "assistant_tokenizer": (None,),
    "assistant_lookbehind": (10, None),
    "target_lookbehind": (10, None),
    "synced_gpus": (None, False),
    "use_model_defaults": (None, True),
    "disable_compile": (False, True, None),
    "compile_config": (None,),
}
# What transformers writes beside the arguments.
METADATA = (
    "transformers_version",
    "_from_model_config",
    "_commit_hash",
    "transformers.js_config",
)

MAX_TOKEN = 2**63 - 1  # ids are int64

# (least, most); None is passed over: where it is no default, update() has replaced it.
_INTEGERS: Mapping[str, tuple[int, int | None]] = {
    "max_length": (1, None),
    "max_new_tokens": (1, None),
    "min_length": (0, None),
    "min_new_tokens": (0, None),
    "num_beams": (1, MAX_RETURN_SEQUENCES),
    "num_beam_groups": (1, MAX_RETURN_SEQUENCES),
    "top_k": (0, None),
    "no_repeat_ngram_size": (0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "forced_bos_token_id": (0, MAX_TOKEN),
    "prefill_chunk_size": (1, None),
    "num_assistant_tokens": (1, None),
    "prompt_lookup_num_tokens": (1, None),
    "max_matching_ngram_size": (1, None),
    "bos_token_id": (0, MAX_TOKEN),
    "pad_token_id": (0, MAX_TOKEN),
    "num_return_sequences": (1, MAX_RETURN_SEQUENCES),
}
# Beyond a million, or below a millionth, float32 scores overflow.
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "max_time": (0, 1e9),
    "diversity_penalty": (0, 1e6),
    "length_penalty": (-8, 8),  # 2048 tokens to the 8th of it, times beams' -1e9
    "temperature": (1e-6, 1e6),
    "top_p": (1e-6, 1),
    "min_p": (0, 1),
    "typical_p": (1e-6, 1),
    "epsilon_cutoff": (0, 1),
    "eta_cutoff": (0, 1),
    "repetition_penalty": (1e-6, 1e6),
    "encoder_repetition_penalty": (1e-6, 1e6),
    "guidance_scale": (0, 1e6),
    "assistant_confidence_threshold": (0, 1),
}
_TOKENS = ("eos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens")
_BOOLEANS = (
    "do_sample",
    "renormalize_logits",
    "remove_invalid_values",
    "token_healing",
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
)


def asks_for_nothing(name: str, value: Any) -> bool:
    """Whether a value of an argument outside our fields can be passed over."""
    if name in METADATA:
        return True
    # Numbers are compared as such (1 for 1.0), but not with booleans, which Python counts as some.
    return any(
        value is neutral
        or (
            not isinstance(value, bool)
            and isinstance(value, (int, float, str))
            and not isinstance(neutral, bool)
            and value == neutral
        )
        for neutral in INAPPLICABLE.get(name, ())
    )


def check_fields(values: Mapping[str, Any]) -> None:
    """Raise InputError for the first field that is out of its range."""
    for name, (least, most) in _INTEGERS.items():
        _check_integer(name, values[name], least, most)
    for name, (low, high) in _NUMBERS.items():
        if name == "temperature" and values["do_sample"] is not True and values["temperature"] == 0:
            continue  # greedy decoding has none, and some ask for it so
        _check_number(name, values[name], low, high)
    for name in _TOKENS:
        value = values[name]
        for token in value if isinstance(value, tuple) else (value,):
            _check_integer(name, token, 0, MAX_TOKEN)
    for name in _BOOLEANS:
        if type(values[name]) is not bool:
            raise InputError(f"{name} is {shown(values[name])}; True or False is allowed")
    for check in _COMBINATIONS:
        check(values)


def _check_integer(name: str, value: Any, least: int, most: int | None = None) -> None:
    if value is None:
        return
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    is_above = is_integer and most is not None and value > most
    if not is_integer or value < least or is_above:
        # That an id is an int64 is said to those who meet that bound only.
        most_said = "" if most in (None, MAX_TOKEN) and not is_above else f" and at most {most}"
        raise InputError(
            f"{name} is {shown(value)}; a whole number of at least {least}{most_said} is allowed"
        )


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    if value is None:
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise InputError(
            f"{name} is {shown(value)}; a number from {least:g} to {most:g} is allowed"
        )


def _check_seed(values: Mapping[str, Any]) -> None:
    for seed in values["seed"] if isinstance(values["seed"], tuple) else (values["seed"],):
        _check_integer("seed", seed, 0)


def _check_choices(values: Mapping[str, Any]) -> None:
    if values["early_stopping"] not in (True, False, "never") or isinstance(
        values["early_stopping"], (int, float)
    ) != isinstance(values["early_stopping"], bool):
        raise InputError(
            f"early_stopping is {shown(values['early_stopping'])}; "
            "True, False or 'never' is allowed"
        )
    if values["num_assistant_tokens_schedule"] not in SCHEDULES:
        raise InputError(
            f"num_assistant_tokens_schedule is {shown(values['num_assistant_tokens_schedule'])}; "
            f"{', '.join(SCHEDULES)} is allowed"
        )


def _check_stop_strings(values: Mapping[str, Any]) -> None:
    stops = values["stop_strings"]
    for stop in stops if isinstance(stops, tuple) else (stops,):
        if stop is not None and (not isinstance(stop, str) or not stop):
            raise InputError(
                f"stop_strings holds {shown(stop)}; texts of at least one character are allowed"
            )


def _check_beams(values: Mapping[str, Any]) -> None:
    if values["num_beams"] % values["num_beam_groups"]:
        raise InputError(
            f"num_beams is {values['num_beams']} and num_beam_groups {values['num_beam_groups']}; "
            "num_beams must be a multiple of it"
        )
    if values["num_beam_groups"] > 1 and values["do_sample"]:
        raise InputError("num_beam_groups is above 1 and do_sample True; groups are not sampled")
    if (values["diversity_penalty"] > 0) != (values["num_beam_groups"] > 1):
        raise InputError(
            f"diversity_penalty is {values['diversity_penalty']} and num_beam_groups "
            f"{values['num_beam_groups']}; the one acts between the groups of the other: set both"
        )
    if 1 < values["num_beams"] < values["num_return_sequences"]:
        raise InputError(
            f"num_return_sequences is {values['num_return_sequences']}, and there are only "
            f"{values['num_beams']} beams; raise num_beams"
        )


def _check_decay(values: Mapping[str, Any]) -> None:
    decay = values["exponential_decay_length_penalty"]
    if decay is None:
        return
    if not isinstance(decay, tuple) or len(decay) != 2:
        raise InputError(
            f"exponential_decay_length_penalty is {shown(decay)}; (start, factor) is allowed"
        )
    start: Any = decay[0]
    if isinstance(start, float) and start.is_integer():  # numpy's arrays have one type
        start = int(start)
    _check_integer("exponential_decay_length_penalty's start", start, 0)
    _check_number("exponential_decay_length_penalty's factor", decay[1], 1e-6, 1e6)


_COMBINATIONS: Sequence[Callable[[Mapping[str, Any]], None]] = (
    _check_seed,
    _check_choices,
    _check_stop_strings,
    _check_beams,
    _check_decay,
)
