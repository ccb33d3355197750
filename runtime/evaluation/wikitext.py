"""Wikitext as lm-evaluation-harness's task takes it: pages, and tokens joined to text again.

lm_eval/tasks/wikitext/preprocess_wikitext.py: the model reads what `detokenized` gives, while words
and bytes are counted in the page as it was.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from gptneo_onnx.runtime.documents import Document

# (what Wikitext's tokenizer made, what it was), in the harness's order.
_BEFORE_BRACKETS = (
    ("s '", "s'"),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
_BEHIND_BRACKETS = (
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)
_BRACKETS = (
    (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
)
# " = Title = " begins a page; sections have more signs.
_TITLE = re.compile(r"^ = [^=\n](?:[^\n]*[^=\n])? = $", re.MULTILINE)


def detokenized(page: str) -> str:
    """A page of wikitext-2-raw or wikitext-103-raw as running text."""
    for tokenized, text in _BEFORE_BRACKETS:
        page = page.replace(tokenized, text)
    for pattern, text in _BRACKETS:
        page = re.sub(pattern, text, page)
    for tokenized, text in _BEHIND_BRACKETS:
        page = page.replace(tokenized, text)
    return page


def pages(text: str) -> list[str]:
    """The pages of a whole wiki.test.raw, and what stands before the first title, if anything.

    As EleutherAI/wikitext_document_level cuts them: the line end before a title is of no page.
    """
    starts = [match.start() for match in _TITLE.finditer(text)]
    cuts = [0, *starts, len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(cuts)]
    parts = [part.removesuffix("\n") for part in parts[:-1]] + parts[-1:]
    return [part for number, part in enumerate(parts) if number or part.strip()]


def with_pages(documents: Iterable[Document]) -> Iterator[Document]:
    """Each page of each document by itself."""
    for document in documents:
        for number, page in enumerate(pages(document.text)):
            yield Document(page, f"{document.source}, page {number}")
