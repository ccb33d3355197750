"""The portable graph in our own runtime: everything that the fused graph does, and the same."""

import os
import shutil

import numpy as np
import pytest
from checkpoints import Shape
from generation_ways import WAYS
from plain_generation import left_padded
from reference import ReferenceGPTNeo

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, PromptCache
from gptneo_onnx.runtime.cli.info import model_info

# Texts of 50 tokens go seven windows past the first.
SHAPE = Shape(layers=("global", "local", "local"), window_size=7, max_position_embeddings=64)
LENGTHS = (3, 17, 9)


@pytest.fixture
def directory(export_shape):
    return export_shape(SHAPE, graph=("fused", "portable"))


@pytest.fixture
def fused(directory):
    return GPTNeoForCausalLM.from_pretrained(directory, device="cpu")


@pytest.fixture
def portable(directory):
    return GPTNeoForCausalLM.from_pretrained(directory, device="cpu", file_name="portable.onnx")


@pytest.fixture
def prompts(random):
    return [random.integers(1, SHAPE.vocab_size, length) for length in LENGTHS]


def test_logits_are_the_models(portable, directory, prompts):
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    ids = np.concatenate(prompts)[:29]
    expected = oracle.logits(ids)
    found = portable(ids[None]).logits[0]
    assert np.abs(found - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_prompts_may_be_read_in_chunks(portable, fused, prompts, chunk):
    portable.engine.prefill_chunk = chunk
    found, expected = portable(prompts[1][None]).logits, fused(prompts[1][None]).logits
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_may_stand_on_either_side(portable, fused, prompts, side):
    ids, mask = left_padded(prompts)
    if side == "right":
        ids, mask = ids[:, ::-1], mask[:, ::-1]
    found, expected = portable(ids, mask).logits, fused(ids, mask).logits
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_generating_gives_the_same_tokens(portable, fused, prompts, way):
    """A ragged batch, far past the window."""
    ids, mask = left_padded(prompts)
    arguments = {"max_new_tokens": 44, "eos_token_id": None, **WAYS[way]}
    expected = fused.generate(ids, mask, **arguments)
    assert portable.generate(ids, mask, **arguments).tolist() == expected.tolist()


def test_sequences_may_end_at_different_times(portable, fused, prompts):
    """Those that go on are stepped alone, and give what they would have given in the batch."""
    ids, mask = left_padded(prompts)
    whole = fused.generate(ids, mask, max_new_tokens=40, eos_token_id=None)
    ends = [int(whole[2, ids.shape[1] + 4]), int(whole[0, ids.shape[1] + 11])]
    expected = fused.generate(ids, mask, max_new_tokens=40, eos_token_id=ends)
    found = portable.generate(ids, mask, max_new_tokens=40, eos_token_id=ends)
    assert found.tolist() == expected.tolist()


def test_drafts_go_in_both_directions(portable, fused, prompts):
    ids = prompts[0][None]
    expected = fused.generate(ids, max_new_tokens=40, eos_token_id=None)
    for model, draft in ((portable, fused), (fused, portable)):
        found = model.generate(
            ids, assistant_model=draft, max_new_tokens=40, eos_token_id=None, num_assistant_tokens=4
        )
        assert found.tolist() == expected.tolist()


def test_saved_prompts_are_gone_on_with(portable, prompts, tmp_path):
    prompt, longer = prompts[1], np.concatenate([prompts[1], prompts[2]])
    portable.prefill(prompt[None]).save(tmp_path / "prompt.npz")
    saved = PromptCache.load(tmp_path / "prompt.npz")
    for ids in (longer, np.concatenate([prompt[:10], prompts[0]])):
        expected = portable.generate(ids[None], max_new_tokens=20, eos_token_id=None)
        found = portable.generate(
            ids[None], max_new_tokens=20, eos_token_id=None, past_key_values=saved
        )
        assert found.tolist() == expected.tolist()


def test_prompts_that_another_graph_saved_are_refused(portable, fused, prompts):
    saved = fused.prefill(prompts[0][None])
    with pytest.raises(InputError, match="made by another model"):
        portable.generate(prompts[0][None], past_key_values=saved)


def test_several_calls_after_each_other_do_not_mix(portable, fused, prompts):
    ids, mask = left_padded(prompts)
    for model in (portable, fused):
        model.generate(ids, mask, max_new_tokens=9, eos_token_id=None)
    alone = [
        model.generate(prompts[2][None], max_new_tokens=30, eos_token_id=None).tolist()
        for model in (portable, fused)
    ]
    assert alone[0] == alone[1]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4", "w8a8"])
def test_every_precision_runs(export_shape, random, precision):
    shape = SHAPE.but(hidden_size=64)
    directory = export_shape(shape, precision, graph="portable")
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    ids = random.integers(0, shape.vocab_size, 40)
    expected = oracle.logits(ids)
    found = model(ids[None]).logits[0]
    assert found.dtype == np.float32
    limits = {"fp16": 2e-2, "int8": 0.2, "w8a8": 0.2, "int4": 1.5}
    assert np.abs(found - expected).max() < limits[precision] * expected.std()


def test_bfloat16_is_refused_in_one_line(export_shape):
    directory = export_shape(precision="bf16", graph="portable")
    with pytest.raises(ModelFileError, match="bfloat16: export with --graph fused") as caught:
        GPTNeoForCausalLM.from_pretrained(directory)
    assert "\n" not in str(caught.value)


def test_a_graph_that_is_not_there_is_named_with_those_that_are(directory):
    with pytest.raises(
        InputError, match=r"'genai.onnx'.*model.onnx \(fused, fp32\), portable.onnx"
    ):
        GPTNeoForCausalLM.from_pretrained(directory, file_name="genai.onnx")


def test_a_genai_graph_is_for_another_stack(export_shape):
    directory = export_shape(graph=("genai", "portable"))
    with pytest.raises(ModelFileError, match="its model.onnx is a genai graph"):
        GPTNeoForCausalLM.from_pretrained(directory)
    assert GPTNeoForCausalLM.from_pretrained(directory, file_name="portable.onnx")


def test_either_graph_may_be_the_first(export_shape, prompts):
    directory = export_shape(SHAPE, graph=("portable", "fused"))
    assert model_info(directory)["graph"] == "portable"
    assert model_info(directory, "fused.onnx")["graph"] == "fused"
    texts = []
    for name in (None, "fused.onnx"):
        model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu", file_name=name)
        ids = model.generate(prompts[0][None], max_new_tokens=40, eos_token_id=None)
        texts.append(ids.tolist())
        inputs = {value.name for value in session_of(model).get_inputs()}
        assert ("seqlens_k" in inputs) == (name == "fused.onnx")
    assert texts[0] == texts[1]


def session_of(model):
    decoder = model.engine.decoder(1)
    sessions = [decoder.session] if hasattr(decoder, "session") else decoder.sessions._sessions
    return sessions[0].inference


def test_info_tells_which_graph_it_is(directory):
    assert model_info(directory)["graph"] == "fused"
    info = model_info(directory, "portable.onnx")
    assert info["graph"] == "portable"
    assert info["cache_bytes_per_sequence"] == 3 * 2 * 64 * 32 * 4


def test_a_transformers_js_directory_runs(tmp_path, export_shape, random):
    export_shape(SHAPE)
    out = export_model(
        tmp_path / "checkpoint",
        tmp_path / "js",
        layout="transformers.js",
        precision=["fp32", "int8"],
    )
    ids = random.integers(1, SHAPE.vocab_size, (1, 5))
    arguments = {"max_new_tokens": 40, "eos_token_id": None}
    expected = GPTNeoForCausalLM.from_pretrained(tmp_path / "export").generate(ids, **arguments)
    found = GPTNeoForCausalLM.from_pretrained(out).generate(ids, **arguments)
    assert found.tolist() == expected.tolist()
    rounded = GPTNeoForCausalLM.from_pretrained(out, file_name="onnx/model_quantized.onnx")
    assert rounded.generate(ids, **arguments).shape == expected.shape
    assert sorted(model_info(out)["files"]) == [
        "config.json", "onnx/model.onnx", "onnx/model.onnx_data",
    ]  # fmt: skip


def test_a_transformers_js_snapshot_in_the_hubs_cache_runs(tmp_path, export_shape, random):
    """Its files link to blobs two folders up; those of onnx/ three."""
    export_shape(SHAPE)
    out = export_model(tmp_path / "checkpoint", tmp_path / "js", layout="transformers.js")
    repository = tmp_path / "models--a--b"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots/0123abcd"
    for number, path in enumerate(sorted(path for path in out.rglob("*") if path.is_file())):
        shutil.copyfile(path, repository / "blobs" / str(number))
        link = snapshot / path.relative_to(out)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob = repository / "blobs" / str(number)
        link.symlink_to(os.path.relpath(blob, link.parent))
    ids = random.integers(1, SHAPE.vocab_size, (1, 5))
    expected = GPTNeoForCausalLM.from_pretrained(out).generate(ids, max_new_tokens=20)
    found = GPTNeoForCausalLM.from_pretrained(snapshot).generate(ids, max_new_tokens=20)
    assert found.tolist() == expected.tolist()
