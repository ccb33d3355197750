"""StructuredOutput: which tokens may come next."""

import re
from pathlib import Path

import numpy as np
import pytest
from refusals import refused

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

GPT2 = Path(__file__).parents[3] / "gpt2_tokenizer"


@pytest.fixture(scope="module", params=[EMBEDDED_CHECKPOINT, GPT2], ids=["embedded", "gpt2"])
def tokenizer(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(request.param, directory)
    return Tokenizer.from_pretrained(directory)


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


# --- what may come next


def test_only_tokens_that_keep_to_the_expression(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "[a-c]{2}|was")
    prompt = tokenizer.encode("She was")
    assert {"a", "b", "c", "w"} <= allowed(processor, tokenizer, prompt)[0]
    for text in allowed(processor, tokenizer, prompt)[0]:
        assert re.fullmatch("[abc]{1,2}|w|wa|was", text)


@pytest.mark.parametrize(
    ("text", "is_complete"),
    [("no", True), ("yes", True), ("", False), ("n", False), ("nope", False)],
)
def test_whether_a_text_is_complete(tokenizer, text, is_complete):
    processor = StructuredOutput.from_regex(tokenizer, "no|yes")
    ids = tokenizer.encode(text)
    assert processor.is_complete(ids) is is_complete
    assert processor.is_complete([*ids, tokenizer.eos_token_id]) is is_complete
    assert processor.is_complete(ids) is is_complete  # it keeps nothing


def test_a_text_that_may_end_or_go_on_is_complete(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "[a-z ]*")
    assert processor.is_complete(tokenizer.encode("she was"))


@pytest.mark.parametrize("answer", ["no", "yes"])
def test_a_complete_text_can_only_be_ended(tokenizer, answer):
    processor = StructuredOutput.from_regex(tokenizer, "no|yes")
    prompt = tokenizer.encode("She said")
    assert answer in allowed(processor, tokenizer, prompt)[0]
    (token,) = tokenizer.encode(answer)
    assert allowed(processor, tokenizer, [*prompt, token]) == [{"<|endoftext|>"}]


def test_a_text_that_may_end_or_go_on_can_do_both(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "ab*", prompt_length=1)
    (texts,) = allowed(processor, tokenizer, [5, *tokenizer.encode("a")])
    assert {"<|endoftext|>", "b"} <= texts
    assert all(re.fullmatch("b+", text) for text in texts - {"<|endoftext|>"})


def test_the_end_tokens_can_be_others(tokenizer):
    ends = [tokenizer.encode(".")[0], tokenizer.encode("!")[0]]
    processor = StructuredOutput.from_regex(tokenizer, "a", eos_token_id=ends, prompt_length=0)
    assert allowed(processor, tokenizer, tokenizer.encode("a")) == [{".", "!"}]


def test_after_the_end_only_end_tokens_follow(tokenizer):
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


def test_scores_of_allowed_tokens_do_not_change(tokenizer, random):
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


def test_rows_are_constrained_independently(tokenizer):
    q, z, j = (tokenizer.encode(letter)[0] for letter in "qzj")
    processor = StructuredOutput.from_regex(tokenizer, "q[jx]|z[jk]")
    assert allowed(processor, tokenizer, [9, 5], [5, 9]) == [{"q", "z"}, {"q", "z"}]
    assert allowed(processor, tokenizer, [9, 5, q], [5, 9, z]) == [{"j", "x"}, {"j", "k"}]
    assert allowed(processor, tokenizer, [9, 5, q, j], [5, 9, z, j]) == [{"<|endoftext|>"}] * 2


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
    """Both continue the same text: the first must not advance the second's matcher."""
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    processor = StructuredOutput.from_regex(tokenizer, "x|(a[ab]){3}")
    allowed(processor, tokenizer, [7])
    allowed(processor, tokenizer, [7, a])
    for _ in range(3):
        both = allowed(processor, tokenizer, [7, a, a], [7, a, b], [7, a, a])
        assert all("a" in texts and "b" not in texts for texts in both)


def test_drawn_histories_agree_with_a_new_processor(tokenizer, random):
    """Rows may change in any way between calls."""
    letters = [tokenizer.encode(letter)[0] for letter in "abc"] + [tokenizer.eos_token_id]
    processor = StructuredOutput.from_regex(tokenizer, "a(b|ca)*c", prompt_length=1)
    for _ in range(100):
        length = int(random.integers(0, 5))
        rows = [[7, *random.choice(letters, length, p=[0.4, 0.3, 0.25, 0.05])] for _ in range(3)]
        fresh = StructuredOutput.from_regex(tokenizer, "a(b|ca)*c", prompt_length=1)
        scores = np.zeros((3, size(tokenizer)), np.float32)
        ids = np.array(rows)
        np.testing.assert_array_equal(processor(ids, scores), fresh(ids, scores))


@pytest.mark.parametrize("second", [[7, 8], [8, 7], [9], [8, 7, 9], [7, 8, 9, 7, 8, 9]], ids=str)
def test_a_further_call_begins_a_new_text(tokenizer, second):
    q, j = tokenizer.encode("q")[0], tokenizer.encode("j")[0]
    processor = StructuredOutput.from_regex(tokenizer, "[qz][jk]")
    for prompt in ([7, 8], second):
        assert allowed(processor, tokenizer, prompt) == [{"q", "z"}]
        assert allowed(processor, tokenizer, [*prompt, q]) == [{"j", "k"}]
        assert allowed(processor, tokenizer, [*prompt, q, j]) == [{"<|endoftext|>"}]


def test_after_a_reset_any_prompt_is_one(tokenizer):
    """The last call's whole result looks the same as its next step."""
    q = tokenizer.encode("q")[0]
    processor = StructuredOutput.from_regex(tokenizer, "[qz][jk]")
    assert allowed(processor, tokenizer, [7]) == [{"q", "z"}]
    assert allowed(processor, tokenizer, [7, q]) == [{"j", "k"}]
    processor.reset()
    assert allowed(processor, tokenizer, [7, q]) == [{"q", "z"}]


# --- JSON


def test_white_space_between_the_parts_of_json_is_a_choice(tokenizer):
    for whitespace in (True, False):
        processor = StructuredOutput.from_json_schema(
            tokenizer,
            '{"type": "object", "required": ["name"]}',
            whitespace=whitespace,
            prompt_length=0,
        )
        (texts,) = allowed(processor, tokenizer, tokenizer.encode("{"))
        assert (" " in texts) is whitespace
        assert '"' in texts


def test_a_schema_may_be_a_boolean_and_set_options_itself(tokenizer):
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


def test_a_grammar_that_is_too_much_to_follow(tokenizer):
    a = tokenizer.encode("a")[0]
    processor = StructuredOutput.from_regex(tokenizer, "((a{0,100}){0,100}){0,100}")
    with refused(InputError, "the text's grammar cannot be followed: lexer error: .*; simplify it"):
        for length in range(100):
            allowed(processor, tokenizer, [7, *[a] * length])


@pytest.mark.parametrize("eos_token_id", [-1, 10**9, 1.5, "a", True, [], [None], [1, -1]])
def test_an_invalid_end_token(tokenizer, eos_token_id):
    with refused(InputError, "eos_token_id is .*; ids of the tokenizer's tokens are allowed"):
        StructuredOutput.from_regex(tokenizer, "a", eos_token_id=eos_token_id)


def test_without_an_end_token_a_text_could_not_be_ended(tokenizer):
    endless = Tokenizer(tokenizer.backend, None)
    with refused(
        InputError, "eos_token_id is None and the tokenizer has no end token, so .*; pass"
    ):
        StructuredOutput.from_regex(endless, "a")
    processor = StructuredOutput.from_regex(endless, "a", eos_token_id=5)
    assert processor.eos_token_ids == (5,)


@pytest.mark.parametrize("length", [-1, 1.0, True, "1"])
def test_an_invalid_prompt_length(tokenizer, length):
    with refused(InputError, f"prompt_length is {length!r}; a whole number of at least 0"):
        StructuredOutput.from_regex(tokenizer, "a", prompt_length=length)


def test_a_prompt_that_is_shorter_than_was_said(tokenizer):
    processor = StructuredOutput.from_regex(tokenizer, "a", prompt_length=3)
    with refused(InputError, "prompt_length is 3, and there are 2 tokens; give the prompt's true"):
        allowed(processor, tokenizer, [7, 7])
