"""Greedy text against transformers' own generate(), token for token."""

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

PROMPTS = ["She was", "It is a truth", "\n\nCHAPTER", "“My dear Anne,” said", "The"]


def transformers_generate(original, ids, mask, **arguments):
    import torch

    with torch.no_grad():
        return original.generate(
            torch.from_numpy(np.array(ids)),
            attention_mask=torch.from_numpy(np.array(mask)),
            do_sample=False,
            **arguments,
        ).numpy()


@pytest.fixture
def embedded(embedded_export, transformers_model):
    return GPTNeoForCausalLM.from_pretrained(embedded_export), transformers_model(
        EMBEDDED_CHECKPOINT
    )


def test_the_embedded_model_with_single_prompts_past_the_window(embedded, embedded_export):
    model, original = embedded
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="np")
        expected = transformers_generate(original, *inputs.values(), max_new_tokens=200)
        assert model.generate(**inputs, max_new_tokens=200).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_new_tokens": 100},
        {"max_length": 90, "min_length": 40},
        {"max_new_tokens": 60, "min_new_tokens": 20},
        {"max_new_tokens": 80, "eos_token_id": [0, 13, 14], "pad_token_id": 5},
        {},
    ],
    ids=str,
)
def test_the_embedded_model_in_a_ragged_batch(embedded, embedded_export, arguments):
    model, original = embedded
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    tokenizer.pad_token = tokenizer.eos_token
    inputs = tokenizer(PROMPTS, padding=True, padding_side="left", return_tensors="np")
    expected = transformers_generate(original, *inputs.values(), **arguments)
    assert model.generate(**inputs, **arguments).tolist() == expected.tolist()


def test_repetition_penalty(embedded, embedded_export):
    model, original = embedded
    for prompt in PROMPTS:
        tokenizer = Tokenizer.from_pretrained(embedded_export)
        inputs = tokenizer(prompt, return_tensors="np")
        arguments = {"max_new_tokens": 80, "repetition_penalty": 1.3}
        expected = transformers_generate(original, *inputs.values(), **arguments)
        assert model.generate(**inputs, **arguments).tolist() == expected.tolist()


@pytest.mark.parametrize("window", [1, 7, 16])
@pytest.mark.parametrize("layers", ["gl", "ll", "llgl"])
def test_random_models_in_ragged_batches(export_shape, transformers_model, random, window, layers):
    shape = Shape(
        layers=tuple({"g": "global", "l": "local"}[kind] for kind in layers),
        window_size=window,
        max_position_embeddings=128,
    )
    directory = export_shape(shape)
    model = GPTNeoForCausalLM.from_pretrained(directory)
    original = transformers_model(directory.parent / "checkpoint")
    ids = random.integers(1, shape.vocab_size, (4, 40))
    mask = np.ones_like(ids)
    for row, padding in enumerate((39, 0, 12, 30)):
        mask[row, :padding] = 0
    model.engine.prefill_chunk = 16
    result = model.generate(ids, mask, max_new_tokens=60)
    expected = transformers_generate(original, ids, mask, max_new_tokens=60)
    assert result.tolist() == expected.tolist()
