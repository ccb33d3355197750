"""Comparing two models on the same texts: how far their predictions differ, and where."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.documents import Document, counted
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.several_engines import exclusive
from gptneo_onnx.runtime.evaluation.comparison_result import Comparison
from gptneo_onnx.runtime.evaluation.differences import Difference, LargestDifferences
from gptneo_onnx.runtime.evaluation.divergence import MEASURED, Measured, measure, side_by_side
from gptneo_onnx.runtime.evaluation.document_windows import (
    DocumentWindow,
    TextCounts,
    check_tokenizer,
    rolling_document_windows,
)
from gptneo_onnx.runtime.evaluation.scoring import (
    SLOTS,
    WINDOWS_READ_AHEAD,
    group_windows,
    target_logits,
)
from gptneo_onnx.runtime.evaluation.windows import Window
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

__all__ = ["Comparison", "Difference", "compare"]


def compare(
    first: GPTNeoForCausalLM | Engine,
    second: GPTNeoForCausalLM | Engine,
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    *,
    largest: int = 10,
    progress: bool = False,
) -> Comparison:
    """Read documents with both models, in the rolling windows of perplexity().

    Args:
        first, second: two loaded models, or their Engines; the first is the reference.
        tokenizer: that of both models.
        documents: what to read. Of a list, the progress bar shows how much is left.
        largest: how many of the greatest differences to keep.
        progress: draw a progress bar on standard error, if that is a terminal.

    Raises:
        InputError: there is nothing to read, the models have different vocabularies, or one model
            was passed twice.
        ModelFileError: the tokenizer does not belong to the models, or the logits of one of them
            are not finite numbers.
    """
    engines = Engine.of(first, "first"), Engine.of(second, "second")
    _check(engines, tokenizer)
    context = min(engine.config.max_position_embeddings for engine in engines)
    counts, differences = TextCounts.before(documents), LargestDifferences(tokenizer, largest)
    windows = rolling_document_windows(tokenizer, documents, counts, context)
    with exclusive(*engines):
        decoders = engines[0].decoder(SLOTS), engines[1].decoder(SLOTS)
        parts = list(_measure_windows(decoders, windows, differences, counts, progress))
    if not parts:
        raise InputError(f"there is nothing to read in {counted(counts.documents)}")
    measured = np.concatenate([part for part, _ in parts])
    return Comparison(
        documents=counts.documents,
        bytes=counts.bytes,
        losses=measured["losses"].T,
        divergences=measured["divergence"],
        agrees=measured["agrees"],
        context=np.concatenate([before for _, before in parts]),
        largest=differences.differences,
    )


def _check(engines: tuple[Engine, Engine], tokenizer: Tokenizer) -> None:
    for engine in engines:
        check_tokenizer(engine, tokenizer)
    first, second = engines
    if first.config.vocab_size != second.config.vocab_size:
        raise InputError(
            f"the models have vocabularies of {first.config.vocab_size} and "
            f"{second.config.vocab_size} tokens; only models of one vocabulary can be compared"
        )


def _measure_windows(
    decoders: tuple[Decoder, Decoder],
    windows: Iterator[DocumentWindow],
    differences: LargestDifferences,
    counts: TextCounts,
    progress: bool,
) -> Iterator[tuple[Measured, Ids]]:
    """Yield each window's measurements, and how many tokens precede each of its targets."""
    from tqdm import tqdm

    with tqdm(unit=" tokens", disable=None if progress else True, unit_scale=True) as bar:
        for group in in_groups(windows, WINDOWS_READ_AHEAD):
            bar.total = counts.expected_tokens
            measured = [np.empty(len(placed.window.targets), MEASURED) for placed in group]
            windows_of_group = [placed.window for placed in group]
            for index, targets, first, second in _logits_of_both(decoders, windows_of_group):
                placed = group[index]
                _check_finite(placed.source, first, second)
                rows = measure(first, second, placed.window.targets[targets])
                measured[index][targets] = rows
                differences.add(placed, targets, rows["divergence"], (first, second))
                bar.update(len(rows))
            for rows, placed in zip(measured, group, strict=True):
                yield rows, len(placed.window.context) + np.arange(len(rows))


def _logits_of_both(
    decoders: tuple[Decoder, Decoder], windows: Sequence[Window]
) -> Iterator[tuple[int, slice, Logits, Logits]]:
    """Yield the index of a window, which of its targets, and the logits of each model."""
    for indices in group_windows(windows, SLOTS):
        group = [windows[index] for index in indices]
        first, second = (target_logits(decoder, group) for decoder in decoders)
        for place, targets, logits, other_logits in side_by_side(first, second):
            yield indices[place], targets, logits, other_logits


def _check_finite(source: str, first: Logits, second: Logits) -> None:
    for name, logits in (("first", first), ("second", second)):
        if not np.isfinite(logits).all():
            raise ModelFileError(
                f"{source}: logits of the {name} model are not finite numbers; export it in "
                "another precision, such as fp32"
            )
