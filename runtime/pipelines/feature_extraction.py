"""pipeline("feature-extraction"): from texts to vectors in one call."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.engine.batching import READ_AHEAD, in_groups
from gptneo_onnx.runtime.label_model import LabelModel
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.argument_types import FeatureCall
from gptneo_onnx.runtime.pipelines.arguments import BatchArguments, check_flags, updated
from gptneo_onnx.runtime.pipelines.base import BasePipeline
from gptneo_onnx.runtime.pipelines.inputs import each_input, with_batches
from gptneo_onnx.runtime.pipelines.pooling import POOLINGS, pool
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class FeatureArguments(BatchArguments):
    """The arguments of one call; see FeatureExtractionPipeline.__call__()."""

    pooling: str = "none"
    normalize: bool = False
    layer: int = -1
    truncation: bool = False
    return_tensors: bool | str = False

    def update(self, changes: Mapping[str, Any]) -> "FeatureArguments":
        """Return a copy with changes; arguments that are None are not changed.

        Raises:
            InputError: an unknown argument, or a value out of range.
        """
        arguments = updated(self, changes, "feature-extraction")
        arguments._check()
        return arguments

    def _check(self) -> None:
        if not isinstance(self.pooling, str) or self.pooling not in POOLINGS:
            raise InputError(
                f"pooling is {shown(self.pooling)}; one of {', '.join(POOLINGS)} is allowed"
            )
        check_flags(self, "normalize", "truncation")
        kind = self.return_tensors
        if not isinstance(kind, bool) and not (isinstance(kind, str) and kind == "np"):
            raise InputError(
                f"return_tensors is {shown(kind)}; True and 'np' return numpy arrays, False lists"
            )


class FeatureExtractionPipeline(BasePipeline):
    """Turns texts into vectors; see pipeline().

    As transformers.FeatureExtractionPipeline, with the pooling of transformers.js.
    """

    task = "feature-extraction"

    def __init__(
        self,
        model: GPTNeoForCausalLM | GPTNeoModel | LabelModel,
        tokenizer: Tokenizer,
        **kwargs: Any,
    ) -> None:
        self.model = model if isinstance(model, GPTNeoModel) else GPTNeoModel(model)
        self.tokenizer = tokenizer
        self._defaults = FeatureArguments().update(kwargs)

    def __call__(self, inputs: str | Iterable[str], **kwargs: Unpack[FeatureCall]) -> Any:
        """Return the features of one text, or of each of several.

        Args:
            inputs: a text, or several; an iterator is read as results are asked for, and gives an
                iterator.

        Keyword Args:
            pooling: "none" for a vector per token, "mean" for their mean, "last_token" for the
                vector of the last token, the only one that depends on the whole text.
            normalize: whether vectors are scaled to length 1.
            layer: which layer's hidden states, as transformers numbers them: -1 is the last, 0 the
                embeddings. Graphs return the layers that the export named with --hidden-states;
                fused graphs always return the last.
            truncation: whether texts longer than the context are cut on the right; otherwise they
                are refused.
            return_tensors: whether results are numpy arrays, float32, or lists of numbers.
            batch_size: how many short texts are read together; changes at most the last bits of a
                result.

        Returns:
            For each text [1, tokens, hidden], as in transformers, or [hidden] if it is pooled.

        Raises:
            InputError: an unknown argument, a text without tokens or with too many, a layer that
                the graph does not return.
        """
        arguments = self._defaults.update(kwargs)
        if isinstance(inputs, str):
            [features] = self._features([inputs], arguments)
            return features
        inputs = each_input(inputs, "a text or several")
        results = with_batches(inputs, partial(self._features, arguments=arguments))
        return results if isinstance(inputs, Iterator) else list(results)

    def encode(self, text: str, truncation: bool = False) -> Ids:
        """Return a text's ids [length].

        Raises:
            InputError: the text is empty, or longer than the context and not to be cut.
        """
        ids = np.array(self.tokenizer.encode(text), np.int64)
        context = self.model.config.max_position_embeddings
        if not len(ids):
            raise InputError("the text is empty; features need at least one token, so leave it out")
        if len(ids) > context and not truncation:
            raise InputError(
                f"the text {text[:40]!a} has {len(ids)} tokens, the model's context is {context}; "
                "shorten it, or ask for truncation (truncation=True, --truncation)"
            )
        return ids[:context]

    def _features(self, inputs: Iterable[str], arguments: FeatureArguments) -> Iterator[Any]:
        """Yield each text's features, in order."""
        # Only one vector for each: the hidden states of all their tokens would be too much to hold.
        has_small_results = arguments.pooling != "none" and arguments.batch_size > 1
        read_ahead = READ_AHEAD if has_small_results else min(arguments.batch_size, READ_AHEAD)
        for texts in in_groups(inputs, read_ahead):
            sequences = [self.encode(text, arguments.truncation) for text in texts]
            features = {}
            # The longest come first, so results are put back into order.
            for index, states in self.model.of_sequences(
                sequences, arguments.layer, arguments.batch_size
            ):
                features[index] = pool(states, arguments.pooling, arguments.normalize)
            for index in range(len(texts)):
                yield features[index] if arguments.return_tensors else features[index].tolist()
