"""Heads of any size, and layers of any width: every graph, precision and way of stepping."""

import json

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from generation_ways import WAYS
from plain_generation import left_padded
from reference import ReferenceGPTNeo
from wild_heads import HEADS, TINY_STORIES

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM, PromptCache
from gptneo_onnx.runtime.cli.info import model_info

NAMES = {"fused": "model.onnx", "portable": "portable.onnx"}
# By the logits' spread. Rounding weights costs what it costs: a graph that is wrong is far beyond.
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.4, "w8a8": 0.6, "int4": 2.5}
KINDS = ("fused", "portable", "genai")
MEGABYTE = 1_000_000


@pytest.fixture(params=HEADS)
def directory(request, export_shape):
    return export_shape(HEADS[request.param], graph=("fused", "portable"))


@pytest.fixture(params=NAMES)
def model(request, directory):
    return GPTNeoForCausalLM.from_pretrained(
        directory, device="cpu", slots=3, file_name=NAMES[request.param]
    )


@pytest.fixture
def oracle(directory):
    return ReferenceGPTNeo.open(directory.parent / "checkpoint")


def assert_close(found, expected, tolerance=1e-4):
    assert np.abs(found - expected).max() < tolerance * expected.std()


def test_logits_in_chunks_and_by_single_tokens(model, oracle, random):
    """Far past the window."""
    ids = random.integers(0, 301, 64)
    expected = oracle.logits(ids)
    for chunk in (64, 20, 7, 3):
        model.engine.prefill_chunk = chunk
        assert_close(model(ids[None]).logits[0], expected)
    decoder = model.engine.decoder(slots=1)
    decoder.cache.clear(0)
    steps = [decoder.decode(ids[i : i + 1], np.array([True])).copy() for i in range(64)]
    assert_close(np.concatenate(steps), expected)


def test_hidden_states(export_shape, random):
    directory = export_shape(HEADS["of 5"], graph=("fused", "portable"), hidden_states="all")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    ids = random.integers(0, 301, 30)
    for name in NAMES.values():
        model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", file_name=name)
        found = model(ids[None], output_hidden_states=True).hidden_states
        for states, expected in zip(found, oracle.all_hidden_states(ids), strict=True):
            assert_close(states[0], expected)


def test_ragged_batches_generate_what_the_oracle_does(model, oracle, random):
    prompts = [random.integers(1, 301, length) for length in (3, 17, 9)]
    found = model.generate(*left_padded(prompts), max_new_tokens=40, eos_token_id=None)
    for row, prompt in enumerate(prompts):
        text = found[row, 17 - len(prompt) :]
        chosen = oracle.logits(text).argmax(-1)[len(prompt) - 1 : -1]
        assert text[len(prompt) :].tolist() == chosen.tolist()


@pytest.mark.parametrize("way", ["beams", "groups of beams", "prompt lookup", "several"])
def test_reordered_and_rolled_back_caches(directory, random, way):
    """Beams move sequences between slots; prompt lookup takes tokens back."""
    prompts = [random.integers(1, 301, length) for length in (3, 17, 9)]
    fused, portable = (
        GPTNeoForCausalLM.from_pretrained(directory, device="cpu", file_name=name)
        for name in NAMES.values()
    )
    arguments = {"max_new_tokens": 40, "eos_token_id": None, **WAYS[way]}
    expected = fused.generate(*left_padded(prompts), **arguments).tolist()
    assert portable.generate(*left_padded(prompts), **arguments).tolist() == expected
    if way == "prompt lookup":
        plain = fused.generate(*left_padded(prompts), max_new_tokens=40, eos_token_id=None)
        assert plain.tolist() == expected


def test_caches_are_taken_back_exactly(model, random):
    ids = random.integers(0, 301, 40)
    decoder = model.engine.decoder(slots=3)
    decoder.cache.clear(1)
    decoder.prefill(1, ids[:20])
    before = decoder.cache.read(1)
    point = decoder.cache.rollback_point(1, 5)
    longer = decoder.verify(1, ids[20:25]).copy()
    decoder.cache.roll_back(point, 20)
    for rows, wanted in zip(decoder.cache.read(1), before, strict=True):
        assert (rows == wanted).all()
    assert_close(decoder.verify(1, ids[20:25]), longer)


def test_prompt_caches_are_saved_and_read(model, random, tmp_path):
    prompt = random.integers(1, 301, (1, 23))
    arguments = {"max_new_tokens": 20, "eos_token_id": None}
    expected = model.generate(prompt, **arguments).tolist()
    model.prefill(prompt).save(tmp_path / "prompt.npz")
    saved = PromptCache.load(tmp_path / "prompt.npz")
    assert model.generate(prompt, past_key_values=saved, **arguments).tolist() == expected


def test_info_counts_the_padding_of_caches(directory):
    config = json.loads((directory / "config.json").read_text())
    heads, size = config["num_heads"], config["hidden_size"] // config["num_heads"]
    padded = -(-size // 8) * 8
    rows = [64 if kind == "global" else 7 for kind in config["attention_types"][0][0]]
    fused = model_info(directory)["cache_bytes_per_sequence"]
    assert fused == sum(rows) * 2 * heads * padded * 4
    portable = model_info(directory, "portable.onnx")["cache_bytes_per_sequence"]
    assert portable == len(rows) * 64 * 2 * heads * size * 4


@pytest.mark.parametrize("name", TINY_STORIES)
def test_the_shapes_of_tiny_stories(tmp_path, random, name):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", TINY_STORIES[name], random)
    ids = random.integers(0, 301, 50)
    expected = ReferenceGPTNeo.open(checkpoint).logits(ids)
    for precision, tolerance in TOLERANCES.items():
        out = export_model(checkpoint, tmp_path / precision, graph=KINDS, precision=precision)
        for file_name in NAMES.values():
            model = GPTNeoForCausalLM.from_pretrained(out, device="cpu", file_name=file_name)
            for chunk in (50, 11):
                model.engine.prefill_chunk = chunk
                assert_close(model(ids[None]).logits[0], expected, tolerance)


@pytest.mark.parametrize("graph", KINDS)
@pytest.mark.parametrize("precision", [*TOLERANCES, "bf16"])
@pytest.mark.parametrize(
    ("hidden_size", "num_heads", "intermediate_size"),
    [(40, 8, None), (40, 5, None), (24, 3, None), (48, 3, None), (7, 1, 13), (1, 1, 1)],
)
def test_every_width_exports_in_every_precision(
    export_shape, precision, graph, hidden_size, num_heads, intermediate_size
):
    """The check of an export runs each graph; no size is refused."""
    shape = Shape(hidden_size=hidden_size, num_heads=num_heads, intermediate_size=intermediate_size)
    export_shape(shape, precision, graph=graph)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int4", "w8a8"])
def test_the_smallest_tiny_stories_takes_5_megabytes(tmp_path, random, precision):
    """With the vocabulary and the context of the published model; web hosts end at 25 MB."""
    shape = TINY_STORIES["1M"].but(
        vocab_size=50257,
        layers=("global", "local") * 4,
        window_size=256,
        max_position_embeddings=2048,
    )
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    for graph in KINDS:
        out = export_model(checkpoint, tmp_path / graph, precision=precision, graph=graph)
        assert sum(file.stat().st_size for file in out.iterdir()) < 5 * MEGABYTE
