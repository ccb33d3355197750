"""generation_config.json: read as a model's, and a prompt continued by it."""

import functools
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from fuzzing import Random, Target, mutate_json
from small_checkpoint import write_small_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import GPTNeoOnnxError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES

CONFIGS = (
    {"max_new_tokens": 3, "do_sample": True, "temperature": 0.7, "top_p": 0.9, "seed": 1},
    {"max_new_tokens": 3, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"max_length": 6, "eos_token_id": [0, 5], "pad_token_id": 0, "repetition_penalty": 1.2,
     "no_repeat_ngram_size": 2, "bad_words_ids": [[7], [8, 9]], "suppress_tokens": [3],
     "sequence_bias": [[[4], 1.5]], "exponential_decay_length_penalty": [1, 1.5]},
    {"max_new_tokens": 3, "watermarking_config": {"greenlist_ratio": 0.25, "bias": 2.0}},
    {"max_new_tokens": 3, "prompt_lookup_num_tokens": 2, "stop_strings": "\n", "do_sample": True},
    {"max_new_tokens": 3, "watermarking_config": {"ngram_len": 3, "keys": [5, 6]},
     "do_sample": True, "num_return_sequences": 2, "min_new_tokens": 2, "guidance_scale": 1.5},
)  # fmt: skip


@functools.cache
def model() -> tuple[GPTNeoForCausalLM, Tokenizer]:
    folder = Path(tempfile.mkdtemp())
    write_small_checkpoint(folder / "checkpoint", np.random.default_rng(0))
    out = export_model(folder / "checkpoint", folder / "out")
    loaded = GPTNeoForCausalLM.from_pretrained(out), Tokenizer.from_pretrained(out)
    shutil.rmtree(folder)
    return loaded


def seeds() -> list[bytes]:
    return [json.dumps(config).encode() for config in CONFIGS]


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change the values; often, set another field first."""
    try:
        values = json.loads(data)
        while random.random() < 0.5:
            values[random.choice([*DEFAULT_VALUES])] = random.choice((1, 0.5, True, "a", [1], None))
    except (ValueError, TypeError):
        values = {}
    return mutate_json(random, json.dumps(values).encode(), seeds)


def run(data: bytes, folder: Path) -> None:
    (folder / "generation_config.json").write_bytes(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        config = GenerationConfig.from_pretrained(folder)
        config.to_json_string()
        hash(config)
        causal, tokenizer = model()
        limits = {"max_new_tokens": 3, "max_time": 5.0}
        for prompt in ([[1, 2, 3]], [[4, 4, 4, 4], [5, 6, 7, 8]]):
            try:
                causal.generate(prompt, generation_config=config, tokenizer=tokenizer)
            except GPTNeoOnnxError:
                causal.generate(
                    prompt, generation_config=config.updated(**limits), tokenizer=tokenizer
                )


TARGET = Target(seeds, run, mutate)
