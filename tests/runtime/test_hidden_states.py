"""Hidden states against the float64 oracle: every layer, every graph that returns them."""

import numpy as np
import pytest
from checkpoints import Shape
from reference import ReferenceGPTNeo
from refusals import refused

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, GPTNeoModel

# Windows of 7 in a context of 64; no layer's numbers are those of another.
SHAPE = Shape(layers=("global", "local", "local", "global"))
LAYERS = range(5)


@pytest.fixture
def both(export_shape):
    return export_shape(SHAPE, graph=("fused", "portable"), hidden_states="all")


@pytest.fixture(params=["model.onnx", "portable.onnx"])
def model(request, both):
    return GPTNeoModel.from_pretrained(both, device="cpu", file_name=request.param)


@pytest.fixture
def oracle(both):
    return ReferenceGPTNeo.open(both.parent / "checkpoint")


def spread_difference(found, expected):
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("chunk", [64, 20, 3])
def test_every_layer_is_the_oracles(model, oracle, random, chunk):
    ids = random.integers(0, 301, (1, 64))
    model.engine.prefill_chunk = chunk
    found = model(ids, output_hidden_states=True)
    expected = oracle.all_hidden_states(ids[0])
    assert len(found.hidden_states) == len(expected) == 5
    for layer in LAYERS:
        assert found.hidden_states[layer].shape == (1, 64, 32)
        assert spread_difference(found.hidden_states[layer][0], expected[layer]) < 1e-4
    assert (found.last_hidden_state == found.hidden_states[-1]).all()


def test_logits_and_hidden_states_come_in_one_pass(model, oracle, random):
    ids = random.integers(0, 301, (2, 50))
    causal_lm = GPTNeoForCausalLM(model.engine)
    found = causal_lm(ids, output_hidden_states=[-2, 0])
    assert (found.logits == causal_lm(ids).logits).all()
    assert causal_lm(ids).hidden_states is None
    for row in range(2):
        expected = oracle.all_hidden_states(ids[row])
        for states, layer in zip(found.hidden_states, (3, 0), strict=True):
            assert spread_difference(states[row], expected[layer]) < 1e-4


@pytest.mark.parametrize("positions", [None, "own"])
def test_padded_rows_are_those_of_their_columns(model, oracle, random, positions):
    ids = random.integers(0, 301, (3, 40))
    mask = np.ones_like(ids)
    mask[1, :13] = 0
    mask[2, 30:] = 0
    own = np.maximum(mask.cumsum(-1) - 1, 0) if positions else None
    found = model(ids, mask, own, output_hidden_states=[1])
    for row in range(3):
        used = np.flatnonzero(mask[row])
        expected = oracle.all_hidden_states(ids[row, used], used if own is None else None)
        assert spread_difference(found.hidden_states[0][row, used], expected[1]) < 1e-4
        assert spread_difference(found.last_hidden_state[row, used], expected[4]) < 1e-4
    assert (found.last_hidden_state[mask == 0] == 0).all()


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_sequences_of_a_batch_are_as_if_alone(model, oracle, random, batch_size):
    sequences = [random.integers(0, 301, length) for length in (1, 64, 9, 30, 2, 9, 1, 25)]
    for layer in (-1, 2):
        found = dict(model.of_sequences(sequences, layer, batch_size))
        assert sorted(found) == [*range(8)]
        for index, ids in enumerate(sequences):
            expected = oracle.all_hidden_states(ids)[layer]
            assert found[index].shape == expected.shape
            assert spread_difference(found[index], expected) < 1e-4


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp16", 3e-3), ("w8a8", 0.05), ("int8", 0.03), ("int4", 0.3)]
)
def test_other_precisions_give_them_as_float32(export_shape, random, precision, tolerance):
    shape = SHAPE.but(hidden_size=64)  # int4 has blocks of 16 and more
    directory = export_shape(shape, precision, graph=("fused", "portable"), hidden_states="all")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    ids = random.integers(0, 301, (1, 30))
    expected = oracle.all_hidden_states(ids[0])
    for file_name in ("model.onnx", "portable.onnx"):
        model = GPTNeoModel.from_pretrained(directory, device="cpu", file_name=file_name)
        found = model(ids, output_hidden_states=True).hidden_states
        for layer in LAYERS:
            assert found[layer].dtype == np.float32
            error = np.sqrt(((found[layer][0] - expected[layer]) ** 2).mean())
            assert error < tolerance * expected[layer].std()


def test_fused_graphs_give_the_last_without_being_asked(export_shape, random):
    directory = export_shape(SHAPE, graph=("fused", "portable"))
    model = GPTNeoModel.from_pretrained(directory, device="cpu")
    assert model.hidden_layers == (4,)
    ids = random.integers(0, 301, (1, 20))
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").hidden_states(ids[0])
    assert spread_difference(model(ids).last_hidden_state[0], expected) < 1e-4
    with refused(InputError, r"not give hidden states of layer 0, 1, 2, 3 \(it gives 4\); export"):
        model(ids, output_hidden_states=True)
    portable = GPTNeoModel.from_pretrained(directory, file_name="portable.onnx")
    with refused(InputError, r"layer 4 \(it gives none\); export the checkpoint with --hidden"):
        portable(ids)


def test_only_what_was_asked_for_is_given(export_shape):
    directory = export_shape(SHAPE, graph=("fused", "portable"), hidden_states=[-4, 0])
    assert GPTNeoModel.from_pretrained(directory).hidden_layers == (0, 1, 4)
    portable = GPTNeoForCausalLM.from_pretrained(directory, file_name="portable.onnx")
    assert portable.hidden_layers == (0, 1)


def test_exports_of_before_have_the_last(embedded_export, tmp_path):
    """A manifest that says nothing of hidden states."""
    import json
    import shutil

    directory = shutil.copytree(embedded_export, tmp_path / "older")
    manifest = json.loads((directory / "gptneo_onnx.json").read_text())
    del manifest["hidden_states"]
    (directory / "gptneo_onnx.json").write_text(json.dumps(manifest))
    assert GPTNeoModel.from_pretrained(directory).hidden_layers == (6,)


@pytest.mark.parametrize("layer", [5, -6, 1.0, True, "1", None, 10**30])
def test_a_layer_that_there_is_not_is_refused(model, layer):
    with refused(InputError, r"layer is .*; 0 \(the embeddings\) to 4 \(after the last layer\)"):
        model([[1, 2]], output_hidden_states=[layer])


def test_none_are_given_unless_asked_for(model):
    for nothing in (None, False, [], np.False_):
        assert model([[1, 2]], output_hidden_states=nothing).hidden_states is None
    assert len(model([[1, 2]], output_hidden_states=np.True_).hidden_states) == 5
    assert len(model([[1, 2]], output_hidden_states=np.array([0, 4])).hidden_states) == 2
    with refused(InputError, "output_hidden_states is 3; True, or a list of layers is allowed"):
        model([[1, 2]], output_hidden_states=3)


def test_a_layer_twice_is_refused(model):
    with refused(InputError, r"output_hidden_states names \[1, -4\]; name each layer once"):
        model([[1, 2]], output_hidden_states=[1, -4])


@pytest.mark.parametrize("sequence", [[], [301], [-1], [[1, 2]], ["a"], [1] * 65])
def test_sequences_that_cannot_be_read_are_refused(model, sequence):
    with pytest.raises(InputError):
        list(model.of_sequences([[1], sequence]))
    assert len(dict(model.of_sequences([[1]]))) == 1


@pytest.mark.slow
def test_what_the_embedded_model_thinks_is_the_oracles(embedded_export, random):
    model = GPTNeoModel.from_pretrained(embedded_export)
    ids = random.integers(0, 4096, (1, 400))
    expected = ReferenceGPTNeo.open(EMBEDDED_CHECKPOINT).hidden_states(ids[0])
    assert spread_difference(model(ids).last_hidden_state[0], expected) < 1e-4
