"""Wikitext's pages and tokens, as the harness reads them."""

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
    found = [*with_pages([Document("\n".join(PAGES), "wiki")])]
    assert [document.text for document in found] == PAGES


def plain_pages(text):
    """The loop of EleutherAI/wikitext_document_level, a dataset that is not to be had here."""
    page, found = [], []
    for line in text.split("\n"):
        title = line.replace("= = =", "===").replace("= =", "==").strip()
        if title.startswith("= ") and title.endswith(" ="):
            if "\n".join(page).strip():
                found.append("\n".join(page))
            page = []
        page.append(line)
    return [*found, "\n".join(page)]


@pytest.mark.parametrize("text", ["\n".join(PAGES), "".join(PAGES), " \n" + "\n".join(PAGES * 3)])
def test_pages_are_those_of_the_harnesss_dataset(text):
    assert pages(text) == plain_pages(text)


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
