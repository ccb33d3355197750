"""Directories that several versions of Optimum wrote generate the same tokens as our own export.

Those for other tasks are in test_foreign_tasks.py.

tests/golden/optimum has one model, exported by tests/golden/make_foreign.py; its checkpoint and
what transformers makes of it are in tests/golden/alternating.npz.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from generation_ways import WAYS
from plain_generation import left_padded
from safetensors.numpy import save_file

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM

GOLDEN = Path(__file__).parents[1] / "golden"
OTHER_TASKS = ("2.1-features", "2.1-features-with-past", "2.1-text-classification")
DIRECTORIES = sorted({path.name for path in (GOLDEN / "optimum").iterdir()} - {*OTHER_TASKS})
WITH_POSITIONS = [name for name in DIRECTORIES if "columns" not in name]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "alternating.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def fused(golden, tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("foreign") / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(str(golden["config"]))
    tensors = {name[2:]: array for name, array in golden.items() if name.startswith("t/")}
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    return GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, checkpoint / "../export"))


@pytest.fixture(params=DIRECTORIES)
def model(request):
    return GPTNeoForCausalLM.from_pretrained(GOLDEN / "optimum" / request.param, device="cpu")


@pytest.fixture
def prompts(golden):
    ids = golden["ids"]
    return [ids[:2], ids[5:18], ids[20:27]]


def test_every_layout_is_there():
    assert DIRECTORIES == [
        "1.13-columns-merged",
        "1.13-columns-two-files",
        "1.21-columns-merged",
        "1.21-columns-two-files",
        "2.1-with-past",
        "2.1-without-past",
    ]


def test_logits_are_transformers(model, golden):
    expected = golden["logits"]
    logits = model(golden["ids"][None]).logits[0]
    assert np.abs(logits - expected).max() < 1e-4 * expected.std()


def test_greedy_text_is_transformers(model, golden):
    greedy = golden["greedy"]
    prompt = golden["ids"][: len(golden["ids"]) // 3]
    found = model.generate(prompt[None], max_new_tokens=24, eos_token_id=None)
    assert found[0].tolist() == greedy.tolist()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_generating_gives_the_same_tokens(model, fused, prompts, way):
    """A ragged batch, past the window of 7."""
    ids, mask = left_padded(prompts)
    arguments = {"max_new_tokens": 20, "eos_token_id": None, **WAYS[way]}
    expected = fused.generate(ids, mask, **arguments)
    assert model.generate(ids, mask, **arguments).tolist() == expected.tolist()


def test_saved_prompts_are_gone_on_with(model, prompts):
    saved = model.prefill(prompts[1][None])
    longer = np.concatenate([prompts[1], prompts[2]])
    for ids in (longer, np.concatenate([prompts[1][:6], prompts[2]])):
        expected = model.generate(ids[None], max_new_tokens=8, eos_token_id=None)
        found = model.generate(
            ids[None], max_new_tokens=8, eos_token_id=None, past_key_values=saved
        )
        assert found.tolist() == expected.tolist()


def test_a_draft_changes_nothing(model, fused, prompts):
    arguments = {"max_new_tokens": 20, "eos_token_id": None, "num_assistant_tokens": 4}
    expected = fused.generate(prompts[1][None], **arguments)
    for target, draft in ((model, fused), (fused, model)):
        found = target.generate(prompts[1][None], assistant_model=draft, **arguments)
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("name", WITH_POSITIONS)
def test_positions_may_be_given(name, fused, prompts):
    model = GPTNeoForCausalLM.from_pretrained(GOLDEN / "optimum" / name)
    ids, positions = prompts[1][None], np.arange(13)[None] * 2
    expected = fused(ids, position_ids=positions).logits
    found = model(ids, position_ids=positions).logits
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("name", [name for name in DIRECTORIES if "columns" in name])
def test_a_graph_that_counts_columns_says_so(name, prompts):
    model = GPTNeoForCausalLM.from_pretrained(GOLDEN / "optimum" / name)
    with pytest.raises(
        InputError, match="position_ids has 3 in column 0, and this graph counts columns"
    ):
        model(prompts[1][None], position_ids=np.arange(3, 16)[None])


def test_their_configs_are_read(model, golden):
    assert model.config.vocab_size == json.loads(str(golden["config"]))["vocab_size"]
