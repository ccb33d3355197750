"""Stopping criteria: one verdict for each row."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from refusals import refused

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.generation.stopping_criteria import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)

GPT2 = Path(__file__).parent.parent.parent / "gpt2_tokenizer"
IDS = np.array([[5, 1, 2], [5, 2, 1], [1, 1, 3]])
SCORES = np.zeros((3, 8), np.float32)


@pytest.fixture(scope="module", params=[EMBEDDED_CHECKPOINT, GPT2], ids=["embedded", "gpt2"])
def tokenizer(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(request.param, directory)
    return Tokenizer.from_pretrained(directory)


def verdict(tokenizer, tokens, *stop_strings):
    """Tell whether a row of tokens, each given by its bytes, is stopped."""
    ids_of = {text: token for token, text in tokenizer.vocabulary_bytes.items()}
    ids = np.array([[ids_of[token] for token in tokens]])
    (stopped,) = StopStringCriteria(tokenizer, stop_strings)(ids, SCORES)
    return bool(stopped)


# --- lengths, times, end tokens


@pytest.mark.parametrize(("max_length", "expected"), [(2, True), (3, True), (4, False)])
def test_max_length_counts_all_columns(max_length, expected):
    assert MaxLengthCriteria(max_length)(IDS, SCORES).tolist() == [expected] * 3


def test_max_time_is_over_when_more_has_passed():
    now = time.time()
    assert MaxTimeCriteria(60)(IDS, SCORES).tolist() == [False] * 3
    assert MaxTimeCriteria(60, initial_timestamp=now - 61)(IDS, SCORES).tolist() == [True] * 3
    assert MaxTimeCriteria(60, now - 30)(IDS, SCORES).tolist() == [False] * 3
    assert MaxTimeCriteria(0, now - 1)(IDS, SCORES).tolist() == [True] * 3


def test_max_time_runs_from_when_the_criterion_was_made(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    criterion = MaxTimeCriteria(1.5)
    monkeypatch.setattr(time, "time", lambda: 1001.5)
    assert not criterion(IDS, SCORES).any()
    monkeypatch.setattr(time, "time", lambda: 1001.6)
    assert criterion(IDS, SCORES).all()


@pytest.mark.parametrize(
    ("eos_token_id", "expected"),
    [
        (1, [False, True, False]),
        (5, [False, False, False]),
        ([1, 3], [False, True, True]),
        (np.array([2]), [True, False, False]),
    ],
)
def test_an_end_token_counts_where_it_is_the_last(eos_token_id, expected):
    assert EosTokenCriteria(eos_token_id)(IDS, SCORES).tolist() == expected


# --- lists


def test_any_criterion_of_a_list_stops_a_row():
    criteria = StoppingCriteriaList([EosTokenCriteria(1), EosTokenCriteria(3)])
    assert criteria(IDS, SCORES).tolist() == [False, True, True]
    assert StoppingCriteriaList()(IDS, SCORES).tolist() == [False] * 3


def test_a_criterion_may_return_one_bool_for_all_rows():
    ends = EosTokenCriteria(1)
    never, always = (lambda ids, scores: False), (lambda ids, scores: True)
    assert StoppingCriteriaList([ends, never])(IDS, SCORES).tolist() == [False, True, False]
    assert StoppingCriteriaList([ends, always])(IDS, SCORES).tolist() == [True] * 3


def test_criteria_see_the_scores():
    def confident(ids, scores):
        return scores.max(-1) > 2

    scores = np.array([[1, 0], [3, 0], [0, 2.5]], np.float32)
    assert StoppingCriteriaList([confident])(IDS, scores).tolist() == [False, True, True]


def test_a_list_knows_its_length_limit():
    assert StoppingCriteriaList([EosTokenCriteria(1), MaxLengthCriteria(9)]).max_length == 9
    assert StoppingCriteriaList([EosTokenCriteria(1)]).max_length is None


# --- stop strings


@pytest.mark.parametrize(
    "tokens",
    [
        [b"st", b"op"],
        [b"s", b"t", b"o", b"p"],
        [b"st", b"opp"],
        [b"st", b"o", b"perhaps"],
        [b"almost", b"op"],
        [b"st", b"op", b"st", b"op"],
    ],
)
def test_a_stop_string_ends_in_the_last_token(tokenizer, tokens):
    assert verdict(tokenizer, tokens, "stop")


@pytest.mark.parametrize(
    "tokens",
    [
        [b"st", b"op", b"at"],
        [b"st", b"o"],
        [b"op"],
        [b"op", b"st"],
        [b"st", b" o", b"p"],
        [b"S", b"t", b"op"],
    ],
)
def test_no_stop_string_ends_in_the_last_token(tokenizer, tokens):
    assert not verdict(tokenizer, tokens, "stop")


def test_the_stop_string_may_lie_within_one_token(tokenizer):
    assert verdict(tokenizer, [b" never"], "eve")
    assert verdict(tokenizer, [b" never"], "r")
    assert not verdict(tokenizer, [b" never"], "x")


def test_a_repetition_may_begin_in_the_stop_string_itself(tokenizer):
    """'aab' ends with the text, though the first of three a is not part of it."""
    assert verdict(tokenizer, [b"a", b"a", b"a", b"b"], "aab")
    assert not verdict(tokenizer, [b"a", b"b", b"a", b"b"], "aab")


def test_any_of_several_stop_strings_will_do(tokenizer):
    assert verdict(tokenizer, [b"st", b"op"], "longer than all the text", "p")
    assert not verdict(tokenizer, [b"st", b"op"], "x", "st")


def test_rows_are_judged_independently(tokenizer):
    ids = np.array([tokenizer.encode(text)[-2:] for text in ("a b.", "a b c", "c d.")])
    assert StopStringCriteria(tokenizer, ".")(ids, SCORES).tolist() == [True, False, True]


def test_characters_that_tokens_cut_are_found(tokenizer):
    euro = [bytes([value]) for value in "€".encode()]
    assert len(euro) == 3
    assert not verdict(tokenizer, euro[:2], "€")
    assert verdict(tokenizer, euro, "€")
    assert verdict(tokenizer, [*euro, b"\n"], "€\n")
    assert not verdict(tokenizer, [*euro, b"\n"], "€")


@pytest.mark.parametrize("byte", [b"\x82", b"\xe2"])
def test_a_stop_string_may_begin_and_end_within_tokens_of_characters(byte):
    """A token may end in half a character: 'b' ends before such bytes."""

    pieces = {0: "aé".encode() + b"\xe2", 1: b"\x82\xac" + b"b" + byte}
    criterion = StopStringCriteria(SimpleNamespace(vocabulary_bytes=pieces), "é€b")
    assert criterion(np.array([[0, 1]]), SCORES).tolist() == [True]
    assert criterion(np.array([[1, 1]]), SCORES).tolist() == [False]


def test_special_tokens_count_with_their_text(tokenizer):
    ids = np.array([tokenizer.encode("a<|endoftext|>")])
    assert ids.shape == (1, 2)
    assert StopStringCriteria(tokenizer, "a<|end")(ids, SCORES).tolist() == [True]


def test_an_id_beyond_the_vocabulary_is_no_text(tokenizer):
    """A model may have more ids than its tokenizer."""
    s, top = tokenizer.encode("s")[0], tokenizer.encode("top")
    criterion = StopStringCriteria(tokenizer, "stop")
    assert criterion(np.array([[s, *top]]), SCORES).tolist() == [True]
    assert criterion(np.array([[s, 60000, *top]]), SCORES).tolist() == [False]
    assert criterion(np.array([[s, *top, 60000]]), SCORES).tolist() == [False]


def test_no_tokens_are_no_stop(tokenizer):
    ids = np.zeros((2, 0), np.int64)
    assert StopStringCriteria(tokenizer, "a")(ids, SCORES).tolist() == [False, False]


def test_drawn_tokens_agree_with_a_search_of_the_whole_text(tokenizer, random):
    """A row stops if the string occurs in its text and ends within the last token."""
    corpus = tokenizer.encode("She was stopped; she stops, stop—“stop” she said. € 5 €€ " * 3)
    found = 0
    for _ in range(2000):
        ids = random.choice(corpus, random.integers(1, 12)).tolist()
        pieces = [tokenizer.token_bytes(token) for token in ids]
        text, before = b"".join(pieces), b"".join(pieces[:-1])
        at = int(random.integers(0, len(text)))
        drawn = text[at : at + int(random.integers(1, 8))].decode(errors="ignore") or "stop"
        expected = any(
            text.startswith(drawn.encode(), start) and start + len(drawn.encode()) > len(before)
            for start in range(len(text))
        )
        found += expected
        stopped = StopStringCriteria(tokenizer, drawn)(np.array([ids]), SCORES)
        assert stopped.tolist() == [expected], (pieces, drawn)
    assert 200 < found < 1800


def test_a_step_looks_at_no_more_tokens_than_the_stop_string_has_bytes():
    looked_up = []

    class Watched(dict):
        def get(self, token, default=None):
            looked_up.append(token)
            return super().get(token, default)

        def __getitem__(self, token):
            looked_up.append(token)
            return super().__getitem__(token)

    pieces = Watched({0: b"a", 1: b"bb"})
    criterion = StopStringCriteria(SimpleNamespace(vocabulary_bytes=pieces), ["aaaa", "x"])
    assert criterion(np.zeros((1, 100_000), np.int64), SCORES).tolist() == [True]
    assert looked_up == [0, 0, 0, 0]
    looked_up.clear()
    assert criterion(np.ones((1, 100_000), np.int64), SCORES).tolist() == [False]
    assert looked_up == [1, 1, 1]


# --- refusals


@pytest.mark.parametrize("max_length", [0, -1, 1.5, True, None, "9"])
def test_an_invalid_max_length(max_length):
    with refused(InputError, f"max_length is {max_length!r}; a whole number of at least 1"):
        MaxLengthCriteria(max_length)


@pytest.mark.parametrize("max_time", ["1", None, True])
def test_an_invalid_max_time(max_time):
    with refused(InputError, f"max_time is {max_time!r}; a number of seconds is allowed"):
        MaxTimeCriteria(max_time)


@pytest.mark.parametrize("timestamp", [float("inf"), "now"])
def test_an_invalid_initial_timestamp(timestamp):
    with refused(InputError, f"initial_timestamp is {timestamp!r}; seconds as time.time"):
        MaxTimeCriteria(1, timestamp)


@pytest.mark.parametrize("eos_token_id", [[], -1, 1.0, None, "1", [1, None], [[1]], True])
def test_invalid_end_tokens(eos_token_id):
    with refused(InputError, "eos_token_id is .*; a token id or a list of them is allowed"):
        EosTokenCriteria(eos_token_id)


@pytest.mark.parametrize("stop_strings", [[], None, 5, {"a"}, b"a"])
def test_stop_strings_that_are_no_texts(tokenizer, stop_strings):
    with refused(InputError, "stop_strings is .*; a text or a list of texts is allowed"):
        StopStringCriteria(tokenizer, stop_strings)


@pytest.mark.parametrize("stop_string", ["", None, b"a", 5])
def test_an_invalid_stop_string(tokenizer, stop_string):
    with refused(InputError, f"a stop string is {stop_string!r}; a text of at least one character"):
        StopStringCriteria(tokenizer, ["a", stop_string])


def test_a_stop_string_with_half_a_surrogate_pair(tokenizer):
    with refused(InputError, r"the stop string .*ud800.* cannot be encoded as UTF-8; leave lone"):
        StopStringCriteria(tokenizer, "a\ud800")
