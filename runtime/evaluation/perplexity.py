"""Perplexity of texts, by two definitions that give different numbers.

- rolling: lm-evaluation-harness's (EleutherAI). Each document is read by itself, after an end
  token; word and byte perplexity are weighted by the words and bytes of the original document.
- card: that of GPT-Neo's training code, which made the model card's figures before the harness had
  such tasks. All documents form one stream, cut into chunks; the result is the mean over batches of
  exp(mean token loss).
"""

import math
from collections.abc import Iterable, Iterator

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.documents import Document, counted
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.evaluation import wikitext
from gptneo_onnx.runtime.evaluation.document_windows import (
    TextCounts,
    card_windows,
    check_tokenizer,
    rolling_document_windows,
)
from gptneo_onnx.runtime.evaluation.journal import Journal, WindowScore
from gptneo_onnx.runtime.evaluation.perplexity_result import (
    Perplexity,
    batch_perplexity,
    token_perplexity,
)
from gptneo_onnx.runtime.evaluation.scoring import SLOTS, WINDOWS_READ_AHEAD, score
from gptneo_onnx.runtime.evaluation.windows import Window
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

__all__ = ["DETOKENIZERS", "PROTOCOLS", "Perplexity", "perplexity"]

PROTOCOLS = ("rolling", "card")
DETOKENIZERS = ("wikitext",)


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
        model: a loaded model, or its Engine.
        tokenizer: that of the model.
        documents: what to read. Of a list, the progress bar shows how much is left.
        protocol: "rolling" or "card"; see the module's docstring.
        stride: with rolling, the tokens that a window scores; the context by default. A smaller
            stride gives each token more context, and takes longer.
        detokenize: with rolling, "wikitext" turns Wikitext's tokens into text for the model, as the
            harness does.
        batch_size: with card, the chunks of a batch.
        tokens_per_byte: with card, the ratio that bits per byte are computed with, such as the
            Pile's 0.29335 for the card's figure. By default that of the documents.
        journal: keeps the scores of windows, so that an interrupted measurement can resume.
        progress: draw a progress bar on standard error, if that is a terminal.

    Raises:
        InputError: an argument is out of range, or there is nothing to score.
        ModelFileError: the tokenizer does not belong to the model, or the model's logits are not
            finite numbers.
        MissingDependencyError: card without ftfy (extra `eval`).
    """
    engine = Engine.of(model)
    _check_arguments(protocol, stride, detokenize, batch_size, tokens_per_byte)
    check_tokenizer(engine, tokenizer)
    counts = TextCounts.before(documents)
    context = engine.config.max_position_embeddings
    if protocol == "card":
        windows = card_windows(tokenizer, documents, counts, context)
    else:
        windows = _rolling_windows(tokenizer, documents, counts, context, stride, detokenize)
    scores = list(_score_windows(engine, windows, journal or Journal(), counts, progress))
    tokens = sum(window.tokens for window in scores)
    if not tokens:
        raise _nothing_to_score(counts, protocol, context)
    if protocol == "card":
        value, error = batch_perplexity(scores, batch_size)
        if tokens_per_byte is None:
            tokens_per_byte = counts.tokens / counts.bytes
    else:
        value, error = token_perplexity(scores)
    return Perplexity(
        protocol=protocol,
        documents=counts.documents,
        tokens=tokens,
        words=counts.words,
        bytes=counts.bytes,
        log_likelihood=sum(window.log_likelihood for window in scores),
        token_perplexity=value,
        standard_error=error,
        accuracy=sum(window.greedy for window in scores) / tokens,
        tokens_per_byte=tokens_per_byte,
    )


def _check_arguments(
    protocol: str,
    stride: int | None,
    detokenize: str | None,
    batch_size: int,
    tokens_per_byte: float | None,
) -> None:
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}; {' or '.join(PROTOCOLS)} is allowed")
    if detokenize not in (None, *DETOKENIZERS):
        raise InputError(f"detokenize is {detokenize!r}; {', '.join(DETOKENIZERS)} is allowed")
    is_card = protocol == "card"
    if is_card and (stride is not None or detokenize is not None):
        raise InputError(
            "protocol card takes texts as they are, in chunks: leave out stride and detokenize"
        )
    if batch_size < 1 or (batch_size > 1 and not is_card):
        raise InputError(f"batch_size is {batch_size}; 1 is allowed, and more with protocol card")
    if tokens_per_byte is not None and not (is_card and 0 < tokens_per_byte < math.inf):
        raise InputError(
            f"tokens_per_byte is {tokens_per_byte}; with protocol card a number above 0 is allowed"
        )


def _rolling_windows(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    counts: TextCounts,
    context: int,
    stride: int | None,
    detokenize: str | None,
) -> Iterator[Window]:
    windows = rolling_document_windows(
        tokenizer,
        documents,
        counts,
        context,
        stride=stride,
        detokenize=wikitext.detokenized if detokenize else str,
    )
    return (placed.window for placed in windows)


def _score_windows(
    engine: Engine,
    windows: Iterator[Window],
    journal: Journal,
    counts: TextCounts,
    progress: bool,
) -> Iterator[WindowScore]:
    """Score windows in their order; those in the journal are not scored again."""
    from tqdm import tqdm

    with (
        engine.exclusive(),
        tqdm(unit=" tokens", disable=None if progress else True, unit_scale=True) as bar,
    ):
        decoder = engine.decoder(SLOTS)
        for number, group in enumerate(in_groups(windows, WINDOWS_READ_AHEAD)):
            first = number * WINDOWS_READ_AHEAD
            bar.total = counts.expected_tokens
            missing = [i for i in range(len(group)) if first + i not in journal.scores]
            known = {*range(len(group))} - {*missing}
            bar.update(sum(journal.scores[first + i].tokens for i in known))
            for index, scored in score(decoder, [group[i] for i in missing]):
                journal.add(first + missing[index], WindowScore.of(scored))
                bar.update(len(scored.is_greedy))
            for i in range(len(group)):
                yield journal.scores[first + i]


def _nothing_to_score(counts: TextCounts, protocol: str, context: int) -> InputError:
    reason = (
        f"protocol card needs more than {context} tokens" if protocol == "card" else "all are empty"
    )
    return InputError(f"there is nothing to score in {counted(counts.documents)}: {reason}")
