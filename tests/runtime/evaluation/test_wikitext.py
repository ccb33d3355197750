"""Wikitext's pages and tokens, read as lm-evaluation-harness reads them."""

import json

import pytest

from gptneo_onnx.runtime.documents import Document, read_documents
from gptneo_onnx.runtime.evaluation.wikitext import detokenized, pages, with_pages

PAGES = [
    " = Robert Boulter = \n \n Robert Boulter is an actor . He had a role \n",
    " = Du Fu = \n \n = = Life = = \n \n Du Fu ( Chinese : x ) was a @-@ poet . \n",
]


def test_wikitext_is_cut_into_its_pages():
    assert pages("\n".join(PAGES)) == PAGES
    assert pages("no title") == ["no title"]
    assert pages("before\n" + PAGES[0]) == ["before", PAGES[0]]
    assert pages(" \n" + PAGES[0]) == PAGES[:1]
    documents = with_pages([Document("\n".join(PAGES), "wiki")])
    assert [document.text for document in documents] == PAGES


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("\n".join(PAGES), PAGES),
        ("".join(PAGES), [PAGES[0][:-1], PAGES[1]]),
        (" \n" + "\n".join(PAGES * 3), PAGES * 3),
        (" = A = \n = = B = = \n = C = \n", [" = A = \n = = B = = ", " = C = \n"]),
    ],
)
def test_pages_are_those_of_the_harnesss_dataset(text, cut):
    """A title begins a page, a section does not; the line end before a title is in no page."""
    assert pages(text) == cut


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (PAGES[1], " = Du Fu =\n\n== Life ==\n\nDu Fu (Chinese: x) was a-poet.\n"),
        ('" a quote " , and [ one ]', '"a quote", and [one]'),
        ("1 @,@ 000 @.@ 5 ; it 's ( N ) times N x", "1,000.5; it's (N) times 1 x"),
    ],
)
def test_wikitexts_tokens_are_joined(page, text):
    assert detokenized(page) == text


def test_a_page_keeps_its_own_words(tmp_path):
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"page": page}) + "\n" for page in PAGES))
    assert [document.text for document in read_documents([path], "page")] == PAGES
