"""A pipeline counts each prompt's own tokens: a batch gives what each prompt gives alone."""

import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, pipeline
from gptneo_onnx.runtime.generation import MaxLengthCriteria, StoppingCriteriaList

PROMPTS = ["She", "It is a truth universally acknowledged", "Sir Walter was"]


@pytest.fixture(scope="module")
def generator(embedded_export):
    return pipeline("text-generation", embedded_export)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_length": 16},
        {"max_length": 16, "num_return_sequences": 2},
        {"max_length": 20, "min_length": 17, "eos_token_id": [0, 13, 14]},
        {"min_length": 14, "max_new_tokens": 12, "eos_token_id": [0, 13, 14]},
        {"max_length": 16, "do_sample": False, "num_beams": 3},
        {"max_length": 16, "do_sample": False, "num_beams": 4, "num_beam_groups": 2,
         "diversity_penalty": 1.0},
        {"max_length": 16, "forced_eos_token_id": 5},
        {"max_length": 16, "prompt_lookup_num_tokens": 3},
        {"max_length": 16, "pad_token_id": 7},
        {"max_length": 16, "guidance_scale": 1.5},
        {"max_length": 16, "prefix": "Oh! "},
    ],
    ids=str,
)  # fmt: skip
def test_lengths_do_not_depend_on_the_batch(generator, arguments):
    arguments = {"seed": 3, "return_tensors": True, **arguments}
    alone = [generator(prompt, **arguments) for prompt in PROMPTS]
    assert generator(PROMPTS, batch_size=3, **arguments) == alone
    if "min_length" not in arguments:
        prefix = len(generator.tokenizer.encode(arguments.get("prefix", "")))
        lengths = [len(results[0]["generated_token_ids"]) for results in alone]
        assert max(lengths) == 16 + prefix


def test_generate_counts_columns_as_transformers_does(embedded_export, generator):
    """The batch is 10 columns wide: the short prompt gets 16 - 10 new tokens."""
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    tokenizer = generator.tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    inputs = tokenizer(PROMPTS, padding=True, padding_side="left", return_tensors="np")
    width = inputs["input_ids"].shape[1]
    ids = model.generate(**inputs, max_length=16, eos_token_id=None, pad_token_id=0)
    assert ids.shape == (3, 16)
    assert width > len(tokenizer.encode(PROMPTS[0]))


def test_a_prompt_that_leaves_no_room_is_refused_as_it_is_alone(generator):
    length = len(generator.tokenizer.encode(PROMPTS[1]))
    message = f"max_length is {length}, but the prompt alone has {length} tokens; raise it"
    for prompts in (PROMPTS[1], PROMPTS):
        with pytest.raises(InputError, match=message):
            generator(prompts, max_length=length, batch_size=3)


def test_a_callers_criterion_counts_columns(generator):
    criteria = StoppingCriteriaList([MaxLengthCriteria(max_length=14)])
    arguments = {"stopping_criteria": criteria, "return_tensors": True, "eos_token_id": None}
    [result] = generator(PROMPTS[0], **arguments)
    assert len(result["generated_token_ids"]) == 14


def test_truncation_cuts_prompts_as_in_transformers(generator):
    """max_length is the tokenizer's then, and 256 new tokens the default, as there."""
    arguments = {"return_tensors": True, "eos_token_id": None, "do_sample": False}
    ids = generator.tokenizer.encode(PROMPTS[1])
    [result] = generator(PROMPTS[1], truncation=True, max_length=3, max_new_tokens=5, **arguments)
    assert result["generated_token_ids"][:3] == ids[:3]
    assert len(result["generated_token_ids"]) == 8
    with pytest.raises(InputError, match="truncation is 'some'; True, False, longest_first"):
        generator("She", truncation="some")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"tempreature": 1},
            "pipeline has no argument 'tempreature'; it has temp",
        ),
        ({"max_lenght": 1}, "has no argument 'max_lenght'; it has max_length, min_length"),
        ({"batchsize": 1}, "has no argument 'batchsize'; it has batch_size"),
        ({"xyzzy": 1}, "has no argument 'xyzzy'; docs/generation.md lists them"),
        ({"torch_dtype": "auto"}, r"torch_dtype is an argument of pipeline\(\), not of a call"),
        ({"precision": "int4"}, r"precision is an argument of pipeline\(\), not of a call"),
    ],
)
def test_unknown_names(generator, arguments, message):
    with pytest.raises(InputError, match=message):
        generator("She", **arguments)


def test_names_that_change_nothing(generator):
    plain = generator("She was", max_new_tokens=3, seed=1)
    further = {"num_workers": 4, "padding": True, "add_special_tokens": False, "use_cache": True}
    assert generator("She was", max_new_tokens=3, seed=1, **further) == plain
