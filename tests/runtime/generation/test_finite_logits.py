"""Logits that are not finite are refused, however tokens are chosen by them."""

import numpy as np
import pytest
from overflowing_checkpoint import TEXT, overflowing_checkpoint
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

MESSAGE = "the model's logits are not finite numbers; export it in another precision, such as fp32"
WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 1},
    "sampled of all tokens": {"do_sample": True, "seed": 1, "top_k": 0},
    "beams": {"num_beams": 3},
    "beam groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "looked up": {"prompt_lookup_num_tokens": 3},
    "processed": {"repetition_penalty": 1.2, "top_k": 5, "do_sample": True},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overflowing")
    return overflowing_checkpoint(folder / "checkpoint", np.random.default_rng(17))


@pytest.fixture(scope="module")
def model(checkpoint):
    """In float16, where texts that begin with TEXT overflow."""
    out = export_model(checkpoint, checkpoint.parent / "fp16", precision="fp16")
    return GPTNeoForCausalLM.from_pretrained(out, device="cpu")


@pytest.fixture(scope="module")
def token(checkpoint):
    [token] = Tokenizer.from_pretrained(checkpoint).encode(TEXT)
    return token


@pytest.mark.parametrize("way", WAYS)
def test_a_prompt_that_overflows(model, token, way):
    with refused(ModelFileError, MESSAGE):
        model.generate([[token, 5, 6]], max_new_tokens=4, eos_token_id=None, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_other_prompts_are_continued(model, way):
    ids = model.generate([[5, 6, 7]], max_new_tokens=4, eos_token_id=None, **WAYS[way])
    assert ids.shape == (1, 7)


def test_one_prompt_of_a_batch_that_overflows(model, token):
    with refused(ModelFileError, MESSAGE):
        model.generate([[5, 6], [token, 6]], max_new_tokens=2, eos_token_id=None)


def test_a_negative_prompt_that_overflows(model, token):
    with refused(ModelFileError, MESSAGE):
        model.generate(
            [[5, 6]], negative_prompt_ids=[[token]], guidance_scale=1.5, max_new_tokens=2
        )


def test_tokens_one_by_one(model, token):
    with refused(ModelFileError, MESSAGE):
        next(model.generate_tokens([[token, 5]], max_new_tokens=2))


def test_the_advice_works(checkpoint, token):
    out = export_model(checkpoint, checkpoint.parent / "fp32", precision="fp32")
    model = GPTNeoForCausalLM.from_pretrained(out, device="cpu")
    assert model.generate([[token, 5]], max_new_tokens=3, eos_token_id=None).shape == (1, 5)


def test_remove_invalid_values_chooses_all_the_same(model, token):
    """As transformers.InfNanRemoveLogitsProcessor means it: NaN counts as 0."""
    ids = model.generate(
        [[token, 5]], max_new_tokens=3, eos_token_id=None, remove_invalid_values=True
    )
    assert ids.tolist() == [[token, 5, 0, 0, 0]]
