"""genai_config.json: how onnxruntime-genai drives the genai graph."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptneo_onnx.models import graph as names
from gptneo_onnx.models.config import MAX_SIZE, GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.genai_graph import GENAI_CONFIG_FILE
from gptneo_onnx.models.generation_settings import (
    DEFAULTS,
    TOKEN_NAMES,
    GenerationSettings,
    as_arguments,
    changed,
    known_tokens,
)
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.models.portable_graph import ATTENTION_MASK

# Settings that onnxruntime-genai has too, with one meaning: always, for samples, and for beams.
_ALWAYS = ("min_length", "repetition_penalty", "no_repeat_ngram_size")
_SAMPLING = ("temperature", "top_p")
_BEAMS = ("num_beams", "length_penalty", "num_return_sequences")
# Settings that have no effect on samples' tokens, on others', or on any.
_ONLY_SAMPLING = (*_SAMPLING, "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_NEVER = (
    "do_sample",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "prefill_chunk_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
)


def write_genai_config(
    directory: Path, graph: str, config: GPTNeoConfig, settings: GenerationSettings
) -> list[str]:
    """Write genai_config.json for the graph file of that name.

    Args:
        directory: where to.
        graph: the graph's file name.
        config: the model's dimensions.
        settings: the checkpoint's settings for generation.

    Returns:
        Lines on what onnxruntime-genai lacks, if there is anything.
    """
    tokens = _tokens(settings, config.vocab_size)
    search, lacking = _search(settings.values, config)
    values = {
        "model": {
            "type": "decoder",
            "vocab_size": config.vocab_size,
            "context_length": config.max_position_embeddings,
            **tokens,
            "decoder": _decoder(graph, config),
        },
        "search": search,
    }
    (directory / GENAI_CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n")
    notes = []
    if lacking:
        left_out = ", ".join(lacking)
        notes.append(f"{GENAI_CONFIG_FILE} leaves out what onnxruntime-genai lacks: {left_out}")
    if "eos_token_id" not in tokens:
        notes.append(
            f"{GENAI_CONFIG_FILE} has no eos_token_id, since the checkpoint has none: "
            f"onnxruntime-genai ends at token {tokens.get('pad_token_id', 0)} instead"
        )
    return notes


def _decoder(graph: str, config: GPTNeoConfig) -> dict[str, Any]:
    """Return what the graph has: its sizes, and the names of its inputs and outputs."""
    return {
        "session_options": {
            "log_id": "onnxruntime-genai",
            "provider_options": [],
            # Unscaled scores make softmax emit denormal floats, on which x86 is slow.
            "session.set_denormal_as_zero": "1",
        },
        "filename": graph,
        "head_size": config.cache_head_dim,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "inputs": {
            names.INPUT_IDS: names.INPUT_IDS,
            ATTENTION_MASK: ATTENTION_MASK,
            names.POSITION_IDS: names.POSITION_IDS,
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            names.LOGITS: names.LOGITS,
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }


def _tokens(settings: GenerationSettings, vocab_size: int) -> dict[str, Any]:
    """Return the ids that are known: of the settings, or else of config.json.

    onnxruntime-genai takes neither null nor ids that no token has, such as -1, which stands for
    none. Padding is the first end token where nothing else is set, as in transformers.
    """
    ids = {}
    for name in TOKEN_NAMES:
        value = settings.values.get(name)
        value = settings.config_values.get(name) if value is None else value
        known = known_tokens(value, vocab_size)
        if known is not None:
            ids[name] = known
    end = ids.get("eos_token_id")
    first = end[0] if isinstance(end, list) else end
    if first is not None:
        ids.setdefault("pad_token_id", first)
    return {name: ids[name] for name in TOKEN_NAMES if name in ids}


def _search(values: Mapping[str, Any], config: GPTNeoConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the settings as onnxruntime-genai has them, and the names of those that it lacks."""
    arguments = as_arguments(values)
    asked = changed(arguments, DEFAULTS)
    context = config.max_position_embeddings
    does_sample = arguments.get("do_sample") is True
    does_search = not does_sample and _number(asked, "num_beams", 1) > 1
    search: dict[str, Any] = {
        "max_length": min(_number(asked, "max_length", context), context),
        "past_present_share_buffer": True,
        "do_sample": does_sample,
    }
    names = [*_ALWAYS, *(_SAMPLING if does_sample else ()), *(_BEAMS if does_search else ())]
    search |= {name: _number(asked, name, 0) for name in names if name in asked}
    if does_sample:
        search |= _top_k(arguments, config.vocab_size)
    if does_search:
        search["early_stopping"] = arguments.get("early_stopping") is True
    passed = {*search, *_NEVER, *(() if does_sample else _ONLY_SAMPLING)}
    lacking = [name for name in asked if name not in passed]
    if does_search and asked.get("early_stopping") == "never":
        lacking.append("early_stopping")
    return search, lacking


def _top_k(arguments: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    """Return top_k where it is not the default; 0 is its off, but only beside a top_p."""
    default = DEFAULTS["top_k"]
    if not arguments.get("top_k", default):
        return {"top_k": 0, "top_p": arguments.get("top_p") or DEFAULTS["top_p"]}
    top_k = min(_number(arguments, "top_k", default), vocab_size)
    return {} if top_k == default else {"top_k": top_k}


def _number(values: Mapping[str, Any], name: str, default: float) -> Any:
    """Return a setting, which onnxruntime-genai takes as a number alone."""
    value = values.get(name, default)
    if type(value) not in (int, float) or not -MAX_SIZE <= value <= MAX_SIZE:
        raise ModelFileError(
            f"{GENERATION_CONFIG_FILE}: {name} is {shown(value)}; a number is allowed"
        )
    return value
