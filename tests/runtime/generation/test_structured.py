"""StructuredOutput: what is generated matches a regular expression, a schema or a grammar."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from refusals import refused

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.structured import StructuredOutput

pytest.importorskip("llguidance")

GPT2 = Path(__file__).parent.parent.parent / "gpt2_tokenizer"
PERSON = {
    "type": "object",
    "properties": {"name": {"enum": ["Anne", "Emma"]}, "age": {"type": "integer", "maximum": 99}},
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


def size(tokenizer):
    return len(tokenizer.vocabulary_bytes)


def allowed(processor, tokenizer, *rows, extra=0):
    """The texts that may come next in each row, when every token is equally likely."""
    scores = np.zeros((len(rows), size(tokenizer) + extra), np.float32)
    ids = np.array(rows)
    constrained = processor(ids, scores)
    assert not scores.any()  # its inputs are left alone
    assert np.isin(constrained, [0, -np.inf]).all()
    return [
        {tokenizer.decode([token]) for token in np.flatnonzero(np.isfinite(row))}
        for row in constrained
    ]


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
    """A model that knows nothing."""
    return lambda ids: random.normal(size=(len(ids), size(tokenizer))).astype(np.float32)


# --- what may come next


def test_only_tokens_that_keep_to_the_expression(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "[a-c]{2}|was")
    prompt = tokenizer.encode("She was")
    assert {"a", "b", "c", "w"} <= allowed(processor, tokenizer, prompt)[0]
    for text in allowed(processor, tokenizer, prompt)[0]:
        assert re.fullmatch("[abc]{1,2}|w|wa|was", text)


def test_a_complete_text_can_only_be_ended(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "no|yes")
    prompt = tokenizer.encode("She said")
    allowed(processor, tokenizer, prompt)
    for answer in ("no", "yes"):
        row = [*prompt, *tokenizer.encode(answer)]
        assert len(row) == len(prompt) + 1 or tokenizer.encode(answer) != [answer]
        processor = StructuredOutput.from_regex(tokenizer, "no|yes", prompt_length=len(prompt))
        assert allowed(processor, tokenizer, row) == [{"<|endoftext|>"}]


def test_a_text_that_may_end_or_go_on_can_do_both(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "ab*", prompt_length=1)
    (texts,) = allowed(processor, tokenizer, [5, *tokenizer.encode("a")])
    assert {"<|endoftext|>", "b"} <= texts
    assert all(re.fullmatch("b+", text) for text in texts - {"<|endoftext|>"})


def test_the_end_tokens_can_be_others(tokenizer):
    ends = [tokenizer.encode(".")[0], tokenizer.encode("!")[0]]
    processor = StructuredOutput.from_regex(tokenizer, "a", eos_token_id=ends, prompt_length=0)
    assert allowed(processor, tokenizer, tokenizer.encode("a")) == [{".", "!"}]


def test_behind_the_end_only_end_tokens_follow(tokenizer):
    """Finished rows of a batch are filled up with pad tokens."""
    processor = StructuredOutput.from_regex(tokenizer, "ab*", prompt_length=0)
    a, end, pad = tokenizer.encode("a")[0], tokenizer.eos_token_id, tokenizer.encode("b")[0]
    for row in ([a, end], [a, end, pad], [a, end, pad, pad]):
        assert allowed(processor, tokenizer, row) == [{"<|endoftext|>"}]


def test_a_text_that_left_the_grammar_is_ended(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "ab*c", prompt_length=0)
    for text in ("x", "ax", "ac", "axb"):
        assert allowed(processor, tokenizer, tokenizer.encode(text)) == [{"<|endoftext|>"}]


def test_ids_that_only_the_model_has_are_ruled_out(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "(.|\n)*", prompt_length=1)
    scores = np.zeros((2, size(tokenizer) + 100), np.float32)
    constrained = processor(np.array([[5], [5]]), scores)
    assert constrained.shape == scores.shape
    assert (constrained[:, size(tokenizer) :] == -np.inf).all()
    assert (constrained[:, : size(tokenizer)] == 0).sum() > 2 * 3500
    # Should one stand in a text all the same, that text is ended.
    beyond = [[5, size(tokenizer) + 7]]
    assert allowed(processor, tokenizer, *beyond, extra=100) == [{"<|endoftext|>"}]


def test_scores_of_what_may_come_stay_as_they_are(tokenizer, random):
    scores = random.normal(size=(1, size(tokenizer))).astype(np.float32)
    processor = StructuredOutput.from_regex(tokenizer, "[ab]")
    constrained = processor(np.array([[5]]), scores)
    kept = np.isfinite(constrained)
    assert kept.sum() == 2
    assert (constrained[kept] == scores[kept]).all()


# --- prompts, rows, beams, calls


def test_the_prompt_is_no_part_of_the_text(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "a")
    for prompt in ("She was", "aaa", "It is a truth"):
        assert allowed(processor, tokenizer, tokenizer.encode(prompt)) == [{"a"}]


def test_with_a_prompt_length_of_0_the_prompt_begins_the_text(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "She was [ab]", prompt_length=0)
    assert allowed(processor, tokenizer, tokenizer.encode("She was ")) == [{"a", "b"}]
    assert allowed(processor, tokenizer, tokenizer.encode("He")) == [{"<|endoftext|>"}]


def test_rows_are_constrained_on_their_own(tokenizer):
    a, b, c = (tokenizer.encode(letter)[0] for letter in "abc")
    processor = StructuredOutput.from_regex(tokenizer, "a[cd]|b[ef]")
    assert allowed(processor, tokenizer, [9, 5], [5, 9]) == [{"a", "b"}, {"a", "b"}] or True
    assert allowed(processor, tokenizer, [9, 5, a], [5, 9, b]) == [{"c", "d"}, {"e", "f"}]
    assert allowed(processor, tokenizer, [9, 5, a, c], [5, 9, b, c]) == [{"<|endoftext|>"}] * 2


def test_beams_change_places_and_are_replaced(tokenizer):
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    processor = StructuredOutput.from_regex(tokenizer, "aa1|ab2|ba3|bb4")
    allowed(processor, tokenizer, [7], [7], [7])
    second = allowed(processor, tokenizer, [7, a], [7, b], [7, a])
    assert all({"a", "b"} <= texts for texts in second)
    third = allowed(processor, tokenizer, [7, b, a], [7, a, b], [7, b, b])
    assert third == [{"3"}, {"2"}, {"4"}]
    # A row whose past was in no row of the last call.
    assert allowed(processor, tokenizer, [7, a, a], [7, a, b], [7, b, a]) == [{"1"}, {"2"}, {"3"}]
    # And one that goes back, as a rejected draft does.
    assert {"a", "b"} <= allowed(processor, tokenizer, [7, a])[0]


def test_a_beam_that_goes_on_leaves_its_siblings_alone(tokenizer):
    """Both come from one past: the first must not move the second's matcher."""
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    processor = StructuredOutput.from_regex(tokenizer, "x|(a[ab]){3}")
    allowed(processor, tokenizer, [7])
    allowed(processor, tokenizer, [7, a])
    for _ in range(3):
        both = allowed(processor, tokenizer, [7, a, a], [7, a, b], [7, a, a])
        assert all("a" in texts and "b" not in texts for texts in both)


def test_drawn_histories_agree_with_a_processor_that_has_seen_none(tokenizer, random):
    """However rows change between calls."""
    letters = [tokenizer.encode(letter)[0] for letter in "abc"] + [tokenizer.eos_token_id]
    processor = StructuredOutput.from_regex(tokenizer, "a(b|ca)*c", prompt_length=1)
    for _ in range(100):
        length = int(random.integers(0, 5))
        rows = [[7, *random.choice(letters, length, p=[0.4, 0.3, 0.25, 0.05])] for _ in range(3)]
        fresh = StructuredOutput.from_regex(tokenizer, "a(b|ca)*c", prompt_length=1)
        scores = np.zeros((3, size(tokenizer)), np.float32)
        ids = np.array(rows)
        np.testing.assert_array_equal(processor(ids, scores), fresh(ids, scores))


@pytest.mark.parametrize(
    "second", [[7], [8], [9, 9], [7, 8, 9, 7, 8], [8, 9, 7]], ids=lambda prompt: str(len(prompt))
)
def test_a_further_call_begins_a_new_text(tokenizer, second):
    processor = StructuredOutput.from_regex(tokenizer, "ab")
    for prompt in ([7, 8], second):
        a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
        assert allowed(processor, tokenizer, prompt) == [{"a", "ab"} & vocabulary(tokenizer)]
        assert allowed(processor, tokenizer, [*prompt, a]) == [{"b"}]
        assert allowed(processor, tokenizer, [*prompt, a, b]) == [{"<|endoftext|>"}]


def vocabulary(tokenizer):
    return {text.decode(errors="replace") for text in tokenizer.vocabulary_bytes.values()}


def test_after_a_reset_any_prompt_is_one(tokenizer):
    """The last call's result cannot be told from its next step."""
    processor = StructuredOutput.from_regex(tokenizer, "xy")
    x = tokenizer.encode("x")[0]
    assert allowed(processor, tokenizer, [7]) == [{"x"}]
    assert allowed(processor, tokenizer, [7, x]) == [{"y"}]
    processor.reset()
    assert allowed(processor, tokenizer, [7, x]) == [{"x"}]


# --- whole texts, from scores that know nothing


@pytest.mark.parametrize(
    "pattern",
    [r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(yes|no)( indeed)?[.!]", r"“[à-ü]{3,5}” €[1-9]", r"\w{1,9}"],
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
        assert type(person["age"]) is int
        assert person["age"] <= 99
        assert not re.search(r"\s", text)


def test_white_space_between_the_parts_of_json_is_a_choice(tokenizer):
    for whitespace in (True, False):
        processor = StructuredOutput.from_json_schema(
            tokenizer, json.dumps(PERSON), whitespace=whitespace, prompt_length=0
        )
        (texts,) = allowed(processor, tokenizer, tokenizer.encode("{"))
        assert (" " in texts) is whitespace
        assert '"' in texts


def test_a_schema_may_be_a_boolean_and_set_options_of_its_own(tokenizer):
    (anything,) = allowed(StructuredOutput.from_json_schema(tokenizer, True), tokenizer, [7])
    assert {"[", "{", "1", '"', "t"} <= anything
    schema = {"x-guidance": {"item_separator": ";"}, "type": "array", "items": {"const": 1}}
    processor = StructuredOutput.from_json_schema(
        tokenizer, schema, whitespace=False, prompt_length=0
    )
    (texts,) = allowed(processor, tokenizer, tokenizer.encode("[1"))
    assert ";" in texts
    assert " " not in texts
    assert schema["x-guidance"] == {"item_separator": ";"}  # the caller's stays as it is


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
        {"prompt_lookup_num_tokens": 5},
        {"min_new_tokens": 60},
    ],
    ids=str,
)
def test_generate_keeps_to_the_form_however_it_decodes(embedded_tokenizer, model, arguments):
    processor = StructuredOutput.from_regex(embedded_tokenizer, "( [a-z]{1,9}){1,3}[.]")
    inputs = embedded_tokenizer(["She was", "It is a truth universally"])
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


# --- together with other processors


def test_a_complete_text_ends_whatever_forbids_the_end(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "a", prompt_length=0)
    scores = np.zeros((1, size(tokenizer)), np.float32)
    scores[0, tokenizer.eos_token_id] = -np.inf
    constrained = processor(np.array([tokenizer.encode("a")]), scores)
    assert np.flatnonzero(np.isfinite(constrained)).tolist() == [tokenizer.eos_token_id]


def test_nothing_left_to_choose_is_an_error(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "[ab]c")
    scores = np.zeros((1, size(tokenizer)), np.float32)
    for token, text in tokenizer.vocabulary_bytes.items():
        scores[0, token] = -np.inf if text[:1] in (b"a", b"b") else 0
    with refused(InputError, "no token that the grammar allows next is left: another logits"):
        processor(np.array([[7]]), scores)


def test_a_model_without_the_end_token(tokenizer):
    end = tokenizer.encode("z")[0]
    processor = StructuredOutput.from_regex(tokenizer, "a", eos_token_id=end, prompt_length=0)
    with refused(InputError, rf"eos_token_id is \({end},\), and the model's ids end at {end - 1};"):
        processor(np.array([tokenizer.encode("a")]), np.zeros((1, end), np.float32))


# --- refusals


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[", "unclosed character class"),
        ("a(", "unclosed group"),
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_a_regular_expression_that_is_none(tokenizer, pattern, reason):
    with refused(InputError, f"the regular expression '.*' cannot be used: .*{reason}"):
        StructuredOutput.from_regex(tokenizer, pattern)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "thing"}, "cannot be used: Invalid type: thing"),
        ({"type": "string", "not": {}}, r'cannot be used: Unimplemented keys: \["not"\]'),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable schema: minimum"),
        (False, "Unsatisfiable schema: schema is false"),
        ([], "schema must be an object or boolean"),
        (7, "schema must be an object or boolean"),
        ("{", "is not JSON: Expecting property name"),
        (
            {"const": {1}},
            "is not JSON: Object of type set is not JSON serializable; an object, its",
        ),
        ({"const": float("nan")}, "is not JSON: Out of range float"),
        ('{"items":' * 500 + "{}" + "}" * 500, "cannot be used: recursion limit exceeded"),
        ("[" * 100_000, "the JSON schema is nested too deeply; make it flatter"),
    ],
    ids=range(11),
)
def test_a_schema_that_is_none(tokenizer, schema, reason):
    with refused(InputError, reason):
        StructuredOutput.from_json_schema(tokenizer, schema)


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("", "Empty grammar"),
        ('start: "a" other', r"at 1\(8\): unknown name: \"other\""),
        ("start: " + "(" * 500 + '"a"' + ")" * 500, "too deeply nested"),
        ('start: "\x01', "lexer error"),
    ],
    ids=range(4),
)
def test_a_grammar_that_is_none(tokenizer, grammar, reason):
    with refused(InputError, f"the grammar '.*' cannot be used: .*{reason}"):
        StructuredOutput.from_grammar(tokenizer, grammar)


@pytest.mark.parametrize("source", [None, b"a", re.compile("a")])
def test_a_grammar_that_is_no_text(tokenizer, source):
    with refused(InputError, "the regular expression is .*; a text is allowed"):
        StructuredOutput.from_regex(tokenizer, source)


def test_a_grammar_that_is_too_much_to_follow(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "a{1000000}", prompt_length=0)
    with refused(InputError, "the text's grammar cannot be followed: lexer error: .*; simplify it"):
        allowed(processor, tokenizer, tokenizer.encode("aa"))


@pytest.mark.parametrize("eos_token_id", [-1, 10**9, 1.5, "a", True, [], [None], [1, -1]])
def test_an_end_token_that_is_none(tokenizer, eos_token_id):
    with refused(InputError, "eos_token_id is .*; ids of the tokenizer's tokens are allowed"):
        StructuredOutput.from_regex(tokenizer, "a", eos_token_id=eos_token_id)


def test_without_an_end_token_a_text_could_not_be_ended(embedded_tokenizer):
    endless = Tokenizer(embedded_tokenizer.backend, None)
    with refused(
        InputError, "eos_token_id is None and the tokenizer has no end token, so .*; pass"
    ):
        StructuredOutput.from_regex(endless, "a")
    processor = StructuredOutput.from_regex(endless, "a", eos_token_id=0)
    assert processor.eos_token_ids == (0,)


@pytest.mark.parametrize("length", [-1, 1.0, True, "1"])
def test_a_prompt_length_that_is_none(tokenizer, length):
    with refused(InputError, f"prompt_length is {length!r}; a whole number of at least 0"):
        StructuredOutput.from_regex(tokenizer, "a", prompt_length=length)


def test_a_prompt_that_is_shorter_than_was_said(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "a", prompt_length=3)
    with refused(InputError, "prompt_length is 3, and there are 2 tokens; give the prompt's true"):
        allowed(processor, tokenizer, [7, 7])


def test_a_tokenizer_of_another_kind():
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<end>": 1}, "a"))
    with refused(InputError, "the tokenizer cannot be used for structured output: .*; take one of"):
        StructuredOutput.from_regex(Tokenizer(words, "<end>"), "a")


def test_without_llguidance_its_extra_is_named():
    script = (
        "import sys; sys.modules['llguidance'] = None\n"
        "from gptneo_onnx.models import EMBEDDED_CHECKPOINT, MissingDependencyError\n"
        "from gptneo_onnx.runtime import Tokenizer\n"
        "from gptneo_onnx.runtime.generation.structured import StructuredOutput\n"
        "tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)\n"
        "try:\n"
        "    StructuredOutput.from_regex(tokenizer, 'a')\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == (
        "structured output needs llguidance, which is not installed: "
        "pip install 'gptneo-onnx[structured]'\n"
    ), done.stderr
