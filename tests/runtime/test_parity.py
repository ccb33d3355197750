"""Logits against the float64 oracle: every way of stepping, every shape that GPT-Neo takes."""

from pathlib import Path

import numpy as np
import pytest
from checkpoints import FEW_OPERATORS, Shape
from numpy.typing import NDArray
from reference import ReferenceGPTNeo

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM

FP32, FP16 = 1e-4, 2e-2

SHAPES = {
    "alternating": Shape(),
    "window of 1": Shape(window_size=1),
    "window of 33": Shape(window_size=33, max_position_embeddings=110),
    "window wider than the context": Shape(window_size=256),
    "all global": Shape(layers=("global",) * 3),
    "all local": Shape(layers=("local",) * 3),
    "odd pattern": Shape(layers=("local", "local", "global", "local", "global")),
    "one layer": Shape(layers=("local",)),
    "untied head": Shape(tie_word_embeddings=False),
    "narrow MLP": Shape(intermediate_size=24),
    "heads of 64": Shape(hidden_size=128, num_heads=2),
    "heads of 80": Shape(hidden_size=160, num_heads=2),
    "heads of 128": Shape(hidden_size=256, num_heads=2),
    "one head": Shape(num_heads=1),
    "sharply peaked": Shape(peak=8.0),
    **{
        name: Shape(activation_function=name)
        for name in (
            "gelu",
            "gelu_fast",
            "quick_gelu",
            "silu",
            "relu",
            "tanh",
            "sigmoid",
            *FEW_OPERATORS,
        )
    },
}


def spread_difference(logits: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    """The largest difference, in standard deviations of what is expected."""
    return float(np.abs(logits - expected).max() / expected.std())


def stepped(model: GPTNeoForCausalLM, ids: NDArray[np.int64], chunk: int) -> NDArray[np.float32]:
    """Logits [length, vocab] by steps of `chunk` tokens."""
    model.engine.prefill_chunk = chunk
    return model(ids[None]).logits[0]


def decoded(model: GPTNeoForCausalLM, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits [length, vocab] by decode steps alone."""
    decoder = model.engine.decoder(slots=1)
    decoder.cache.clear(0)
    active = np.array([True])
    return np.concatenate([decoder.decode(ids[i : i + 1], active).copy() for i in range(len(ids))])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_float32_logits_equal_the_oracles_up_to_the_last_position(export_shape, random, shape):
    directory = export_shape(shape)
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
    ids = random.integers(0, shape.vocab_size, shape.max_position_embeddings)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    for chunk in (len(ids), 20, shape.window_size, 3):
        assert spread_difference(stepped(model, ids, chunk), expected) < FP32
    assert spread_difference(decoded(model, ids), expected) < FP32


@pytest.mark.parametrize("name", ["alternating", "all local", "untied head", "heads of 80"])
def test_float16_logits_are_close_to_the_oracles(export_shape, random, name):
    shape = SHAPES[name]
    directory = export_shape(shape, "fp16")
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
    ids = random.integers(0, shape.vocab_size, shape.max_position_embeddings)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    for chunk in (len(ids), 5):
        assert spread_difference(stepped(model, ids, chunk), expected) < FP16
    assert spread_difference(decoded(model, ids), expected) < FP16


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_decode_needs_no_more_than_a_bound_of_the_total_length(export_shape, random, precision):
    """So that every input which is read on the host can stay: captured CUDA graphs ask for that."""
    model = GPTNeoForCausalLM.from_pretrained(export_shape(SHAPES["alternating"], precision))
    decoder = model.engine.decoder(slots=3)

    def decode_ragged(total_length=None):
        for slot, length in enumerate((1, 5, 30)):
            decoder.cache.clear(slot)
            decoder.prefill(slot, np.arange(length))
        step = decoder._bound_decode_step(3)
        write = type(step.total_sequence_length).write
        if total_length is not None:
            step.total_sequence_length.write = lambda _: write(
                step.total_sequence_length, total_length
            )
        return [decoder.decode(tokens, np.ones(3, bool)).copy() for tokens in drawn]

    drawn = random.integers(0, 301, (30, 3))
    exact = decode_ragged()
    assert (np.array(decode_ragged(decoder.cache.capacity)) == np.array(exact)).all()


def test_padded_rows_give_the_logits_of_their_columns(export_shape, random):
    directory = export_shape()
    model = GPTNeoForCausalLM.from_pretrained(directory)
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    ids = random.integers(0, 301, (3, 40))
    mask = np.ones_like(ids)
    mask[1, :13] = 0
    mask[2, 30:] = 0
    logits = model(ids, mask).logits
    for row in range(3):
        used = np.flatnonzero(mask[row])
        expected = oracle.logits(ids[row, used], positions=used)
        assert spread_difference(logits[row, used], expected) < FP32
    assert (logits[mask == 0] == 0).all()


def test_position_ids_place_tokens(export_shape, random):
    directory = export_shape()
    model = GPTNeoForCausalLM.from_pretrained(directory)
    ids, positions = random.integers(0, 301, 20), np.arange(30, 50)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids, positions)
    logits = model(ids[None], position_ids=positions[None]).logits[0]
    assert spread_difference(logits, expected) < FP32


@pytest.mark.slow
def test_the_embedded_model_equals_the_oracle_over_its_whole_context(embedded_export, random):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    ids = random.integers(0, model.config.vocab_size, model.config.max_position_embeddings)
    expected = ReferenceGPTNeo.open(EMBEDDED_CHECKPOINT).logits(ids)
    assert spread_difference(stepped(model, ids, 100), expected) < FP32
    assert spread_difference(decoded(model, ids), expected) < FP32


GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_the_oracle_equals_what_transformers_computed(path, tmp_path):
    """Golden files hold a checkpoint, ids, and the logits of transformers in float32."""
    golden = np.load(path)
    oracle = ReferenceGPTNeo.open(golden_checkpoint(golden, tmp_path))
    assert spread_difference(golden["logits"], oracle.logits(golden["ids"])) < 1e-5


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_exports_equal_what_transformers_computed(path, tmp_path):
    from gptneo_onnx.export import export_model

    golden = np.load(path)
    directory = export_model(golden_checkpoint(golden, tmp_path / "checkpoint"), tmp_path / "out")
    model = GPTNeoForCausalLM.from_pretrained(directory)
    assert spread_difference(stepped(model, golden["ids"], 50), golden["logits"]) < FP32
    prompt = golden["ids"][: len(golden["ids"]) // 3]
    count = len(golden["greedy"]) - len(prompt)
    greedy = model.generate([prompt], max_new_tokens=count, eos_token_id=None)[0]
    assert greedy.tolist() == golden["greedy"].tolist()


def golden_checkpoint(golden: "np.lib.npyio.NpzFile", directory: Path) -> Path:
    from safetensors.numpy import save_file

    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(str(golden["config"]))
    tensors = {name[2:]: golden[name] for name in golden.files if name.startswith("t/")}
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory
