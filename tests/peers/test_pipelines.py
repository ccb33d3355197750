"""The pipeline against transformers' own, greedily, on the embedded model."""

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import pipeline

PROMPTS = ["She was", "It is a truth universally", "“My dear Anne,” said", "Sir"]
GREEDY = {"do_sample": False, "max_new_tokens": 40}


@pytest.fixture(scope="module")
def pair(embedded_export):
    import torch
    import transformers

    theirs = transformers.pipeline(
        "text-generation", model=str(EMBEDDED_CHECKPOINT), dtype=torch.float32, device=-1
    )
    theirs.tokenizer.padding_side = "left"
    theirs.tokenizer.pad_token_id = 0
    return pipeline("text-generation", model=embedded_export), theirs


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"return_full_text": False},
        {"return_tensors": True},
        {"clean_up_tokenization_spaces": False},
        {"prefix": "Emma Woodhouse, handsome, clever, and rich. "},
        {"prefix": "Mr. Darcy: ", "max_length": 30, "max_new_tokens": None},
        {"stop_strings": [" and", "."]},
        {"num_beams": 3, "num_return_sequences": 2},
        {"eos_token_id": [0, 13, 14], "skip_special_tokens": False},
        {"handle_long_generation": "hole"},
    ],
    ids=str,
)
def test_the_same_results_for_the_same_arguments(pair, arguments):
    ours, theirs = pair
    arguments = {**GREEDY, **arguments}
    their_arguments = dict(arguments)
    if "stop_strings" in arguments:
        their_arguments["tokenizer"] = theirs.tokenizer
    if arguments["max_new_tokens"] is None:  # transformers keeps its pipeline's default of 256
        prefix, encode = arguments["prefix"], ours.tokenizer.encode
        new_tokens = 30 + len(encode(prefix)) - len(encode(prefix + PROMPTS[0]))
        their_arguments["max_new_tokens"] = new_tokens
        assert ours(PROMPTS[0], **arguments) == theirs(PROMPTS[0], **their_arguments)
        return
    for prompt in PROMPTS:
        assert ours(prompt, **arguments) == theirs(prompt, **their_arguments)


def drawn_arguments(random):
    """Arguments of a call, drawn; the lengths fit the prompts."""
    drawn = {"do_sample": False, "max_new_tokens": int(random.integers(1, 15))}
    if random.random() < 0.4:
        drawn["num_beams"] = int(random.integers(2, 5))
        drawn["num_return_sequences"] = int(random.integers(1, drawn["num_beams"] + 1))
    if random.random() < 0.4:
        drawn["prefix"] = str(random.choice(["It was ", "Mr. Darcy said: ", ""]))
    if random.random() < 0.3:
        drawn["stop_sequence"] = str(random.choice([" was", ".", " the"]))
    if random.random() < 0.3:
        drawn["handle_long_generation"] = "hole"
    if random.random() < 0.3:
        drawn["min_length"] = int(random.integers(0, 12))
    if random.random() < 0.3:
        drawn["repetition_penalty"] = 1.3
    form = random.choice(["return_full_text", "new", "return_tensors", "default"])
    if form == "new":
        drawn["return_full_text"] = False
    elif form != "default":
        drawn[str(form)] = True
    if form != "return_tensors":
        drawn["clean_up_tokenization_spaces"] = bool(random.random() < 0.5)
        drawn["skip_special_tokens"] = bool(random.random() < 0.5)
    return drawn


@pytest.mark.parametrize("draw", range(40))
def test_drawn_arguments(pair, random, draw):
    for _ in range(draw + 1):  # each test its own, whichever of them run
        arguments = drawn_arguments(random)
    ours, theirs = pair
    prompt = PROMPTS[draw % len(PROMPTS)] if draw % 7 else ""
    assert ours(prompt, **arguments) == theirs(prompt, **arguments)


def test_batches_and_generators(pair):
    ours, theirs = pair
    expected = theirs(PROMPTS, **GREEDY, batch_size=4)
    assert ours(PROMPTS, **GREEDY, batch_size=4) == expected
    assert list(ours((prompt for prompt in PROMPTS), **GREEDY, batch_size=3)) == expected
