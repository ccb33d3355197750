"""pipeline("text-classification"): from texts to labels and their scores."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.labels import Labels
from gptneo_onnx.runtime.arrays import Floats, Ids
from gptneo_onnx.runtime.engine.batching import READ_AHEAD, in_groups
from gptneo_onnx.runtime.heads import GPTNeoForSequenceClassification
from gptneo_onnx.runtime.pipelines.argument_types import ClassificationCall
from gptneo_onnx.runtime.pipelines.arguments import (
    TRUNCATIONS,
    BatchArguments,
    check_count,
    check_flags,
    updated,
)
from gptneo_onnx.runtime.pipelines.base import BasePipeline
from gptneo_onnx.runtime.pipelines.inputs import each_input
from gptneo_onnx.runtime.pipelines.scores import FUNCTIONS, function_of, label_of, scores_of
from gptneo_onnx.runtime.pipelines.windows import WindowEncoder
from gptneo_onnx.runtime.tokenizer import Tokenizer

# What transformers takes for a top_k that was never given: results are not in lists then.
_UNSET = ""


@dataclass(frozen=True)
class ClassificationArguments(BatchArguments):
    """The arguments of one call; see TextClassificationPipeline.__call__()."""

    top_k: int | str | None = _UNSET
    return_all_scores: bool | None = None
    function_to_apply: str | None = None
    truncation: bool | str | None = None
    max_length: int | None = None
    padding: bool | str = False

    def update(self, changes: Mapping[str, Any]) -> "ClassificationArguments":
        """Return a copy with changes; arguments but top_k that are None are not changed.

        Raises:
            InputError: an unknown argument, or a value out of range.
        """
        arguments = updated(self, changes, "text-classification", keeps_none=("top_k",))
        arguments._check()
        return arguments

    @property
    def is_list(self) -> bool:
        """Whether the result for a text is a list of labels, not the best one alone."""
        return self.top_k != _UNSET or bool(self.return_all_scores)

    @property
    def strategy(self) -> str | None:
        """How texts are cut that are too long; None if they are refused."""
        if self.truncation is None:  # as in transformers
            return None if self.max_length is None else "longest_first"
        return "longest_first" if self.truncation is True else self.truncation or None

    def _check(self) -> None:
        if self.top_k is not None and self.top_k != _UNSET:
            check_count("top_k", self.top_k)
        if self.max_length is not None:
            check_count("max_length", self.max_length)
        if self.return_all_scores is not None:
            check_flags(self, "return_all_scores")
        function = self.function_to_apply
        if function is not None and str(function).lower() not in ("default", *FUNCTIONS):
            raise InputError(
                f"function_to_apply is {shown(function)}; default, {', '.join(FUNCTIONS)} are "
                "allowed"
            )
        if not isinstance(self.truncation, bool | None) and self.truncation not in TRUNCATIONS:
            raise InputError(
                f"truncation is {shown(self.truncation)}; True, False, {', '.join(TRUNCATIONS)} "
                "are allowed"
            )


class TextClassificationPipeline(BasePipeline):
    """Gives texts labels; see pipeline(). As transformers.TextClassificationPipeline."""

    task = "text-classification"

    def __init__(
        self, model: GPTNeoForSequenceClassification, tokenizer: Tokenizer, **kwargs: Any
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._encoder = WindowEncoder(tokenizer, model.config.max_position_embeddings)
        self._defaults = ClassificationArguments().update(kwargs)

    def __call__(self, inputs: Any, **kwargs: Unpack[ClassificationCall]) -> Any:
        """Return the labels of one text, or of each of several.

        Args:
            inputs: a text; a pair of texts, {"text": ..., "text_pair": ...}, whose tokens follow
                each other; or several of these. An iterator is read as results are asked for, and
                gives an iterator.

        Keyword Args:
            top_k: how many labels are returned, the best first; None for all.
            return_all_scores: all labels, in their own order; top_k goes before it.
            function_to_apply: "sigmoid", "softmax", "none", or "default": none for a regression,
                a sigmoid for one label or for several that may hold at once, else a softmax.
            truncation: whether texts longer than max_length are cut (True, "longest_first",
                "only_first", "only_second"); otherwise they are refused.
            max_length: tokens of a text at most; by default the context.
            padding: changes nothing.
            batch_size: how many short texts are read together; changes at most the last bits of a
                result. It needs no padding token.

        Returns:
            For each text {"label", "score"}, or a list of them if top_k is given. A single text's
            result is in a list, too, unless top_k is passed to the call: as in transformers.

        Raises:
            InputError: an unknown argument, a text without tokens or with too many.
            ModelFileError: the model's numbers overflow.
        """
        arguments = self._defaults.update(kwargs)
        if isinstance(inputs, str | Mapping):
            [result] = self._results([inputs], arguments)
            is_wrapped = isinstance(inputs, str) and "top_k" not in kwargs
            return [result] if is_wrapped else result
        inputs = each_input(inputs, "a text, a pair or several")
        results = self._results(inputs, arguments)
        return results if isinstance(inputs, Iterator) else list(results)

    def encode(self, item: Any, arguments: ClassificationArguments | None = None) -> Ids:
        """Return the ids [length] of a text or pair, cut as the arguments say.

        Raises:
            InputError: it has no tokens, or too many and is not to be cut.
        """
        arguments = arguments or self._defaults
        text, pair = _text_and_pair(item)
        strategy, context = arguments.strategy, self._encoder.context
        if strategy is None:
            encoding = self.tokenizer.encoding(text, pair)
        else:
            length = min(arguments.max_length or self._encoder.longest, context)
            encoding = self._encoder.windows(text, pair, max_length=length, strategy=strategy)[0]
        if not len(encoding):
            raise InputError("the text is empty; a label needs at least one token, so leave it out")
        if len(encoding) > context:
            raise InputError(
                f"the text {text[:40]!a} has {len(encoding)} tokens, the model's context is "
                f"{context}; shorten it, or ask for truncation (truncation=True, --truncation)"
            )
        return np.array(encoding.ids, np.int64)

    def _results(self, inputs: Iterable[Any], arguments: ClassificationArguments) -> Iterator[Any]:
        """Yield each text's result, in order."""
        read_ahead = READ_AHEAD if arguments.batch_size > 1 else 1
        for items in in_groups(inputs, read_ahead):
            sequences = [self.encode(item, arguments) for item in items]
            logits = dict(self.model.of_sequences(sequences, arguments.batch_size))
            for index in range(len(items)):
                yield _result(logits[index], self.model.config.labels, arguments)


def _text_and_pair(item: Any) -> tuple[str, str | None]:
    """Return the one or two texts of an input."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, list) and len(item) == 1 and isinstance(item[0], list | tuple):
        item = dict(zip(("text", "text_pair"), item[0], strict=False))  # transformers' older form
    if not isinstance(item, Mapping) or not {"text"} <= set(item) <= {"text", "text_pair"}:
        raise InputError(
            f'{shown(item)} is no text; a text, or {{"text": ..., "text_pair": ...}} for a pair, '
            "is expected"
        )
    text, pair = item["text"], item.get("text_pair")
    if not isinstance(text, str) or not isinstance(pair, str | None):
        raise InputError(f"{shown(item)} has no texts; one text for each name is expected")
    return text, pair


def _result(logits: Floats, labels: Labels, arguments: ClassificationArguments) -> Any:
    """Return the best label, or several."""
    function = (arguments.function_to_apply or "default").lower()
    scores = scores_of(logits, function_of(labels) if function == "default" else function)
    found = [
        {"label": label_of(labels, column), "score": score}
        for column, score in enumerate(scores.tolist())
    ]
    if not arguments.is_list:
        return found[int(scores.argmax())]
    if arguments.top_k == _UNSET:  # return_all_scores
        return found
    found.sort(key=lambda each: -each["score"])
    return found[: arguments.top_k] if isinstance(arguments.top_k, int) else found
