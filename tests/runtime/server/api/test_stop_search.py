"""Stop texts in a text that comes in parts: the parts do not matter."""

import numpy as np
import pytest

from gptneo_onnx.runtime.server.api.stop_search import StopSearch


def searched(parts, stops, **options):
    """Return what is sure after each part, and the stop text that was found."""
    search = StopSearch(stops, **options)
    texts = []
    for part in parts:
        texts.append(search.add(part))
        if search.found is not None:
            return texts, search.found
    return [*texts, search.finish()], None


def test_a_text_without_stop_texts_passes_at_once():
    assert searched(["ab", "c"], []) == (["ab", "c", ""], None)


def test_what_may_begin_a_stop_text_is_held_back():
    assert searched(["one\n", "two"], ["\n\n"]) == (["one", "\ntwo", ""], None)


def test_a_stop_text_over_several_parts_is_cut_off():
    assert searched(["a EN", "D", "OF b"], ["END"]) == (["a ", ""], "END")


def test_a_stop_text_within_a_part_is_cut_off_with_what_follows():
    assert searched(["a END b"], ["END"]) == (["a "], "END")


def test_a_stop_text_may_be_kept():
    assert searched(["a E", "ND b"], ["END"], keeps_stop=True) == (["a ", "END"], "END")


def test_a_beginning_that_repeats_is_found():
    assert searched(["aaa", "ab"], ["aab"]) == (["a", "a"], "aab")


def test_the_stop_text_that_is_complete_first_counts():
    assert searched(["xabcd"], ["bcd", "c"]) == (["xab"], "c")


def test_of_two_that_end_together_the_longer_counts():
    assert searched(["xabc"], ["c", "abc"]) == (["x"], "abc")


def test_the_end_gives_back_what_was_held():
    assert searched(["ab", "cab"], ["abd"]) == (["", "abc", "ab"], None)


def test_what_completes_in_a_part_that_is_not_searched_does_not_count():
    search = StopSearch(["ab"])
    assert search.add("ab", is_searched=False) + search.add("xa") == "abx"
    assert search.add("b") == ""
    assert search.found == "ab"


@pytest.mark.parametrize("keeps_stop", [False, True])
def test_parts_do_not_matter(random: np.random.Generator, keeps_stop: bool) -> None:
    for _ in range(500):
        text = "".join(random.choice([*"abc"], random.integers(0, 30)))
        stops = {
            "".join(random.choice([*"abc"], random.integers(1, 5)))
            for _ in range(random.integers(1, 4))
        }
        cuts = np.sort(random.integers(0, len(text) + 1, random.integers(0, 6)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        ends = [(text.find(stop) + len(stop), -len(stop), stop) for stop in stops if stop in text]
        expected = text
        found = None
        if ends:
            end, _, found = min(ends)
            expected = text[:end] if keeps_stop else text[: end - len(found)]
        texts, stop = searched(parts, [*stops], keeps_stop=keeps_stop)
        assert ("".join(texts), stop) == (expected, found)
