"""From documents to windows: encode texts, cut their tokens, and count what was read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gptneo_onnx.models.errors import MissingDependencyError, ModelFileError
from gptneo_onnx.runtime.documents import Document
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.evaluation.windows import Window, chunks, rolling_windows
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass
class TextCounts:
    """What was read so far; words are counted as lm_eval's wikitext task counts them.

    Attributes:
        bytes_to_read: of all documents; None where they are not known before they are read.
    """

    documents: int = 0
    words: int = 0
    bytes: int = 0
    tokens: int = 0
    bytes_to_read: int | None = None

    @classmethod
    def before(cls, documents: Iterable[Document]) -> "TextCounts":
        """Return the counts before any of the documents is read."""
        if not isinstance(documents, Sequence):
            return cls()
        return cls(bytes_to_read=sum(len(document.text.encode()) for document in documents))

    @property
    def expected_tokens(self) -> int | None:
        """About how many tokens all documents have, judged by those that were read."""
        if self.bytes_to_read is None or not self.bytes:
            return None
        return round(self.tokens * self.bytes_to_read / self.bytes)

    def add(self, document: Document) -> None:
        """Count a document; its tokens are added by whoever encodes it."""
        self.documents += 1
        self.words += len(re.split(r"\s+", document.text))
        self.bytes += len(document.text.encode())


@dataclass(frozen=True)
class DocumentWindow:
    """A window, the document that it is from, and the number of its first target there, from 0."""

    window: Window
    source: str
    start: int


def check_tokenizer(engine: Engine, tokenizer: Tokenizer) -> None:
    """Check that a tokenizer's ids are the model's, and that it has an end token.

    Raises:
        ModelFileError: otherwise.
    """
    # Added tokens beyond the model's vocabulary do no harm until a text has them.
    size = tokenizer.backend.get_vocab_size(with_added_tokens=False)
    vocabulary = engine.config.vocab_size
    if size > vocabulary:
        raise ModelFileError(
            f"the tokenizer has {size} tokens, the model {vocabulary}: it belongs to another "
            "model; use the one that the model was trained with"
        )
    if tokenizer.eos_token_id is None:
        raise ModelFileError(
            "the tokenizer names no end token, after which texts begin; add eos_token to its "
            "tokenizer_config.json"
        )


def end_token(tokenizer: Tokenizer) -> int:
    """Return the end token of a tokenizer that check_tokenizer() accepted."""
    end = tokenizer.eos_token_id
    assert end is not None
    return end


def rolling_document_windows(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    counts: TextCounts,
    context: int,
    *,
    stride: int | None = None,
    detokenize: Callable[[str], str] = str,
) -> Iterator[DocumentWindow]:
    """Cut each document by itself into rolling windows, the first after an end token.

    Args:
        tokenizer: that of the model.
        documents: what to read.
        counts: updated as documents are read.
        context, stride: the length and stride of rolling_windows().
        detokenize: turns a document's text into the text that the model reads.

    Raises:
        InputError: the stride is out of range.
    """
    end = end_token(tokenizer)
    for document in documents:
        counts.add(document)
        ids = np.array(tokenizer.encode(detokenize(document.text), False), np.int64)
        counts.tokens += len(ids)
        start = 0
        for window in rolling_windows(ids, end, context, stride):
            yield DocumentWindow(window, document.source, start)
            start += len(window.targets)


def card_windows(
    tokenizer: Tokenizer, documents: Iterable[Document], counts: TextCounts, context: int
) -> Iterator[Window]:
    """Cut all documents as one stream into chunks, as the model card's figures were measured.

    Raises:
        MissingDependencyError: without ftfy (extra `eval`).
    """
    return chunks(_stream(tokenizer, documents, counts), context)


def _stream(
    tokenizer: Tokenizer, documents: Iterable[Document], counts: TextCounts
) -> Iterator[int]:
    """All documents' ids, an end token before each document's."""
    normalize, end = _ftfy_normalization(), end_token(tokenizer)
    for document in documents:
        counts.add(document)
        ids = tokenizer.encode(normalize(document.text), add_special_tokens=False)
        counts.tokens += len(ids)
        yield end
        yield from ids


def _ftfy_normalization() -> Callable[[str], str]:
    try:
        import ftfy
    except ImportError as error:
        raise MissingDependencyError(
            "protocol card normalizes texts by ftfy, as the training code did: "
            "pip install 'gptneo-onnx[eval]'"
        ) from error
    return lambda text: ftfy.fix_text(text, normalization="NFKC")
