"""From a request's fields to the arguments of generate()."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gptneo_onnx.models.errors import shown
from gptneo_onnx.runtime.generation.config_combination import asked_names
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.processors.output_penalties import (
    FrequencyPenaltyLogitsProcessor,
    PresencePenaltyLogitsProcessor,
)
from gptneo_onnx.runtime.server.api.choice_text import TextOptions
from gptneo_onnx.runtime.server.api.stopped_sequences import StoppedSequences
from gptneo_onnx.runtime.server.api.structured_text import structured_processor
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.sampling import SamplingFields
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings

# OpenAI's defaults, and vLLM's for the fields that OpenAI lacks: the whole distribution.
_DEFAULTS: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "typical_p": 1.0,
}
# Below this, vLLM takes the likeliest token too: scores would overflow.
_LEAST_TEMPERATURE = 1e-5
# Fields that generate() takes by the same name; its own defaults ask for nothing.
_SAME = ("repetition_penalty", "no_repeat_ngram_size", "guidance_scale")
# What a model's generation_config.json may hold, and no request asks for.
_OFF: dict[str, Any] = {
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "prompt_lookup_num_tokens": None,
    "stop_strings": None,
    "token_healing": False,
    "max_time": None,
    "min_length": 0,
    "return_dict_in_generate": False,
}


@dataclass(frozen=True)
class GenerationPlan:
    """What one prompt of a request asks of the engine.

    Attributes:
        arguments: those of AsyncEngine.submit().
        results: sequences that are generated.
        text: how they become texts.
        stopped: ends single sequences; None where a request ends as a whole.
    """

    arguments: dict[str, Any]
    results: int
    text: TextOptions
    stopped: StoppedSequences | None


def generation_plan(
    fields: SamplingFields,
    model: ServedModel,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    results: int,
    logprobs: int | None,
    prompt_logprobs: int | None,
    timeout: float,
) -> GenerationPlan:
    """Return what a prompt asks of the engine; compiles what the text must match.

    Args:
        fields: the request's.
        model: that generates.
        prompt: its token ids.
        max_tokens: tokens to generate at most.
        results: sequences to generate.
        logprobs, prompt_logprobs, timeout: see AsyncEngine.submit().

    Raises:
        ParameterError, InputError: a field cannot be used.
    """
    beams = _checked_beams(fields, results, logprobs)
    temperature = _temperature(fields, model)
    is_sampled = beams == 1 and temperature >= _LEAST_TEMPERATURE
    rows = results if is_sampled or beams > 1 else 1  # greedy results are all the same
    _check_slots(rows if beams == 1 else beams, fields, model)
    stopped = StoppedSequences() if rows > 1 and beams == 1 and fields.stops else None
    arguments = {
        **_OFF,
        "input_ids": [[*prompt]],
        "attention_mask": [[1] * len(prompt)],  # a pad token in a prompt is read as any other
        "max_new_tokens": max_tokens,
        "do_sample": is_sampled,
        "num_return_sequences": rows,
        "eos_token_id": [*_end_tokens(fields, model)] or None,
        "logits_processor": _processors(fields, model, len(prompt)),
        "stopping_criteria": [] if stopped is None else [stopped],
        "logprobs": logprobs,
        "prompt_logprobs": prompt_logprobs,
        "timeout": timeout,
        **(_sampling(fields, model, temperature) if is_sampled else {}),
        **_search(fields, beams),
        **{name: value for name in _SAME if (value := getattr(fields, name)) is not None},
        **_lengths(fields, max_tokens),
        **_bias(fields, model),
        **_guidance(fields, model),
    }
    return GenerationPlan(arguments, rows, _text_options(fields, model), stopped)


def check_results(fields: SamplingFields, results: int, settings: ServerSettings) -> None:
    """Raise ParameterError for more results than are allowed, and for a stream's options alone."""
    counts = {"n": results, "best_of": fields.best_of, "num_beams": fields.num_beams}
    for name, count in counts.items():
        if count is not None and count > settings.max_results:
            raise ParameterError(
                f"{name} is {count}; at most {settings.max_results} are allowed", name
            )
    if fields.stream_options is not None and not fields.stream:
        raise ParameterError(
            "stream_options are for stream: true; leave them out", "stream_options"
        )


def beams_of(fields: SamplingFields, results: int) -> int:
    """Return the beams that a request searches with; 1 for no search.

    Args:
        fields: the request's.
        results: that it returns.
    """
    width = (fields.best_of or results) if fields.use_beam_search else 1
    return fields.num_beams or width


def _checked_beams(fields: SamplingFields, results: int, logprobs: int | None) -> int:
    beams = beams_of(fields, results)
    if beams == 1:
        return 1
    if results > beams:
        raise ParameterError(f"n is {results} and num_beams {beams}; at most as many", "n")
    if logprobs is not None:
        raise ParameterError("logprobs are not there for beams; leave one of them out", "logprobs")
    if fields.temperature:
        raise ParameterError(
            f"temperature is {shown(fields.temperature)}, and beams are not sampled; leave it out",
            "temperature",
        )
    return beams


def _check_slots(rows: int, fields: SamplingFields, model: ServedModel) -> None:
    """Raise ParameterError where a prompt's results need more slots than the engine has."""
    is_guided = fields.guidance_scale not in (None, 1)
    slots, needed = model.engine.scheduler.settings.slots, rows * (2 if is_guided else 1)
    if needed > slots:
        raise ParameterError(
            f"the results, beams and guidance of a prompt need {needed} slots, and the server has "
            f"{slots}; ask for fewer, or start the server with more --slots",
            "n",
        )


def _temperature(fields: SamplingFields, model: ServedModel) -> float:
    if fields.temperature is not None:
        return fields.temperature
    config = model.generation_config
    is_set = "temperature" in asked_names(config)
    return float(config.temperature if is_set else _DEFAULTS["temperature"])


def _search(fields: SamplingFields, beams: int) -> dict[str, Any]:
    """Return how to search with beams; with one there is no search."""
    if beams == 1:
        return {"num_beams": 1}
    return {
        "num_beams": beams,
        "length_penalty": 1.0 if fields.length_penalty is None else fields.length_penalty,
        "early_stopping": bool(fields.early_stopping),
    }


def _sampling(fields: SamplingFields, model: ServedModel, temperature: float) -> dict[str, Any]:
    """Return what is drawn from: by the request, else by the model's settings, else from all."""
    asked = asked_names(model.generation_config)
    seed = None if fields.seed is None else fields.seed % 2**64
    chosen: dict[str, Any] = {"seed": seed}
    for name, default in _DEFAULTS.items():
        value = getattr(fields, name)
        if value is not None:
            chosen[name] = max(value, 0) if name == "top_k" else value  # -1 is vLLM's for all
        elif name not in asked:
            chosen[name] = default
    if chosen.get("min_p") == 0:
        chosen["min_p"] = None
    return chosen | {"temperature": temperature}


def _end_tokens(fields: SamplingFields, model: ServedModel) -> list[int]:
    own = () if fields.ignore_eos else model.end_tokens
    return [*dict.fromkeys([*own, *(fields.stop_token_ids or ())])]


def _lengths(fields: SamplingFields, max_tokens: int) -> dict[str, int]:
    if not fields.min_tokens:
        return {}
    if fields.min_tokens > max_tokens:
        raise ParameterError(
            f"min_tokens is {fields.min_tokens} and max_tokens {max_tokens}; at most as many",
            "min_tokens",
        )
    return {"min_new_tokens": fields.min_tokens}


def _bias(fields: SamplingFields, model: ServedModel) -> dict[str, Any]:
    if not fields.logit_bias:
        return {}
    vocab_size = model.model.config.vocab_size
    bias = {}
    for token, value in fields.logit_bias.items():
        if (
            not (token.isascii() and token.isdigit() and len(token) < 10)
            or int(token) >= vocab_size
        ):
            raise ParameterError(
                f"logit_bias names the token {shown(token)}; ids from 0 to {vocab_size - 1} are "
                "allowed",
                "logit_bias",
            )
        bias[(int(token),)] = value
    return {"sequence_bias": bias}


def _guidance(fields: SamplingFields, model: ServedModel) -> dict[str, Any]:
    negative = fields.negative_prompt
    if negative is None:
        return {}
    if fields.guidance_scale is None:
        raise ParameterError(
            "negative_prompt needs a weight; give guidance_scale too, say 1.5", "guidance_scale"
        )
    ids = model.tokenizer.encode(negative) if isinstance(negative, str) else [*negative]
    return {"negative_prompt_ids": [ids]} if ids and fields.guidance_scale != 1 else {}


def _processors(fields: SamplingFields, model: ServedModel, prompt: int) -> list[LogitsProcessor]:
    processors: list[LogitsProcessor] = []
    if fields.presence_penalty:
        processors.append(PresencePenaltyLogitsProcessor(fields.presence_penalty, prompt))
    if fields.frequency_penalty:
        processors.append(FrequencyPenaltyLogitsProcessor(fields.frequency_penalty, prompt))
    structured = structured_processor(fields, model, prompt)
    return [*processors, structured] if structured else processors


def _text_options(fields: SamplingFields, model: ServedModel) -> TextOptions:
    return TextOptions(
        stops=fields.stops,
        end_tokens=_end_tokens(fields, model),
        own_end_tokens=model.end_tokens,
        keeps_stop=bool(fields.include_stop_str_in_output),
        min_tokens=fields.min_tokens or 0,
        skip_special_tokens=fields.skip_special_tokens is not False,
    )
