"""StructuredOutput: whole texts match a regular expression, a schema or a grammar."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

GPT2 = Path(__file__).parents[3] / "gpt2_tokenizer"
PERSON = {
    "type": "object",
    "properties": {
        "name": {"enum": ["Anne", "Emma"]},
        "age": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=[EMBEDDED_CHECKPOINT, GPT2], ids=["embedded", "gpt2"])
def tokenizer(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(request.param, directory)
    return Tokenizer.from_pretrained(directory)


@pytest.fixture(scope="module")
def embedded_tokenizer():
    return Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export)


def generate(processor, tokenizer, prompts, score, steps=200):
    """Greedy, all rows at once: (the texts, whether each of them was ended)."""
    rows = [list(prompt) for prompt in prompts]
    width = len(rows[0])
    for _ in range(steps):
        constrained = processor(np.array(rows), score(np.array(rows)))
        for row, token in zip(rows, constrained.argmax(-1), strict=True):
            row.append(int(token))
        if all(tokenizer.eos_token_id in row[width:] for row in rows):
            break
    texts = [tokenizer.decode(row[width:]) for row in rows]
    return [tuple(text.partition("<|endoftext|>")[:2]) for text in texts]


@pytest.fixture
def drawn_scores(random, tokenizer):
    """Return a function that gives random scores, as a model that knows nothing."""
    return lambda ids: random.normal(size=(len(ids), len(tokenizer.vocabulary_bytes))).astype(
        np.float32
    )


# --- whole texts, from random scores


@pytest.mark.parametrize(
    "pattern",
    [
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
        r"(yes|no)( indeed)?[.!]",
        r"“[à-ü]{3,5}” €[1-9]",
        r"[A-Za-zÀ-ÿ]{1,9}",
    ],
)
def test_texts_match_a_regular_expression(tokenizer, drawn_scores, pattern):
    processor = StructuredOutput.from_regex(tokenizer, pattern)
    results = generate(processor, tokenizer, [[5, 6]] * 8, drawn_scores)
    assert len(set(results)) > 3
    for text, end in results:
        assert end == "<|endoftext|>"
        assert re.fullmatch(pattern, text), text


def test_texts_are_json_of_a_schema(tokenizer, drawn_scores):
    processor = StructuredOutput.from_json_schema(tokenizer, PERSON, whitespace=False)
    results = generate(processor, tokenizer, [[5, 6]] * 8, drawn_scores)
    for text, end in results:
        assert end == "<|endoftext|>"
        person = json.loads(text)
        assert person.keys() == {"name", "age"}
        assert person["name"] in ("Anne", "Emma")
        assert person["age"] in range(1, 100)
        assert not re.search(r"\s", text)


def test_texts_are_sentences_of_a_grammar(tokenizer, drawn_scores):
    grammar = 'start: "(" inner ")"\ninner: "a" | "b" | start'
    processor = StructuredOutput.from_grammar(tokenizer, grammar)
    for text, end in generate(processor, tokenizer, [[5, 6]] * 8, drawn_scores):
        assert end == "<|endoftext|>"
        depth = text.count("(")
        assert text in ("(" * depth + letter + ")" * depth for letter in "ab")


# --- with the embedded model


def test_the_model_answers_in_the_given_form(embedded_tokenizer, model):
    def score(ids):
        return model(ids).logits[:, -1]

    prompts = [embedded_tokenizer.encode(text) for text in ("She was", "He is")]
    assert {len(prompt) for prompt in prompts} == {2}
    processor = StructuredOutput.from_regex(embedded_tokenizer, "( [a-z]+){3}[.]")
    results = generate(processor, embedded_tokenizer, prompts, score)
    assert len(set(results)) == 2
    for text, end in results:
        assert re.fullmatch("( [a-z]+){3}[.]", text), text
        assert end == "<|endoftext|>"
    processor = StructuredOutput.from_json_schema(embedded_tokenizer, PERSON, whitespace=False)
    for text, _ in generate(processor, embedded_tokenizer, prompts, score):
        assert json.loads(text)["name"] in ("Anne", "Emma")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"do_sample": True, "seed": 1, "num_return_sequences": 3},
        {"num_beams": 4, "num_return_sequences": 4},
        {"min_new_tokens": 60},
    ],
    ids=str,
)
def test_generate_keeps_to_the_form_however_it_decodes(embedded_tokenizer, model, arguments):
    processor = StructuredOutput.from_regex(embedded_tokenizer, "( [a-z]{1,9}){1,3}[.]")
    embedded_tokenizer.pad_token = embedded_tokenizer.eos_token
    texts = ["She was", "It is a truth universally"]
    inputs = embedded_tokenizer(texts, padding=True, padding_side="left", return_tensors="np")
    width = inputs["input_ids"].shape[1]
    for _ in range(2):
        found = model.generate(
            **inputs, max_new_tokens=80, logits_processor=[processor], **arguments
        )
        assert len(found) == 2 * arguments.get("num_return_sequences", 1)
        for text in embedded_tokenizer.batch_decode(found[:, width:]):
            answer, end, _ = text.partition("<|endoftext|>")
            assert re.fullmatch("( [a-z]{1,9}){1,3}[.]", answer), answer
            assert end
        processor.reset()


def test_rejected_candidates_leave_no_trace(embedded_tokenizer, model):
    """Prompt lookup asks for the scores after candidates, and then goes back."""
    ids = embedded_tokenizer.encode("a b. a b a b. a")
    processor = StructuredOutput.from_regex(embedded_tokenizer, "( [ab]){1,9}[.]")
    found = [
        model.generate([ids], max_new_tokens=40, logits_processor=[processor], **arguments)
        for arguments in ({}, {"prompt_lookup_num_tokens": 4})
    ]
    assert found[0].tolist() == found[1].tolist()
    text = embedded_tokenizer.decode(found[0][0, len(ids) :])
    assert re.fullmatch(r"( [ab]){1,9}[.]<\|endoftext\|>", text)
