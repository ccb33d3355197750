"""Stopping criteria against transformers' classes of those names."""

from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.generation import stopping_criteria

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
TEXT = (
    "She stopped; “stop,” said Anne, “stop the coach.” The stopping of it took 5 minutes.\n\n"
    "Stop!—stop! They stopped at last. \tÀ bientôt, café, € 5 and \U0001f600.\n"
)
SCORES = np.zeros((1, 4), np.float32)


@pytest.fixture(scope="module", params=[EMBEDDED_CHECKPOINT, GPT2], ids=["embedded", "gpt2"])
def tokenizers(request, tmp_path_factory):
    """Ours and theirs."""
    transformers = pytest.importorskip("transformers")
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(request.param, directory)
    return (
        Tokenizer.from_pretrained(directory),
        transformers.AutoTokenizer.from_pretrained(directory),
    )


def stop_string_criteria(tokenizers, stop_strings):
    """Return a function that gives both verdicts; making theirs takes a second."""
    import torch
    from transformers.generation import stopping_criteria as peers

    ours = stopping_criteria.StopStringCriteria(tokenizers[0], stop_strings)
    theirs = peers.StopStringCriteria(tokenizers[1], stop_strings)

    def verdicts(ids):
        return ours(ids, SCORES).tolist(), theirs(torch.from_numpy(ids), None).tolist()

    return verdicts


def pool(tokenizer, text):
    """Return the tokens of a text, and those of its single letters."""
    letters = [token for letter in text for token in tokenizer.encode(letter)]
    return np.array([*tokenizer.encode(text), *letters])


def drawn_stop_string(random, tokenizer, row):
    """Return part of a row's text, so that both verdicts are common."""
    text = tokenizer.decode(row)
    start = int(random.integers(0, len(text)))
    return text[start : start + int(random.integers(1, 9))]


def test_ascii_stop_strings_in_drawn_rows(tokenizers, random):
    tokenizer, _ = tokenizers
    tokens = pool(tokenizer, TEXT.encode("ascii", "ignore").decode())
    stopped = 0
    for _ in range(10):
        rows = random.choice(tokens, (500, int(random.integers(1, 16))))
        strings = [drawn_stop_string(random, tokenizer, row) for row in rows[:4]]
        ours, theirs = stop_string_criteria(tokenizers, [*strings, "stop", "stopp"])(rows)
        assert ours == theirs, strings
        stopped += sum(ours)
    assert 250 < stopped < 4750


def test_other_stop_strings_that_transformers_finds_are_found(tokenizers, random):
    tokenizer, _ = tokenizers
    ids = np.array(tokenizer.encode(TEXT))
    by_both = by_ours = 0
    for _ in range(5):
        length = int(random.integers(1, 12))
        rows = np.array([ids[at : at + length] for at in random.integers(0, len(ids) - 12, 500)])
        starts = random.integers(0, len(TEXT) - 6, 40)
        drawn = [TEXT[at : at + int(random.integers(1, 6))] for at in starts]
        strings = [string for string in drawn if not string.isascii()]
        # "stop" is added because transformers fails if no token is part of any string.
        ours, theirs = stop_string_criteria(tokenizers, [*strings, "stop"])(rows)
        assert not any(their and not our for our, their in zip(ours, theirs, strict=True)), strings
        by_both, by_ours = by_both + sum(theirs), by_ours + sum(ours)
    assert by_ours > by_both > 0


@pytest.mark.parametrize("stop_string", ["stop", "stopp", ".\n", "\n\n", "<|endoftext|>"])
def test_one_stop_string_at_every_step_of_a_text(tokenizers, stop_string):
    tokenizer, _ = tokenizers
    ids = tokenizer.encode(TEXT + "<|endoftext|>")
    verdicts = stop_string_criteria(tokenizers, stop_string)
    stops = 0
    for length in range(1, len(ids) + 1):
        ours, theirs = verdicts(np.array([ids[:length]]))
        assert ours == theirs
        stops += ours[0]
    assert stops == (TEXT + "<|endoftext|>").count(stop_string) > 0


def test_ids_beyond_the_vocabulary(tokenizers):
    tokenizer, _ = tokenizers
    ids = [*tokenizer.encode("st"), 60000, *tokenizer.encode("op")]
    verdicts = stop_string_criteria(tokenizers, "stop")
    assert verdicts(np.array([ids])) == ([False], [False])
    assert verdicts(np.array([[token for token in ids if token != 60000]])) == ([True], [True])


def test_characters_that_tokens_cut_are_found_only_by_ours(tokenizers):
    """transformers takes a token's part of such a character for the character U+FFFD."""
    tokenizer, peer_tokenizer = tokenizers
    ids = np.array([tokenizer.encode("so \U0001f600")])
    assert ids.shape[1] > 2
    assert peer_tokenizer.decode(ids[0]) == "so \U0001f600"
    assert stop_string_criteria(tokenizers, ["\U0001f600", "stop"])(ids) == ([True], [False])
    assert stop_string_criteria(tokenizers, "\ufffd")(ids) == ([False], [True])
    with pytest.raises(ValueError, match="unable to identify tokens"):
        stop_string_criteria(tokenizers, "\U0001f600")


def test_lengths_and_end_tokens(random):
    import torch
    from transformers.generation import stopping_criteria as peers

    for _ in range(300):
        ids = random.integers(0, 6, (5, int(random.integers(1, 9))))
        ends, length = random.integers(0, 6, 2).tolist(), int(random.integers(1, 9))
        ours = stopping_criteria.StoppingCriteriaList(
            [
                stopping_criteria.MaxLengthCriteria(length),
                stopping_criteria.EosTokenCriteria(ends),
            ]
        )
        theirs = peers.StoppingCriteriaList(
            [peers.MaxLengthCriteria(length), peers.EosTokenCriteria(ends)]
        )
        expected = theirs(torch.from_numpy(ids), None).tolist()
        assert ours(ids, SCORES).tolist() == expected
        assert ours.max_length == theirs.max_length == length


@pytest.mark.parametrize(("seconds_ago", "expected"), [(0, False), (9, False), (11, True)])
def test_times(seconds_ago, expected):
    import time

    import torch
    from transformers.generation import stopping_criteria as peers

    start, ids = time.time() - seconds_ago, np.zeros((2, 3), np.int64)
    theirs = peers.MaxTimeCriteria(10, start)(torch.from_numpy(ids), None)
    ours = stopping_criteria.MaxTimeCriteria(10, start)(ids, SCORES)
    assert ours.tolist() == theirs.tolist() == [expected] * 2
