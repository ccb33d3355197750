"""Logits against transformers itself, in float32, at the published shape and at odd ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkpoints import FEW_OPERATORS, Shape, write_checkpoint
from reference import ReferenceGPTNeo

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

FP32, FP16 = 1e-4, 2e-2
GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"

SMALL = {
    "heads of 64": Shape(hidden_size=128, num_heads=2),
    "heads of 80": Shape(hidden_size=160, num_heads=2),
    "heads of 128": Shape(hidden_size=256, num_heads=2),
    "window of 1": Shape(window_size=1),
    "window of 256": Shape(window_size=256, max_position_embeddings=800),
    "all global": Shape(layers=("global",) * 3),
    "all local": Shape(layers=("local",) * 3),
    "odd pattern": Shape(layers=("local", "local", "global", "local", "global")),
    "untied head": Shape(tie_word_embeddings=False),
    "sharply peaked": Shape(peak=8.0),
    **{
        name: Shape(activation_function=name)
        for name in (
            "gelu_new", "gelu", "gelu_fast", "gelu_pytorch_tanh", "gelu_python",
            "quick_gelu", "silu", "swish", "relu", "tanh", "sigmoid",
            "gelu_accurate", "gelu_python_tanh", *FEW_OPERATORS,
        )
    },
}  # fmt: skip

# The published 125M, 1.3B and 2.7B; two layers show what all of them would.
PUBLISHED = {
    "125M": Shape(
        vocab_size=50257,
        hidden_size=768,
        num_heads=12,
        layers=("global", "local") * 6,
        window_size=256,
        max_position_embeddings=2048,
    ),
    "1.3B, two layers": Shape(
        vocab_size=50257,
        hidden_size=2048,
        num_heads=16,
        window_size=256,
        max_position_embeddings=2048,
    ),
    "2.7B, two layers": Shape(
        vocab_size=50257,
        hidden_size=2560,
        num_heads=20,
        window_size=256,
        max_position_embeddings=2048,
    ),
}


def transformers_logits(model, ids, mask=None, positions=None):
    import torch

    with torch.no_grad():
        return model(
            torch.from_numpy(ids),
            attention_mask=None if mask is None else torch.from_numpy(mask),
            position_ids=None if positions is None else torch.from_numpy(positions),
        ).logits.numpy()


def spread_difference(logits, expected):
    return float(np.abs(logits - expected).max() / expected.std())


def decoded(model, ids):
    decoder = model.engine.decoder(slots=1)
    decoder.cache.clear(0)
    active = np.array([True])
    return np.concatenate([decoder.decode(ids[i : i + 1], active).copy() for i in range(len(ids))])


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL.keys())
def test_small_models(export_shape, transformers_model, random, shape):
    directory = export_shape(shape)
    model = GPTNeoForCausalLM.from_pretrained(directory)
    ids = random.integers(0, shape.vocab_size, (1, shape.max_position_embeddings))
    expected = transformers_logits(transformers_model(directory.parent / "checkpoint"), ids)[0]
    for model.engine.prefill_chunk in (ids.size, 40, 7):
        assert spread_difference(model(ids).logits[0], expected) < FP32
    assert spread_difference(decoded(model, ids[0]), expected) < FP32


@pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL.keys())
def test_the_oracle_of_the_other_tests(tmp_path, transformers_model, random, shape):
    checkpoint = write_checkpoint(tmp_path, shape, random)
    ids = random.integers(0, shape.vocab_size, (1, 64))
    expected = transformers_logits(transformers_model(checkpoint), ids)[0]
    assert spread_difference(ReferenceGPTNeo.open(checkpoint).logits(ids[0]), expected) < FP32


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches(export_shape, transformers_model, random, side):
    directory = export_shape()
    original = transformers_model(directory.parent / "checkpoint")
    ids = random.integers(0, 301, (4, 50))
    mask = np.ones_like(ids)
    for row, padding in enumerate((0, 1, 20, 49)):
        if side == "left":
            mask[row, :padding] = 0
        else:
            mask[row, 50 - padding :] = 0
    model = GPTNeoForCausalLM.from_pretrained(directory)
    for positions in (None, np.maximum(mask.cumsum(-1) - 1, 0)):
        expected = transformers_logits(original, ids, mask, positions)
        logits = model(ids, mask, positions).logits
        assert spread_difference(logits[mask == 1], expected[mask == 1]) < FP32


def test_the_embedded_model(embedded_export, transformers_model, random):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    text = (EMBEDDED_CHECKPOINT / "README.md").read_text() * 2
    ids = np.array([Tokenizer.from_pretrained(embedded_export).encode(text)[:512]])
    expected = transformers_logits(transformers_model(EMBEDDED_CHECKPOINT), ids)[0]
    for model.engine.prefill_chunk in (512, 100):
        assert spread_difference(model(ids).logits[0], expected) < FP32
    assert spread_difference(decoded(model, ids[0]), expected) < FP32


def test_the_embedded_model_in_float16(tmp_path, transformers_model, random):
    model = GPTNeoForCausalLM.from_pretrained(
        export_model(EMBEDDED_CHECKPOINT, tmp_path / "fp16", precision="fp16")
    )
    ids = random.integers(0, 4096, (1, 400))
    expected = transformers_logits(transformers_model(EMBEDDED_CHECKPOINT), ids)[0]
    assert spread_difference(model(ids).logits[0], expected) < FP16
    assert spread_difference(decoded(model, ids[0]), expected) < FP16


@pytest.mark.slow
@pytest.mark.parametrize("shape", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_published_shapes_over_three_windows(tmp_path, transformers_model, random, shape):
    """With GPT-2's vocabulary, from a checkpoint of vocab.json and merges.txt."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(GPT2 / name, checkpoint)
    directory = export_model(checkpoint, tmp_path / "export")
    ids = random.integers(0, shape.vocab_size, (1, 3 * shape.window_size))
    expected = transformers_logits(transformers_model(checkpoint), ids)[0]
    model = GPTNeoForCausalLM.from_pretrained(directory)
    for model.engine.prefill_chunk in (ids.size, 256):
        assert spread_difference(model(ids).logits[0], expected) < FP32
    # Decode only the last window, after a chunked prefill.
    decoder = model.engine.decoder(slots=1)
    decoder.cache.clear(0)
    start = 2 * shape.window_size
    decoder.prefill(0, ids[0, :start])
    for position in range(start, ids.size - 5, 5):
        logits = decoder.decode(ids[0, position : position + 1], np.array([True]))[0]
        assert spread_difference(logits, expected[position]) < FP32
        decoder.prefill(0, ids[0, position + 1 : position + 5])
    assert json.loads((directory / "gptneo_onnx.json").read_text())["precision"] == "fp32"
