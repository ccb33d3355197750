"""Guidance as a processor against transformers' class, by other models and by the model itself."""

import numpy as np
import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, generation

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.generation import logits_process  # noqa: E402


class Output(dict):
    logits = None


def fake_model(input_ids, attention_mask, use_cache=True, past_key_values=None):
    """As in transformers' own test: the same logits, with traces of what it was called with."""
    output = Output(past_key_values=(past_key_values or 0) + 1)
    output.logits = torch.zeros(len(input_ids), input_ids.shape[1], 3) + torch.tensor([1.0, 0, 1.5])
    output.logits[..., 0] += input_ids.sum() + attention_mask.sum() * 0.1
    output.logits[..., 1] -= (past_key_values or 0) * 0.3
    return output


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("scale", [1, 1.5, 0.0])
@pytest.mark.parametrize("has_negatives", [False, True])
def test_guidance_by_any_model(scale, has_negatives, use_cache):
    ids = torch.tensor([[0, 2, 1]])
    scores = torch.tensor([[1.0, 1.0, 1.0]])
    negatives = (torch.tensor([[4, 5]]), torch.tensor([[1, 1]])) if has_negatives else (None, None)
    ours, theirs = (
        package.UnbatchedClassifierFreeGuidanceLogitsProcessor(
            scale, fake_model, *negatives, use_cache=use_cache
        )
        for package in (generation, logits_process)
    )
    for step in range(4):
        torch.testing.assert_close(ours(ids, scores), theirs(ids, scores))
        ids = torch.cat([ids, torch.tensor([[step]])], 1)


@pytest.fixture(scope="module")
def models(two_graphs):
    return (
        GPTNeoForCausalLM.from_pretrained(two_graphs, device="cpu"),
        transformers.GPTNeoForCausalLM.from_pretrained(EMBEDDED_CHECKPOINT).eval(),
    )


@pytest.mark.parametrize("has_negatives", [False, True])
def test_guidance_by_the_model_gives_what_generate_gives(models, has_negatives, random):
    ours, theirs = models
    ids = random.integers(4, 200, (2, 7))
    negatives = random.integers(4, 200, (2, 5)) if has_negatives else None
    named = {"negative_prompt_ids": torch.from_numpy(negatives)} if has_negatives else {}
    expected = theirs.generate(
        torch.from_numpy(ids),
        guidance_scale=1.5,
        max_new_tokens=9,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
        **named,
    )
    guidance = generation.UnbatchedClassifierFreeGuidanceLogitsProcessor(1.5, ours, negatives)
    text = ids
    for scores in expected.scores:
        processed = guidance(text, ours(text).logits[:, -1])
        np.testing.assert_allclose(processed, scores.numpy(), atol=2e-3)
        text = np.concatenate([text, scores.argmax(-1).numpy()[:, None]], axis=1)
    assert text.tolist() == expected.sequences.tolist()
    named = {"negative_prompt_ids": negatives} if has_negatives else {}
    generated = ours.generate(
        ids, guidance_scale=1.5, max_new_tokens=9, do_sample=False, eos_token_id=None, **named
    )
    assert generated.tolist() == expected.sequences.tolist()


def test_another_model_can_guide_a_generation(models, two_graphs, random):
    ours, _ = models
    other = GPTNeoForCausalLM.from_pretrained(two_graphs, device="cpu")
    ids = random.integers(4, 200, (1, 7))
    common = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    expected = ours.generate(ids, guidance_scale=2.0, **common)
    guidance = generation.UnbatchedClassifierFreeGuidanceLogitsProcessor(2.0, other)
    assert ours.generate(ids, logits_processor=[guidance], **common).tolist() == expected.tolist()
    itself = generation.UnbatchedClassifierFreeGuidanceLogitsProcessor(2.0, ours)
    with pytest.raises(InputError, match="pass guidance_scale and negative_prompt_ids instead"):
        ours.generate(ids, logits_processor=[itself], **common)
