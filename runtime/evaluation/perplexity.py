"""Perplexity of texts, by two definitions that are not to be mixed up.

- rolling: as lm-evaluation-harness (EleutherAI) does it. Every document by itself, behind an end
  token; word and byte perplexity weigh by the words and bytes of the document as it was.
- card: as GPT-Neo's training code did it, whose figures are in the model card (before the harness
  had such tasks). All documents in one stream, cut into chunks; the mean over batches of
  exp(mean token loss).
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.runtime.documents import Document, counted
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.evaluation import wikitext
from gptneo_onnx.runtime.evaluation.journal import Journal, WindowScore
from gptneo_onnx.runtime.evaluation.scoring import SLOTS, WINDOWS_READ_AHEAD, score
from gptneo_onnx.runtime.evaluation.windows import Ids, Window, chunks, rolling_windows
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

PROTOCOLS = ("rolling", "card")
DETOKENIZERS = ("wikitext",)


@dataclass(frozen=True)
class Perplexity:
    """What was measured.

    Attributes:
        protocol: one of PROTOCOLS.
        documents, tokens, words, bytes: what was scored; words and bytes of the documents as given.
        log_likelihood: of all tokens, a natural logarithm.
        token_perplexity: with card the mean over batches, else exp of the mean token loss.
        standard_error: of the token perplexity, taking windows for independent of each other.
        accuracy: share of tokens that were the likeliest.
        tokens_per_byte: with card, by which bits per byte are reckoned: what is left over of the
            stream is not scored.
    """

    protocol: str
    documents: int
    tokens: int
    words: int
    bytes: int
    log_likelihood: float
    token_perplexity: float
    standard_error: float
    accuracy: float
    tokens_per_byte: float | None = None

    @property
    def word_perplexity(self) -> float:
        return exp_of(-self.log_likelihood / self.words)

    @property
    def byte_perplexity(self) -> float:
        return exp_of(-self.log_likelihood / self.bytes)

    @property
    def bits_per_byte(self) -> float:
        bits = -self.log_likelihood / math.log(2)
        if self.tokens_per_byte is None:
            return bits / self.bytes
        return bits / self.tokens * self.tokens_per_byte

    def as_dict(self) -> dict[str, Any]:
        """All of it by name, for JSON: None stands for what is no finite number, or not card's."""
        values = {**vars(self), "bits_per_byte": self.bits_per_byte}
        for name in ("word_perplexity", "byte_perplexity"):
            values[name] = getattr(self, name) if self.protocol == "rolling" else None
        return {
            name: finite(value) if isinstance(value, float) else value
            for name, value in values.items()
        }


def perplexity(
    model: GPTNeoForCausalLM | Engine,
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    *,
    protocol: str = "rolling",
    stride: int | None = None,
    detokenize: str | None = None,
    batch_size: int = 1,
    tokens_per_byte: float | None = None,
    journal: Journal | None = None,
    progress: bool = False,
) -> Perplexity:
    """Measure the perplexity of documents.

    Args:
        model, tokenizer: of one export; an Engine will do for the model.
        documents: what to read.
        protocol: "rolling" or "card", see above.
        stride: with rolling, the tokens that a window scores; the context by default. Fewer give
            each token more context, and take longer.
        detokenize: "wikitext" turns Wikitext's tokens into text for the model, as the harness does.
        batch_size: with card, the chunks of a batch.
        tokens_per_byte: with card, that of the corpus, by which bits per byte are reckoned: 0.29335
            for the Pile's figure. By default that of the documents.
        journal: remembers windows, so that an interrupted measurement goes on.
        progress: draw a progress bar on standard error, if that is a terminal.

    Raises:
        InputError: an argument out of range, or nothing to score.
        ModelFileError: the tokenizer does not belong to the model, or that computes no finite
            numbers.
        MissingDependencyError: card without ftfy (extra `eval`).
    """
    engine = Engine.of(model)
    _check(engine, tokenizer, protocol, stride, detokenize, batch_size)
    if tokens_per_byte is not None and not (protocol == "card" and 0 < tokens_per_byte < math.inf):
        raise InputError(
            f"tokens_per_byte is {tokens_per_byte}; with protocol card a number above 0 is allowed"
        )
    counts = _Counts()
    context = engine.config.max_position_embeddings
    if protocol == "card":
        windows = chunks(_stream(tokenizer, counts, documents), context)
    else:
        windows = _rolling(tokenizer, counts, documents, context, stride, detokenize)
    found = list(_scores(engine, windows, journal or Journal(), progress))
    tokens = sum(each.tokens for each in found)
    if not tokens:
        raise InputError(
            f"there is nothing to score in {counted(counts.documents)}: protocol card needs more "
            f"than {context} tokens"
            if protocol == "card"
            else f"there is nothing to score in {counted(counts.documents)}: all are empty"
        )
    value, error = _of_batches(found, batch_size) if protocol == "card" else _of_tokens(found)
    return Perplexity(
        protocol,
        counts.documents,
        tokens,
        counts.words,
        counts.bytes,
        sum(each.log_likelihood for each in found),
        value,
        error,
        sum(each.greedy for each in found) / tokens,
        _tokens_per_byte(counts, tokens_per_byte) if protocol == "card" else None,
    )


@dataclass
class _Counts:
    documents: int = 0
    words: int = 0
    bytes: int = 0
    tokens: int = 0

    def of(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents, counted on their way as lm_eval's wikitext task counts them."""
        for document in documents:
            self.documents += 1
            self.words += len(re.split(r"\s+", document.text))
            self.bytes += len(document.text.encode())
            yield document


def _check(
    engine: Engine,
    tokenizer: Tokenizer,
    protocol: str,
    stride: int | None,
    detokenize: str | None,
    batch_size: int,
) -> None:
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}; {' or '.join(PROTOCOLS)} is allowed")
    if detokenize not in (None, *DETOKENIZERS):
        raise InputError(f"detokenize is {detokenize!r}; {', '.join(DETOKENIZERS)} is allowed")
    if protocol == "card" and (stride is not None or detokenize is not None):
        raise InputError("protocol card takes texts as they are, in chunks: leave out the others")
    if batch_size < 1 or (batch_size > 1 and protocol != "card"):
        raise InputError(f"batch_size is {batch_size}; 1 is allowed, and more with protocol card")
    check_tokenizer(engine, tokenizer)


def check_tokenizer(engine: Engine, tokenizer: Tokenizer) -> None:
    """Raise ModelFileError unless the tokenizer's ids are the model's."""
    size, vocabulary = tokenizer.backend.get_vocab_size(), engine.config.vocab_size
    if size > vocabulary:
        raise ModelFileError(
            f"the tokenizer has {size} tokens, the model {vocabulary}: it belongs to another "
            "model; use the one that the model was trained with"
        )
    if tokenizer.eos_token_id is None:
        raise ModelFileError(
            "the tokenizer names no end token, behind which texts begin; add eos_token to its "
            "tokenizer_config.json"
        )


def _stream(tokenizer: Tokenizer, counts: _Counts, documents: Iterable[Document]) -> Iterator[int]:
    """All ids, an end token before each document's."""
    fixed, end = _fixer(), tokenizer.eos_token_id
    assert end is not None  # check_tokenizer
    for document in counts.of(documents):
        ids = tokenizer.encode(fixed(document.text))
        counts.tokens += len(ids)
        yield end
        yield from ids


def _tokens_per_byte(counts: _Counts, given: float | None) -> float:
    return counts.tokens / counts.bytes if given is None else given


def _rolling(
    tokenizer: Tokenizer,
    counts: _Counts,
    documents: Iterable[Document],
    context: int,
    stride: int | None,
    detokenize: str | None,
) -> Iterator[Window]:
    end = tokenizer.eos_token_id
    assert end is not None  # check_tokenizer
    for document in counts.of(documents):
        text = wikitext.detokenized(document.text) if detokenize else document.text
        ids: Ids = np.array(tokenizer.encode(text), np.int64)
        yield from rolling_windows(ids, end, context, stride)


def _fixer() -> Any:
    try:
        import ftfy
    except ImportError as error:
        raise MissingDependencyError(
            "protocol card normalizes texts by ftfy, as the training code did: "
            "pip install 'gptneo-onnx[eval]'"
        ) from error
    return lambda text: ftfy.fix_text(text, normalization="NFKC")


def _scores(
    engine: Engine, windows: Iterator[Window], journal: Journal, progress: bool
) -> Iterator[WindowScore]:
    """Of each window, in their order; those that the journal knows are not scored again."""
    from tqdm import tqdm

    with (
        engine.exclusive(),
        tqdm(unit=" tokens", disable=None if progress else True, unit_scale=True) as bar,
    ):
        decoder = engine.decoder(SLOTS)
        for number, waiting in enumerate(in_groups(windows, WINDOWS_READ_AHEAD)):
            first = number * WINDOWS_READ_AHEAD
            new = [i for i in range(len(waiting)) if first + i not in journal.scores]
            for index, scored in score(decoder, [waiting[i] for i in new]):
                journal.add(first + new[index], WindowScore.of(scored))
                bar.update(len(scored.is_greedy))
            yield from (journal.scores[first + i] for i in range(len(waiting)))


def _of_tokens(found: list[WindowScore]) -> tuple[float, float]:
    """exp(mean loss) and its standard error: the delta method on a ratio of sums over windows."""
    losses = np.array([-each.log_likelihood for each in found])
    tokens = np.array([each.tokens for each in found])
    mean = losses.sum() / tokens.sum()
    value = exp_of(mean)
    if len(found) < 2:
        return value, math.nan
    residuals = losses - mean * tokens
    variance = (residuals**2).sum() * len(found) / (len(found) - 1)
    return value, value * math.sqrt(variance) / float(tokens.sum())


def _of_batches(found: list[WindowScore], batch_size: int) -> tuple[float, float]:
    """The mean over whole batches of exp(mean loss), and its standard error."""
    starts = range(0, len(found) - batch_size + 1, batch_size)
    batches = [found[start : start + batch_size] for start in starts]
    if not batches:
        raise InputError(f"batch_size is {batch_size}, and there are {len(found)} chunks")
    values = [
        exp_of(-sum(each.log_likelihood for each in batch) / sum(each.tokens for each in batch))
        for batch in batches
    ]
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


def exp_of(value: float) -> float:
    """exp, and infinity where a float cannot hold it."""
    return math.exp(value) if value < 700 else math.inf


def finite(value: float) -> float | None:
    """What JSON has for a number: nothing for infinity, and for none."""
    return value if math.isfinite(value) else None
