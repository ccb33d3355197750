"""pipeline("token-classification"): from texts to labelled tokens, or to entities."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import numpy as np
import tokenizers

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Logits
from gptneo_onnx.runtime.engine.batching import READ_AHEAD, in_groups
from gptneo_onnx.runtime.heads import GPTNeoForTokenClassification
from gptneo_onnx.runtime.pipelines.argument_types import EntityCall
from gptneo_onnx.runtime.pipelines.arguments import BatchArguments, check_count, updated
from gptneo_onnx.runtime.pipelines.base import BasePipeline
from gptneo_onnx.runtime.pipelines.entities import (
    STRATEGIES,
    Entity,
    ScoredToken,
    aggregate,
    without_overlaps,
)
from gptneo_onnx.runtime.pipelines.inputs import each_input, with_batches
from gptneo_onnx.runtime.pipelines.scores import softmax
from gptneo_onnx.runtime.pipelines.windows import WindowEncoder
from gptneo_onnx.runtime.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EntityArguments(BatchArguments):
    """The arguments of one call; see TokenClassificationPipeline.__call__()."""

    aggregation_strategy: str = "none"
    ignore_labels: Sequence[str] = ("O",)
    stride: int | None = None

    def update(self, changes: Mapping[str, Any]) -> "EntityArguments":
        """Return a copy with changes; arguments that are None are not changed.

        Raises:
            InputError: an unknown argument, or a value out of range.
        """
        arguments = updated(self, changes, "token-classification")
        arguments._check()
        return arguments

    @property
    def strategy(self) -> str:
        return self.aggregation_strategy.lower()

    def _check(self) -> None:
        strategy = self.aggregation_strategy
        if not isinstance(strategy, str) or strategy.lower() not in STRATEGIES:
            raise InputError(
                f"aggregation_strategy is {shown(strategy)}; one of {', '.join(STRATEGIES)} is "
                "allowed"
            )
        labels = self.ignore_labels
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
            raise InputError(f"ignore_labels is {shown(labels)}; a list of labels is allowed")
        if self.stride is None:
            return
        check_count("stride", self.stride, least=0)
        if self.strategy == "none":
            raise InputError(
                f"stride is {self.stride}, which reads long texts in windows whose entities are "
                "joined: pass an aggregation_strategy, such as simple"
            )


class TokenClassificationPipeline(BasePipeline):
    """Finds entities in texts; see pipeline(). As transformers.TokenClassificationPipeline."""

    task = "token-classification"

    def __init__(
        self, model: GPTNeoForTokenClassification, tokenizer: Tokenizer, **kwargs: Any
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._encoder = WindowEncoder(tokenizer, model.config.max_position_embeddings)
        self._unknown = tokenizer.unk_token_id
        prefix = getattr(tokenizer.backend.model, "continuing_subword_prefix", None)
        self._marks_subwords = bool(prefix)
        self._defaults = EntityArguments().update(kwargs)

    def __call__(self, inputs: str | Iterable[str], **kwargs: Unpack[EntityCall]) -> Any:
        """Return the entities of one text, or of each of several.

        Args:
            inputs: a text, or several; an iterator is read as results are asked for, and gives an
                iterator.

        Keyword Args:
            aggregation_strategy: "none", an entity for each token; "simple", for neighbouring
                tokens of one label (B- begins another); "first", "average", "max": the same, where
                all tokens of a word get the label of its first one, of the average of their scores,
                or of the highest score. Words end at spaces.
            ignore_labels: labels that are left out; by default ["O"].
            stride: reads texts that are longer than the context in windows, which repeat that many
                tokens of the one before. Without it, what follows the first window is not read,
                with a warning.
            batch_size: how many short texts are read together; changes at most the last bits of a
                result. It needs no padding token, nor does stride.

        Returns:
            For each text a list of {"entity", "score", "index", "word", "start", "end"}, or with
            an aggregation_strategy of {"entity_group", "score", "word", "start", "end"}.

        Raises:
            InputError: an unknown argument, or a text without tokens.
            ModelFileError: the model's numbers overflow.
        """
        arguments = self._defaults.update(kwargs)
        if isinstance(inputs, str):
            [entities] = self._results([inputs], arguments)
            return entities
        inputs = each_input(inputs, "a text or several")
        results = with_batches(inputs, partial(self._results, arguments=arguments))
        return results if isinstance(inputs, Iterator) else list(results)

    def encode(self, text: str, stride: int | None = None) -> list[tokenizers.Encoding]:
        """Return the windows of a text, of which only the first is read without a stride.

        Raises:
            InputError: the text is empty, or the stride too long.
        """
        longest = self._encoder.longest
        windows = self._encoder.windows(text, max_length=longest, stride=stride or 0)
        if not len(windows[0]):
            raise InputError("the text is empty; it has no token to label, so leave it out")
        return windows

    def _read(self, text: str, stride: int | None) -> list[tokenizers.Encoding]:
        """Return the windows of a text that are read; warn if others are not."""
        windows = self.encode(text, stride)
        if stride is not None or len(windows) == 1:
            return windows
        logger.warning(
            "the text %a has more than %d tokens; the rest is not read: pass a stride (--stride)",
            text[:40],
            self._encoder.longest,
        )
        return windows[:1]

    def _results(self, inputs: Iterable[str], arguments: EntityArguments) -> Iterator[list[Entity]]:
        """Yield each text's entities, in order."""
        read_ahead = READ_AHEAD if arguments.batch_size > 1 else 1
        for texts in in_groups(inputs, read_ahead):
            windows = [self._read(text, arguments.stride) for text in texts]
            sequences = [np.array(each.ids, np.int64) for part in windows for each in part]
            logits = dict(self.model.of_sequences(sequences, arguments.batch_size))
            done = 0
            for text, part in zip(texts, windows, strict=True):
                of_text = [logits[done + index] for index in range(len(part))]
                done += len(part)
                yield self._entities(text, part, of_text, arguments)

    def _entities(
        self,
        text: str,
        windows: Sequence[tokenizers.Encoding],
        logits: Sequence[Logits],
        arguments: EntityArguments,
    ) -> list[Entity]:
        """Return the entities of a text's windows."""
        labels, ignored = self.model.config.labels, {*arguments.ignore_labels}
        found = [
            entity
            for window, window_logits in zip(windows, logits, strict=True)
            for entity in aggregate(
                self._tokens(text, window, window_logits), arguments.strategy, labels, self._join
            )
            if entity.get("entity", entity.get("entity_group")) not in ignored
        ]
        return without_overlaps(found) if len(windows) > 1 else found

    def _tokens(self, text: str, window: tokenizers.Encoding, logits: Logits) -> list[ScoredToken]:
        """Return the tokens of a window, without those that the tokenizer added."""
        tokens = []
        places = zip(window.tokens, window.ids, window.offsets, softmax(logits), strict=True)
        for index, (word, token, (start, end), scores) in enumerate(places):
            if window.special_tokens_mask[index]:
                continue
            is_unknown = token == self._unknown
            tokens.append(
                ScoredToken(
                    word=text[start:end] if is_unknown else word,
                    scores=scores,
                    start=start,
                    end=end,
                    index=index,
                    is_subword=not is_unknown and self._is_subword(text, word, start, end),
                )
            )
        return tokens

    def _is_subword(self, text: str, word: str, start: int, end: int) -> bool:
        """Return whether a token goes on with the word before: no space stands at its start."""
        if self._marks_subwords:
            return len(word) != end - start
        return start > 0 and " " not in text[start - 1 : start + 1]

    def _join(self, tokens: list[str]) -> str:
        decoder = self.tokenizer.backend.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))
