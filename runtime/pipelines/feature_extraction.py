"""pipeline("feature-extraction"): from texts to vectors in one call."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import HiddenStates, Ids
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.generation.processors.checks import plain
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.arguments import check_batch_size
from gptneo_onnx.runtime.tokenizer import Tokenizer

POOLINGS = ("none", "mean", "last_token")
# Texts that are read ahead, to find some of one length, where a vector of each is kept.
_AHEAD = 256


@dataclass(frozen=True)
class FeatureArguments:
    """What a call takes; see FeatureExtractionPipeline."""

    pooling: str = "none"
    normalize: bool = False
    layer: int = -1
    truncation: bool = False
    return_tensors: bool | str = False
    batch_size: int = 1

    def but(self, changes: Mapping[str, Any]) -> "FeatureArguments":
        """With some of them changed.

        Raises:
            InputError: there is no such argument, or it cannot have that value.
        """
        names = [field.name for field in fields(self)]
        unknown = [name for name in changes if name not in names]
        if unknown:
            raise InputError(
                f"feature-extraction has no argument {shown(unknown[0])}; {', '.join(names)} are "
                "allowed"
            )
        given = {name: plain(value) for name, value in changes.items() if value is not None}
        changed = replace(self, **given)
        changed._check()
        return changed

    def _check(self) -> None:
        if not isinstance(self.pooling, str) or self.pooling not in POOLINGS:
            raise InputError(
                f"pooling is {shown(self.pooling)}; one of {', '.join(POOLINGS)} is allowed"
            )
        check_batch_size(self.batch_size)
        for name in ("normalize", "truncation"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(
                    f"{name} is {shown(getattr(self, name))}; True or False is allowed"
                )
        wanted = self.return_tensors
        if not isinstance(wanted, bool) and not (isinstance(wanted, str) and wanted == "np"):
            raise InputError(
                f"return_tensors is {shown(self.return_tensors)}; True and 'np' return numpy "
                "arrays, False lists"
            )


class FeatureExtractionPipeline:
    """transformers.FeatureExtractionPipeline, and transformers.js' pooling; see pipeline()."""

    def __init__(
        self, model: GPTNeoForCausalLM | GPTNeoModel, tokenizer: Tokenizer, **kwargs: Any
    ) -> None:
        self.model = model if isinstance(model, GPTNeoModel) else GPTNeoModel(model)
        self.tokenizer = tokenizer
        self._defaults = FeatureArguments().but(kwargs)

    def __call__(self, inputs: str | Iterable[str], **kwargs: Any) -> Any:
        """The features of a text, or of each of several.

        Args:
            inputs: a text, or several; of an iterator, results come as an iterator too.
            pooling: "none" for a vector of each token, "mean" for their mean, "last_token" for the
                last, which has read all others.
            normalize: whether vectors are scaled to length 1.
            layer: whose hidden states, as transformers numbers them: -1 is the last, 0 the
                embeddings. Exports give what --hidden-states asked for, fused ones always the last.
            truncation: whether texts beyond the context are cut on the right; they are refused
                else.
            return_tensors: whether results are numpy arrays, float32, or lists of numbers.
            batch_size: short texts that are read together; results do not depend on it, but for the
                last bits of float32.

        Returns:
            For each text [1, tokens, hidden], as transformers has it, or [hidden] if it is pooled.

        Raises:
            InputError: an unknown argument, a text without tokens or with too many, a layer that
                the graph does not give.
        """
        arguments = self._defaults.but(kwargs)
        if isinstance(inputs, str):
            [features] = self._features_of([inputs], arguments)
            return features
        _check_texts(inputs)
        each = self._features_of(inputs, arguments)
        return each if isinstance(inputs, Iterator) else list(each)

    def encode(self, text: str, truncation: bool = False) -> Ids:
        """A text's ids [length], as many as the model can read.

        Raises:
            InputError: there are none, or too many.
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

    def _features_of(self, texts: Iterable[str], arguments: FeatureArguments) -> Iterator[Any]:
        is_small = arguments.pooling != "none" and arguments.batch_size > 1
        ahead = _AHEAD if is_small else min(arguments.batch_size, _AHEAD)
        for batch in in_groups(texts, ahead):
            sequences = [self.encode(text, arguments.truncation) for text in batch]
            each = self.model.of_sequences(sequences, arguments.layer, arguments.batch_size)
            pooled = {index: _pooled(states, arguments) for index, states in each}
            for index in range(len(batch)):
                yield pooled[index] if arguments.return_tensors else pooled[index].tolist()


def _check_texts(inputs: object) -> None:
    if not isinstance(inputs, Iterable) or isinstance(inputs, bytes | Mapping):
        raise InputError(
            f"the input is of type {type(inputs).__name__}; a text or several are expected"
        )


def _pooled(states: HiddenStates, arguments: FeatureArguments) -> NDArray[np.float32]:
    """[1, tokens, hidden] or [hidden] of hidden states [tokens, hidden]."""
    match arguments.pooling:
        case "mean":
            features: NDArray[np.floating] = states.mean(axis=0, dtype=np.float64)
        case "last_token":
            features = states[-1]
        case _:
            features = states[None]
    if arguments.normalize:
        lengths = np.linalg.norm(features, axis=-1, keepdims=True)
        features = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.array(features, np.float32)  # a view would keep all that a step gave
