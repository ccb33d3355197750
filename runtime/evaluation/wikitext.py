"""Wikitext as lm-evaluation-harness's task reads it: split into pages, tokens joined to text again.

As in lm_eval/tasks/wikitext/preprocess_wikitext.py, the model reads the result of detokenized(),
while words and bytes are counted in the original page.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from gptneo_onnx.runtime.documents import Document

# (output of Wikitext's tokenizer, original text), in the harness's order.
_BEFORE_BRACKETS = (
    ("s '", "s'"),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
_AFTER_BRACKETS = (
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
# " = Title = " begins a page; the headings of sections have more equals signs.
_TITLE = re.compile(r"^ = [^=\n](?:[^\n]*[^=\n])? = $", re.MULTILINE)


def detokenized(page: str) -> str:
    """Turn a page of wikitext-2-raw or wikitext-103-raw into running text."""
    for tokenized, text in _BEFORE_BRACKETS:
        page = page.replace(tokenized, text)
    for pattern, text in _BRACKETS:
        page = re.sub(pattern, text, page)
    for tokenized, text in _AFTER_BRACKETS:
        page = page.replace(tokenized, text)
    return page


def pages(text: str) -> list[str]:
    """Split a whole wiki.test.raw into its pages; text before the first title is a page too.

    As in EleutherAI/wikitext_document_level, the line end before a title belongs to no page.
    """
    starts = [match.start() for match in _TITLE.finditer(text)]
    cuts = [0, *starts, len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(cuts)]
    parts = [part.removesuffix("\n") for part in parts[:-1]] + parts[-1:]
    return [part for number, part in enumerate(parts) if number or part.strip()]


def with_pages(documents: Iterable[Document]) -> Iterator[Document]:
    """Split documents into their pages, each a separate document."""
    for document in documents:
        for number, page in enumerate(pages(document.text)):
            yield Document(page, f"{document.source}, page {number}")
