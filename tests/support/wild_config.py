"""Writes checkpoints whose config files have the forms that people's have.

A form changes config.json, and may bring a generation_config.json. FORMS are loaded by transformers
4.57; each says in its name what is odd about it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Shape, write_checkpoint

SHAPE = Shape(layers=("global", "local", "global"), window_size=5)
PROMPT = [[5, 6, 7, 40, 41, 42, 43, 44, 45, 46]]

Values = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """What a form changes.

    Attributes:
        config: entries of config.json that are set.
        without: entries that are removed.
        generation: generation_config.json; None for none.
    """

    config: Values = field(default_factory=dict)
    without: tuple[str, ...] = ()
    generation: Values | None = None


MODELS = {
    "plain": Form(),
    "attention_layers differ": Form({"attention_layers": ["local", "local", "global"]}),
    "attention_layers go on": Form({"attention_layers": ["local", "global", "local", "local"]}),
    "num_attention_heads": Form({"num_attention_heads": 4}, ("num_heads",)),
    "num_attention_heads beside num_heads": Form({"num_attention_heads": 2}),
    "num_hidden_layers alone": Form({"num_hidden_layers": 3}, ("num_layers", "attention_types")),
    "fewer num_hidden_layers": Form(
        {
            "num_hidden_layers": 3,
            "num_layers": 4,
            "attention_types": [[["local"], 1], [["global"], 3]],
        }
    ),
    "without ids": Form(without=("bos_token_id", "eos_token_id")),
    "without model_type": Form(without=("model_type",)),
    "without optional keys": Form(
        without=("intermediate_size", "activation_function", "layer_norm_epsilon")
    ),
    "all global without a window": Form(
        {"attention_types": [[["global"], 3]], "window_size": None}
    ),
    "a wide epsilon": Form({"layer_norm_epsilon": 1}),
    "no epsilon": Form({"layer_norm_epsilon": 0}),
    "gelu_accurate": Form({"activation_function": "gelu_accurate"}),
    "gelu_python_tanh": Form({"activation_function": "gelu_python_tanh"}),
    "a number for tied": Form({"tie_word_embeddings": 1}),
    "types of numbers": Form({"torch_dtype": "float16", "dtype": "bfloat16"}),
    "training's keys": Form(
        {"gradient_checkpointing": True, "use_cache": False, "resid_dropout": 0.5, "_odd": [1]}
    ),
}
OLD = {
    "length": Form({"max_length": 25}),
    "default length": Form({"max_length": 20}),
    "length as a float": Form({"max_length": 25.0}),
    "new tokens": Form({"max_new_tokens": 7}),
    "penalties": Form(
        {"max_length": 30, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "top_k": 3}
    ),
    "beams": Form({"num_beams": 3, "length_penalty": 0.5, "early_stopping": True}),
    "suppressed": Form({"suppress_tokens": [7, 231], "begin_suppress_tokens": [164]}),
    "end tokens": Form({"eos_token_id": [231, 249], "pad_token_id": 3}),
    "end token -1": Form({"eos_token_id": -1, "min_length": 9}),
    "end token as a float": Form({"eos_token_id": 231.0}),
    "null end token": Form({"eos_token_id": None}),
    "least length": Form({"eos_token_id": [231, 249, 164], "min_length": 14}),
    "bad words": Form({"bad_words_ids": [[7], [164, 231]]}),
    "states": Form({"output_hidden_states": True}),
    "do_sample 0": Form({"do_sample": 0, "temperature": 0.3}),
    "made from it": Form(
        {"max_length": 25}, generation={"_from_model_config": True, "max_length": 17}
    ),
    "made from it, unchanged": Form(generation={"_from_model_config": True, "max_length": 17}),
    "not made from it": Form({"max_length": 25}, generation={"max_length": 17}),
    "not made from it, empty": Form({"max_length": 25, "eos_token_id": 231}, generation={}),
}
GENERATIONS = {
    "use_cache": Form(generation={"use_cache": False}),
    "cache_implementation": Form(generation={"cache_implementation": "dynamic_full"}),
    "hybrid": Form(generation={"cache_implementation": "hybrid"}),
    "unknown keys": Form(generation={"max_window_size": 6144, "odd": {"a": [1]}, "top_h": 0.5}),
    "forced_decoder_ids": Form(generation={"forced_decoder_ids": None}),
    "forced_decoder_ids set": Form(generation={"forced_decoder_ids": [[1, 3]]}),
    "decoder_start_token_id": Form(generation={"decoder_start_token_id": 3}),
    "return_legacy_cache": Form(generation={"return_legacy_cache": True}),
    "outputs": Form(generation={"output_hidden_states": True, "output_attentions": True}),
    "penalty_alpha 0": Form(generation={"penalty_alpha": 0}),
    "penalty_alpha with beams": Form(generation={"penalty_alpha": 0.6, "num_beams": 2}),
    "end token -1": Form(generation={"eos_token_id": -1}),
    "end tokens with -1": Form(generation={"eos_token_id": [5, -1]}),
    "pad token -1": Form(generation={"pad_token_id": -1, "bos_token_id": -1}),
    "end token -1 with beams": Form(generation={"eos_token_id": -1, "num_beams": 2}),
    "new tokens as a float": Form(generation={"max_new_tokens": 3.0}),
    "default length": Form(generation={"max_length": 20}),
    "null": Form(generation={"top_k": None, "temperature": None, "min_length": None}),
}  # fmt: skip
FORMS = {
    f"{kind}: {name}": form
    for kind, forms in (("model", MODELS), ("old", OLD), ("generation", GENERATIONS))
    for name, form in forms.items()
}


def combined(forms: list[Form]) -> Form:
    """Return a form with the changes of several; later ones count where they contradict."""
    config: Values = {}
    without: set[str] = set()
    generation: Values | None = None
    for form in forms:
        config |= form.config
        without |= {*form.without}
        if form.generation is not None:
            generation = (generation or {}) | form.generation
    return Form(config, tuple(without - config.keys()), generation)


def write_form(directory: Path, form: Form, seed: int = 0) -> Path:
    """Write a checkpoint of this form; its weights are drawn from the seed."""
    write_checkpoint(directory, SHAPE, np.random.default_rng(seed))
    values = SHAPE.config | form.config
    values = {name: value for name, value in values.items() if name not in form.without}
    (directory / "config.json").write_text(json.dumps(values))
    if form.generation is not None:
        (directory / "generation_config.json").write_text(json.dumps(form.generation))
    return directory
