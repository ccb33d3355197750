"""generate() against transformers' own, token for token, over drawn models, prompts and arguments.

Every draw is one call of each library. Rows of a batch are ragged, except where an argument looks
at which tokens occurred: transformers counts padding among them, and we do not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM

TIE = 1e-4  # of the scores' spread: what float32 differs by

SHAPES = {
    "alternating": Shape(max_position_embeddings=96),
    "local": Shape(layers=("local", "local"), window_size=5, max_position_embeddings=96),
    "peaked": Shape(
        layers=("local", "global", "local"), window_size=12, peak=6.0, max_position_embeddings=96
    ),
    "small vocabulary": Shape(vocab_size=40, window_size=9, max_position_embeddings=96),
}


@dataclass
class Pair:
    """One model, loaded here and in transformers, with a draft model for assisted decoding."""

    name: str
    model: GPTNeoForCausalLM
    original: Any
    vocab_size: int
    draft: GPTNeoForCausalLM


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, request):
    import torch
    import transformers

    torch.set_flush_denormal(True)
    seed = int(request.config.getoption("--draw-seed"))
    folder = tmp_path_factory.mktemp("pairs")
    checkpoints = {"embedded": EMBEDDED_CHECKPOINT} | {
        name: write_checkpoint(folder / name, shape, np.random.default_rng([seed, index]))
        for index, (name, shape) in enumerate(SHAPES.items())
    }
    loaded = []
    for index, (name, checkpoint) in enumerate(checkpoints.items()):
        model = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, folder / f"{index}"))
        shape = Shape(
            vocab_size=model.config.vocab_size,
            layers=("local", "global"),
            max_position_embeddings=model.config.max_position_embeddings,
        )
        draft = write_checkpoint(folder / f"draft {index}", shape, np.random.default_rng(index))
        loaded.append(
            Pair(
                name,
                model,
                transformers.GPTNeoForCausalLM.from_pretrained(
                    checkpoint, dtype=torch.float32
                ).eval(),
                model.config.vocab_size,
                GPTNeoForCausalLM.from_pretrained(export_model(draft, folder / f"d{index}")),
            )
        )
    return loaded


def draw_prompts(random: np.random.Generator, vocab: int, ragged: bool) -> tuple[Any, Any]:
    batch, width = int(random.integers(1, 4)), int(random.integers(2, 24))
    ids = random.integers(1, vocab, (batch, width))
    mask = np.ones_like(ids)
    for row in range(1, batch if ragged else 0):
        mask[row, : random.integers(0, width)] = 0
    return ids, mask


# What a draw may add, and whether it looks at which tokens occurred.
Draw = Callable[[np.random.Generator, int], dict[str, Any]]
ARGUMENTS: list[tuple[bool, Draw]] = [
    (False, lambda r, v: {"min_new_tokens": int(r.integers(1, 12))}),
    (False, lambda r, v: {"min_length": int(r.integers(5, 40))}),
    (False, lambda r, v: {"eos_token_id": [0, *r.integers(1, v, 2).tolist()]}),
    (False, lambda r, v: {"eos_token_id": r.integers(0, v, v // 8).tolist()}),
    (False, lambda r, v: {"suppress_tokens": r.integers(0, v, v // 4).tolist()}),
    (False, lambda r, v: {"begin_suppress_tokens": r.integers(0, v, v // 4).tolist()}),
    (False, lambda r, v: {"forced_eos_token_id": int(r.integers(0, v))}),
    (False, lambda r, v: {"renormalize_logits": True}),
    (False, lambda r, v: {"remove_invalid_values": True}),
    (
        False,
        lambda r, v: {
            "exponential_decay_length_penalty": (
                int(r.integers(0, 8)),
                float(r.uniform(1.01, 1.5)),
            )
        },
    ),
    (True, lambda r, v: {"repetition_penalty": float(r.uniform(0.7, 2.0))}),
    (True, lambda r, v: {"encoder_repetition_penalty": float(r.uniform(0.7, 2.0))}),
    (True, lambda r, v: {"no_repeat_ngram_size": int(r.integers(1, 4))}),
    (True, lambda r, v: {"encoder_no_repeat_ngram_size": int(r.integers(1, 4))}),
    (
        True,
        lambda r, v: {
            "bad_words_ids": [r.integers(1, v, int(r.integers(1, 3))).tolist() for _ in range(9)]
        },
    ),
    (
        True,
        lambda r, v: {
            "sequence_bias": [
                [r.integers(1, v, int(r.integers(1, 3))).tolist(), float(r.normal(scale=5))]
                for _ in range(9)
            ]
        },
    ),
    (True, lambda r, v: {"guidance_scale": float(r.uniform(0.5, 2.5))}),
    (True, lambda r, v: {"watermarking_config": {"bias": 3.0, "seeding_scheme": "lefthash"}}),
]


def draw_arguments(random: np.random.Generator, vocab: int) -> tuple[dict[str, Any], bool]:
    chosen = random.choice(len(ARGUMENTS), int(random.integers(0, 4)), replace=False)
    arguments: dict[str, Any] = {"max_new_tokens": int(random.integers(1, 40)), "pad_token_id": 3}
    for index in chosen:
        arguments |= ARGUMENTS[index][1](random, vocab)
    if "exponential_decay_length_penalty" in arguments:
        # transformers adds infinity to an end token that a least length has ruled out: NaN wins.
        arguments.pop("min_length", None)
        arguments.pop("min_new_tokens", None)
    if arguments.get("forced_eos_token_id") in arguments.get("suppress_tokens", ()):
        arguments.pop("suppress_tokens")  # nothing would be left to choose from
    return arguments, any(ARGUMENTS[index][0] for index in chosen)


def draw_beams(random: np.random.Generator) -> dict[str, Any]:
    beams = int(random.integers(2, 6))
    return {
        "num_beams": beams,
        "num_return_sequences": int(random.integers(1, beams + 1)),
        "length_penalty": float(random.choice([0.0, 1.0, 0.7, 2.0, -1.0])),
        "early_stopping": [True, False, "never"][random.integers(3)],
    }


def transformers_generate(original: Any, ids: Any, mask: Any, arguments: dict[str, Any]) -> Any:
    import torch
    from transformers import WatermarkingConfig

    arguments = dict(arguments)
    if "watermarking_config" in arguments:
        arguments["watermarking_config"] = WatermarkingConfig(**arguments["watermarking_config"])
    with torch.no_grad():
        return original.generate(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            **arguments,
        )


def assert_same_or_tied(ours: Any, theirs: Any, width: int, arguments: dict[str, Any]) -> None:
    """Compare token by token; where they differ, float32 cannot tell the scores apart."""
    expected = theirs.sequences.numpy()
    if ours.sequences.tolist() == expected.tolist():
        return
    if "num_beams" in arguments:
        scores, peers = ours.sequences_scores, theirs.sequences_scores.numpy()
        assert np.abs(scores - peers).max() < TIE * max(1.0, np.abs(peers).max()), f"{arguments}"
        return
    for row, (mine, other) in enumerate(zip(ours.sequences, expected, strict=True)):
        differing = np.flatnonzero(mine[: len(other)] != other[: len(mine)])
        if len(differing):
            step = int(differing[0]) - width
            scores = theirs.scores[step][row].numpy()
            gap = abs(scores[mine[differing[0]]] - scores[other[differing[0]]])
            assert gap < TIE * scores[np.isfinite(scores)].std(), (arguments, row, step)


@pytest.mark.parametrize("part", range(25))
def test_greedy_and_beams(pairs, random, part):
    for draw in range(8):
        pair = pairs[(part + draw) % len(pairs)]
        arguments, looks_at_tokens = draw_arguments(random, pair.vocab_size)
        if draw % 2:
            arguments |= draw_beams(random)
            # transformers does not reorder the negative prompts' caches with the beams',
            arguments.pop("guidance_scale", None)
            # and penalizes the prompt's tokens in the first beam only.
            arguments.pop("encoder_repetition_penalty", None)
        ids, mask = draw_prompts(random, pair.vocab_size, ragged=not looks_at_tokens)
        theirs = transformers_generate(pair.original, ids, mask, arguments)
        ours = pair.model.generate(
            ids, mask, return_dict_in_generate=True, output_scores=True, **arguments
        )
        assert_same_or_tied(ours, theirs, ids.shape[1], arguments)
        if "num_beams" in arguments and ours.sequences.shape == tuple(theirs.sequences.shape):
            difference = np.abs(ours.sequences_scores - theirs.sequences_scores.numpy())
            assert difference.max() < 1e-3, arguments
            real = ours.sequences_scores > -1e6  # others are of tokens that were ruled out
            indices = theirs.beam_indices.numpy()
            assert ours.beam_indices[real].tolist() == indices[real].tolist()


@pytest.mark.parametrize("part", range(10))
def test_assisted(pairs, random, part):
    """Assistance changes nothing: transformers' plain result is expected, for batches too."""
    for draw in range(8):
        pair = pairs[(part + draw) % len(pairs)]
        arguments, looks_at_tokens = draw_arguments(random, pair.vocab_size)
        arguments.pop("guidance_scale", None)
        ids, mask = draw_prompts(random, pair.vocab_size, ragged=not looks_at_tokens)
        theirs = transformers_generate(pair.original, ids, mask, arguments)
        assistance: dict[str, Any] = (
            {"assistant_model": pair.draft, "assistant_confidence_threshold": 0.0}
            if draw % 2
            else {"prompt_lookup_num_tokens": int(random.integers(1, 12))}
        )
        ours = pair.model.generate(
            ids, mask, return_dict_in_generate=True, output_scores=True, **arguments, **assistance
        )
        assert_same_or_tied(ours, theirs, ids.shape[1], arguments)
