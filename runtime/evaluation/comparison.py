"""Two models on the same texts: how far what they expect next is apart, and where."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.documents import Document, counted
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine, exclusive
from gptneo_onnx.runtime.evaluation.divergence import (
    MEASURED,
    Measured,
    likeliest,
    measure,
    side_by_side,
)
from gptneo_onnx.runtime.evaluation.perplexity import check_tokenizer, exp_of, finite
from gptneo_onnx.runtime.evaluation.scoring import (
    SLOTS,
    WINDOWS_READ_AHEAD,
    steps_of,
    target_logits,
)
from gptneo_onnx.runtime.evaluation.windows import Ids, Window, rolling_windows
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

# Tokens of text, and of each model's choices, that a difference shows.
_BEFORE, _CHOICES = 24, 3


@dataclass(frozen=True)
class Difference:
    """A place where the models expect different tokens.

    Attributes:
        source, token: the document, and the token's number in it, from 0.
        before: the text before it.
        actual: the token that comes.
        divergence: in nats.
        choices: of each model, its likeliest tokens and their probabilities.
    """

    source: str
    token: int
    before: str
    actual: str
    divergence: float
    choices: tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]


@dataclass(frozen=True)
class Comparison:
    """What was found, token by token, in the texts' order.

    Attributes:
        documents: how many.
        bytes: of the documents.
        losses: float64 [2, tokens], minus the log likelihood of each token, by each model.
        divergences: float64 [tokens], in nats.
        agrees: bool [tokens], whether the models' likeliest tokens are the same.
        context: int64 [tokens], how many tokens stood before each in its window.
        largest: the greatest divergences, the greatest first.
    """

    documents: int
    bytes: int
    losses: NDArray[np.float64]
    divergences: NDArray[np.float64]
    agrees: NDArray[np.bool_]
    context: Ids
    largest: tuple[Difference, ...]

    @property
    def tokens(self) -> int:
        return len(self.divergences)

    @property
    def token_perplexity(self) -> tuple[float, float]:
        first, second = map(exp_of, self.losses.mean(axis=1).tolist())
        return first, second

    @property
    def bits_per_byte(self) -> tuple[float, float]:
        first, second = (self.losses.sum(axis=1) / self.bytes / math.log(2)).tolist()
        return first, second

    @property
    def perplexity_change(self) -> tuple[float, float]:
        """The second perplexity as a share of the first, less 1, and its standard error.

        Losses are compared token by token: what both find hard does not blur the difference.
        """
        change = self.losses[1] - self.losses[0]
        ratio = exp_of(float(change.mean()))
        error = change.std(ddof=1) / math.sqrt(len(change)) if len(change) > 1 else math.nan
        return ratio - 1, ratio * float(error)

    def as_dict(self) -> dict[str, Any]:
        """All but the single tokens by name, for JSON: None stands for no number."""
        change, error = self.perplexity_change
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "token_perplexity": [finite(each) for each in self.token_perplexity],
            "bits_per_byte": self.bits_per_byte,
            "perplexity_change": finite(change),
            "perplexity_change_error": finite(error),
            "mean_divergence": float(self.divergences.mean()),
            "median_divergence": float(np.median(self.divergences)),
            "divergence_99": float(np.quantile(self.divergences, 0.99)),
            "max_divergence": float(self.divergences.max()),
            "agreement": float(self.agrees.mean()),
            "largest": [vars(each) for each in self.largest],
        }


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
        first, second: two loaded models, the first being what the second is held against.
        tokenizer: of both.
        documents: what to read.
        largest: how many of the greatest differences to keep.
        progress: draw a progress bar on standard error, if that is a terminal.

    Raises:
        InputError: there is nothing to read, models of different vocabularies, or one model given
            twice.
        ModelFileError: the tokenizer does not belong to the models, or one of them computes no
            finite numbers.
    """
    engines = Engine.of(first, "first"), Engine.of(second, "second")
    _check(engines, tokenizer)
    context = min(engine.config.max_position_embeddings for engine in engines)
    reading, found = _Reading(tokenizer, context), _Largest(largest)
    with exclusive(*engines):
        decoders = engines[0].decoder(SLOTS), engines[1].decoder(SLOTS)
        parts = [*_measured(decoders, reading, documents, found, progress)]
    if not parts:
        raise InputError(f"there is nothing to read in {counted(reading.documents)}")
    measured = np.concatenate([part for part, _ in parts])
    return Comparison(
        documents=reading.documents,
        bytes=reading.bytes,
        losses=measured["losses"].T,
        divergences=measured["divergence"],
        agrees=measured["agrees"],
        context=np.concatenate([before for _, before in parts]),
        largest=found.differences,
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


def _measured(
    decoders: Sequence[Decoder],
    reading: "_Reading",
    documents: Iterable[Document],
    largest: "_Largest",
    progress: bool,
) -> Iterator[tuple[Measured, Ids]]:
    """Of each window what was measured, and how many tokens stand before each of its targets."""
    from tqdm import tqdm

    with tqdm(unit=" tokens", disable=None if progress else True, unit_scale=True) as bar:
        for waiting in in_groups(reading.windows(documents), WINDOWS_READ_AHEAD):
            windows = [each.window for each in waiting]
            rows = [np.empty(len(window.targets), MEASURED) for window in windows]
            for index, targets, one, other in _read(decoders, windows):
                placed = waiting[index]
                _check_finite(placed.source, one, other)
                measured = measure(one, other, placed.window.targets[targets])
                rows[index][targets] = measured
                description = reading.description(placed, targets, (one, other))
                largest.add(measured["divergence"], description)
                bar.update(len(measured))
            for measured, window in zip(rows, windows, strict=True):
                yield measured, len(window.context) + np.arange(len(measured))


def _check_finite(source: str, *logits: Logits) -> None:
    for name, each in zip(("first", "second"), logits, strict=True):
        if not np.isfinite(each).all():
            raise ModelFileError(
                f"{source}: logits of the {name} model are not finite numbers; export it in "
                "another precision, such as fp32"
            )


def _read(
    decoders: Sequence[Decoder], windows: Sequence[Window]
) -> Iterator[tuple[int, slice, Logits, Logits]]:
    """Both models' logits: which window, which of its targets, and the logits of each model."""
    for group in steps_of(windows, SLOTS):
        own = [windows[index] for index in group]
        first, second = (target_logits(decoder, own) for decoder in decoders)
        for place, targets, one, other in side_by_side(first, second):
            yield group[place], targets, one, other


@dataclass(frozen=True)
class _Placed:
    """A window, and where its first target is: in which document, and behind how many tokens."""

    window: Window
    source: str
    start: int


class _Reading:
    """Documents as windows, counted on their way; and places in them as text."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.documents = 0
        self.bytes = 0

    def windows(self, documents: Iterable[Document]) -> Iterator[_Placed]:
        end = self.tokenizer.eos_token_id
        assert end is not None  # check_tokenizer
        for document in documents:
            self.documents += 1
            self.bytes += len(document.text.encode())
            ids = np.array(self.tokenizer.encode(document.text), np.int64)
            start = 0
            for window in rolling_windows(ids, end, self.context):
                yield _Placed(window, document.source, start)
                start += len(window.targets)

    def description(
        self, placed: _Placed, targets: slice, logits: Sequence[Logits]
    ) -> Callable[[int, float], Difference]:
        """Makes a Difference of one of the targets and its divergence."""

        def described(row: int, divergence: float) -> Difference:
            window, target = placed.window, targets.start + row
            read = np.concatenate([window.context, window.targets[:target]])[-_BEFORE:]
            one, other = (
                tuple(
                    (self.tokenizer.decode(token), p) for token, p in likeliest(own[row], _CHOICES)
                )
                for own in logits
            )
            return Difference(
                placed.source,
                placed.start + target,
                self.tokenizer.decode(read, skip_special_tokens=True),
                self.tokenizer.decode(int(window.targets[target])),
                divergence,
                (one, other),
            )

        return described


class _Largest:
    """The largest differences so far; of equal ones that which was read first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[float, int, Difference]] = []
        self._pushed = 0

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(difference for *_, difference in sorted(self._heap, reverse=True))

    def add(
        self, divergences: NDArray[np.float64], described: Callable[[int, float], Difference]
    ) -> None:
        for row in np.argsort(-divergences, kind="stable")[: self._count]:
            divergence = float(divergences[row])
            if divergence <= (self._heap[0][0] if len(self._heap) == self._count else 0):
                return
            self._pushed += 1
            difference = described(int(row), divergence)
            heapq.heappush(self._heap, (divergence, -self._pushed, difference))
            if len(self._heap) > self._count:
                heapq.heappop(self._heap)
