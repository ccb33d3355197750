"""Quantized exports: they compute what their stored weights mean, in chunks and in batches."""

import json

import numpy as np
import onnx
import pytest
from checkpoints import Shape
from onnx import numpy_helper
from plain_generation import left_padded
from reference import ReferenceGPTNeo

from gptneo_onnx.export.graphs.head_padding import model_columns
from gptneo_onnx.models import InputError, Manifest
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import device

FULL_RANGE = {"precision": "w8a8", "full_range": True}
QUANTIZED = ({"precision": "int8"}, {"precision": "w8a8"}, FULL_RANGE, {"precision": "int4"})
SHAPE = Shape(hidden_size=64, num_heads=2, layers=("global", "local", "local"))
# What activations of 8 bits cost, in the logits' spread: peaked attention magnifies it.
CLOSE = 0.04

ODD_SIZES = [
    {"num_heads": 16},
    {"hidden_size": 40, "num_heads": 8, "tie_word_embeddings": False},
    {"hidden_size": 48, "num_heads": 6, "intermediate_size": 16},
    {"hidden_size": 60, "num_heads": 3, "intermediate_size": 50},
    {"hidden_size": 7, "num_heads": 1, "intermediate_size": 13},
]


every_format = pytest.mark.parametrize(
    "options", QUANTIZED, ids=lambda each: "-".join(map(str, each.values()))
)


def stored_weights(exported, name="model.onnx"):
    """Every initializer's array by its name."""
    graph = onnx.load(exported / name).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def meaning(name, stored):
    """What a quantized weight stands for, [out, in]."""
    if f"{name}.blocks.scales" in stored:  # of a table, looked up or multiplied by or both
        scales = stored[f"{name}.blocks.scales"].astype(np.float64)
        codes = stored[name if name in stored else f"{name}.blocks"].astype(np.float64)
        blocks = codes.reshape(*scales.shape, -1) - 128
        return (blocks * scales[..., None]).reshape(len(codes), -1)
    codes = stored[name].astype(np.float64)
    scales = stored[f"{name}.scales"].astype(np.float64)
    if stored[name].dtype == np.int8:  # [in, out]
        return codes.T * scales[:, None]
    if f"{name}.zero_points" in stored:
        codes, zeros = (unpacked(stored[each]) for each in (name, f"{name}.zero_points"))
        zeros = zeros.reshape(len(zeros), -1)[:, : scales.shape[1], None]
    else:
        zeros = 128
    return ((codes.reshape(*scales.shape, -1) - zeros) * scales[..., None]).reshape(len(codes), -1)


def unpacked(codes):
    """4-bit codes as floats; only portable graphs declare them as such."""
    if codes.dtype == np.uint8:
        codes = np.stack([codes & 15, codes >> 4], axis=-1)
    return codes.astype(np.float64)


def oracle_of(exported, graph="model.onnx"):
    """The checkpoint's model in float64, with the weights that the export stores."""
    oracle = ReferenceGPTNeo.open(exported.parent / "checkpoint")
    stored = stored_weights(exported, graph)
    for name in [name.removesuffix(".scales") for name in stored if name.endswith(".scales")]:
        name = name.removesuffix(".blocks")
        weights, config = meaning(name, stored), oracle.config
        size = config.cache_head_dim if ".padded" in name else config.head_dim
        heads = model_columns(config, size)
        name = name.replace(".padded", "")
        inputs = config.intermediate_size if "c_proj" in name else config.hidden_size
        if name.endswith("qkv_proj.weight"):
            parts = [part[heads, :inputs] for part in np.split(weights, 3)]
            names = [name.replace("qkv_proj", f"{part}_proj") for part in "qkv"]
            oracle.read.update(zip(names, parts, strict=True))
        elif name.endswith("out_proj.weight"):
            oracle.read[name] = weights[:, : size * config.num_heads][:, heads]
        else:
            oracle.read[name] = weights[:, :inputs]
    return oracle


@pytest.fixture
def load(caplog):
    """Loads an export: the model, and whether this processor adds its products exactly.

    Where it does not, nothing is promised but the warning.
    """

    def load_export(exported, **arguments):
        device.warn_saturating_sums.cache_clear()
        caplog.clear()
        model = GPTNeoForCausalLM.from_pretrained(exported, **arguments)
        numbers = Manifest.read(exported).numbers
        has_8_bits = numbers.precision.value == "w8a8" and not numbers.reduce_range
        is_exact = not (has_8_bits and device.saturates_int8_sums())
        assert ("export again without --full-range" in caplog.text) == (not is_exact)
        return model, is_exact

    return load_export


def difference(logits, expected):
    return np.sqrt(np.square(logits - expected).mean()) / expected.std()


@every_format
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"activation_function": "relu"},
        {"activation_function": "gelu", "intermediate_size": 48},
        {"activation_function": "silu"},
        {"hidden_size": 48, "num_heads": 3},
        *ODD_SIZES,
    ],
    ids=str,
)
def test_logits_are_the_oracles_with_the_stored_weights(
    export_shape, random, load, options, changes
):
    exported = export_shape(SHAPE.but(**changes), **options)
    (model, is_exact), oracle = load(exported), oracle_of(exported)
    ids = random.integers(0, 301, 60)
    expected = oracle.logits(ids)
    for chunk in (model.engine.prefill_chunk, 7):
        model.engine.prefill_chunk = chunk
        found = model([ids]).logits[0]
        assert np.isfinite(found).all()
        assert difference(found, expected) < CLOSE or not is_exact


@every_format
@pytest.mark.parametrize("changes", [{}, *ODD_SIZES], ids=str)
def test_portable_graphs_widen_what_is_stored(export_shape, random, load, options, changes):
    """Exactly; ONNX Runtime rounds activations where weights are int8."""
    exported = export_shape(SHAPE.but(**changes), graph=("fused", "portable"), **options)
    model, is_exact = load(exported, file_name="portable.onnx")
    ids = random.integers(0, 301, 60)
    expected = oracle_of(exported, "portable.onnx").logits(ids)
    limit = CLOSE if options["precision"] == "w8a8" else 1e-5
    assert difference(model([ids]).logits[0], expected) < limit or not is_exact


@every_format
def test_the_stored_weights_are_the_checkpoints_rounded(export_shape, options):
    exported = export_shape(SHAPE, **options)
    oracle, original = oracle_of(exported), ReferenceGPTNeo.open(exported.parent / "checkpoint")
    bound = 0.12 if options["precision"] == "int4" else 0.01
    if options == {"precision": "w8a8"}:
        bound *= 127 / 63  # of 7 bits, whose steps are as much wider
    for name, weights in oracle.read.items():
        exact = original.weight(name)
        most = 0.01 if name == "wte.weight" else bound
        assert np.sqrt(np.square(weights - exact).mean()) < most * exact.std()
    assert len(oracle.read) == 1 + 3 * 6


@every_format
def test_a_rows_result_does_not_depend_on_its_batch(export_shape, random, load, options):
    """ONNX Runtime's own dynamic quantization takes one scale for all rows.

    MatMulNBits adds a single row in another order than several, which a later rounding magnifies.
    """
    model, is_exact = load(export_shape(SHAPE, **options), slots=4)
    prompts = [random.integers(0, 301, length).tolist() for length in (40, 3, 21, 9)]

    def decoded(rows):
        decoder = model.engine.decoder(len(rows))
        for slot, prompt in enumerate(rows):
            decoder.cache.clear(slot)
            decoder.prefill(slot, np.array(prompt))
        steps = [
            decoder.decode(np.full(len(rows), token), np.ones(len(rows), bool)).copy()
            for token in (5, 6, 7)
        ]
        return np.stack(steps, axis=1)  # [rows, steps, vocab]

    together = decoded(prompts)
    for row, prompt in enumerate(prompts):
        alone = decoded([prompt])[0]
        if not is_exact:
            continue
        if options["precision"] == "w8a8":
            assert np.abs(together[row] - alone).max() < 1e-6 * alone.std()
        assert difference(together[row], alone) < CLOSE


def test_ragged_batches_generate_as_each_prompt_alone(export_shape, random):
    """With w8a8; with int8 and int4 texts may part where a rounding does."""
    model = GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE.but(hidden_size=128), "w8a8"))
    prompts = [random.integers(0, 301, length).tolist() for length in (20, 3, 11)]
    arguments = {"max_new_tokens": 30, "eos_token_id": None}
    together = model.generate(*left_padded(prompts), **arguments)
    for row, prompt in enumerate(prompts):
        alone = model.generate([prompt], **arguments)
        assert together[row, 20:].tolist() == alone[0, len(prompt) :].tolist()


@pytest.mark.parametrize(("options", "largest"), [({}, 63), ({"full_range": True}, 127)])
def test_w8a8_stores_7_bits_and_8_of_full_range(export_shape, options, largest):
    exported = export_shape(SHAPE, "w8a8", **options)
    codes = [array for array in stored_weights(exported).values() if array.dtype == np.int8]
    assert {int(np.abs(array).max()) for array in codes if array.ndim == 2} == {largest}
    values = json.loads((exported / "gptneo_onnx.json").read_text())
    assert values["reduce_range"] is (largest == 63)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"precision": "int8", "full_range": True},
            "full_range is for precision w8a8, and precision is int8; leave it out",
        ),
        (
            {"precision": "fp16", "activations": "fp32"},
            "activations is 'fp32'; with precision fp16",
        ),
        ({"precision": "w8a8", "activations": "fp16"}, "with precision w8a8 fp32 is allowed"),
        ({"precision": "int4", "activations": "int8"}, "fp32 or fp16 or bf16 is allowed"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(export_shape, arguments, message):
    with pytest.raises(InputError, match=message):
        export_shape(SHAPE, **arguments)
