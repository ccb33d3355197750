"""generate() with the arguments of transformers' docstring examples of each processor."""

import numpy as np
import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM

PROMPT = [11, 45, 60, 7, 45, 60, 9, 30]


def allowed(batch, ids):
    return [5, 45, 60, 99] if len(ids) % 3 else [*range(200)]


EXAMPLES = {
    "MinLength": {"min_length": 30},
    "MinNewTokens": {"min_new_tokens": 5},
    "Temperature": {"do_sample": False, "temperature": 0.0001},
    "RepetitionPenalty": {"repetition_penalty": 1.1},
    "EncoderRepetitionPenalty": {"encoder_repetition_penalty": 1.2},
    "NoRepeatNGram": {"no_repeat_ngram_size": 2},
    "EncoderNoRepeatNGram": {"encoder_no_repeat_ngram_size": 2},
    "SequenceBias": {"sequence_bias": [[[45, 60], -10.0], [[9], 2.0]]},
    "SequenceBias, beams": {"sequence_bias": [[[45, 60], 10.0]], "num_beams": 4},
    "NoBadWords": {"bad_words_ids": [[45], [60, 7]]},
    "PrefixConstrained": {"prefix_allowed_tokens_fn": allowed},
    "ForcedBOS": {"forced_bos_token_id": 5},
    "ForcedEOS": {"max_new_tokens": 6, "forced_eos_token_id": 3},
    "ExponentialDecay": {"exponential_decay_length_penalty": (5, 1.6), "eos_token_id": 9},
    "LogitNormalization": {"renormalize_logits": True},
    "SuppressTokensAtBegin": {"begin_suppress_tokens": [45, 60]},
    "SuppressTokens": {"suppress_tokens": [45, 60]},
    "UnbatchedClassifierFreeGuidance": {"guidance_scale": 1.5},
    "Watermark": {"watermarking_config": {"bias": 2.5, "seeding_scheme": "selfhash"}},
}


@pytest.fixture(scope="module")
def pair(two_graphs):
    transformers = pytest.importorskip("transformers")
    return (
        GPTNeoForCausalLM.from_pretrained(two_graphs, device="cpu"),
        transformers.GPTNeoForCausalLM.from_pretrained(EMBEDDED_CHECKPOINT).eval(),
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_scores_and_tokens(name, pair):
    import torch
    import transformers

    ids = np.array([PROMPT])
    arguments = {
        "max_new_tokens": 12,
        "do_sample": False,
        "pad_token_id": 0,
        "output_scores": True,
        "return_dict_in_generate": True,
        **EXAMPLES[name],
    }
    ours, theirs = pair
    found = ours.generate(ids, **arguments)
    if "watermarking_config" in arguments:
        config = transformers.WatermarkingConfig(**arguments["watermarking_config"])
        arguments["watermarking_config"] = config
    expected = theirs.generate(torch.from_numpy(ids), **arguments)
    assert found.sequences.tolist() == expected.sequences.tolist()
    for our_scores, their_scores in zip(found.scores, expected.scores, strict=True):
        np.testing.assert_allclose(our_scores, their_scores.numpy(), atol=5e-3)
