"""LabelModel: what the models have in common whose head gives a few numbers for a token."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.engine.batching import MAX_BATCHED_TOKENS, padded, ragged_steps
from gptneo_onnx.runtime.engine.decoder import Decoder, check_finite
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.load_arguments import LoadArguments, Loading
from gptneo_onnx.runtime.on_demand_export import exported_directory
from gptneo_onnx.runtime.pretrained_model import PretrainedModel


class LabelModel(PretrainedModel):
    """A model with a head of labels, or of the two ends of an answer.

    Args:
        engine: an Engine, or a model of the same kind, whose engine this one shares.

    Attributes:
        head: the head that the model needs.
        engine: steps the model.
        config: the model's dimensions and labels.
    """

    head: ClassVar[Head]

    def __init__(self, engine: "Engine | LabelModel") -> None:
        self.engine = Engine.of(engine, heads=(self.head,))
        self.config = self.engine.config

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        device: str | int | None = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
        precision: str | None = None,
        trust_graph: bool = False,
        **kwargs: Unpack[LoadArguments],
    ) -> Self:
        """Load a model; arguments and errors are GPTNeoForCausalLM's.

        Raises:
            InputError: it was exported for another task, besides.
        """
        heads, loading = (cls.head,), Loading.read(device, provider_options, kwargs)
        source = loading.source
        path, precision = exported_directory(directory, precision, heads, file_name, **source)
        options = num_threads, loading.provider_options, file_name, heads
        engine = Engine.load(
            path,
            loading.device,
            slots,
            *options,
            precision=precision,
            trust_graph=trust_graph,
        )
        loading.check(engine)
        return cls(engine)

    def _head_parameters(self) -> int:
        tensors, columns = self.head.tensors, self.engine.task.columns(self.config)
        has_bias = tensors is not None and tensors.bias is not None
        return columns * self.config.hidden_size + (columns if has_bias else 0)

    def rows(
        self, inputs: PaddedInputs, positions: Ids, parts: Sequence[slice], last_only: bool = False
    ) -> Iterator[Logits]:
        """Yield the logits [tokens, columns] of each row of a batch.

        Args:
            inputs: the batch.
            positions: [batch, sequence].
            parts: the columns of each row that are read.
            last_only: whether to yield those of a part's last token alone, [1, columns].
        """
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            for row, part in enumerate(parts):
                ids = inputs.input_ids[row, part]
                yield _read_one(
                    decoder, ids, len(ids) - 1 if last_only else 0, positions[row, part]
                )

    def read(
        self, sequences: Sequence[Ids], batch_size: int, last_only: bool
    ) -> Iterator[tuple[int, Logits]]:
        """Yield (index, logits [tokens, columns]) of sequences, each as if it were alone.

        Other calls wait from the first result to the last.

        Args:
            sequences: ids, int [length] each, at least one token; the longest are read first.
            batch_size: short sequences that one step reads together, at most.
            last_only: whether to yield those of the last token alone, [1, columns].

        Raises:
            InputError: a sequence cannot be read, or batch_size is below 1.
            ModelFileError: the model's numbers overflow.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; a number of at least 1 is allowed")
        checked = [PaddedInputs.check([ids], None, self.config).input_ids[0] for ids in sequences]
        with self.engine.exclusive():
            slots = max(1, min(batch_size, MAX_BATCHED_TOKENS, len(checked)))
            decoder = self.engine.decoder(slots)
            if decoder.pools_by_padding and self.config.pad_token_id is None:
                slots = 1
            for group in ragged_steps([len(ids) for ids in checked], slots):
                batch = [checked[index] for index in group]
                firsts = [len(ids) - 1 if last_only else 0 for ids in batch]
                if len(group) == 1:
                    results = [_read_one(decoder, batch[0], firsts[0])]
                else:
                    results = _read_batch(decoder, batch, firsts, self.config.pad_token_id or 0)
                for logits in results:
                    check_finite(logits)
                yield from zip(group, results, strict=True)


def _read_one(decoder: Decoder, ids: Ids, first: int, positions: Ids | None = None) -> Logits:
    """Return the logits of a sequence's tokens from `first` on; it is read in chunks."""
    decoder.cache.clear(0)
    chunks = decoder.prefill_chunks(0, ids, positions, first)
    return np.concatenate([chunk.logits for chunk in chunks])


def _read_batch(
    decoder: Decoder, sequences: Sequence[Ids], firsts: Sequence[int], fill: int
) -> list[Logits]:
    """Return the logits of short sequences, each from its first token on, read in one step."""
    rows = [
        (row, column)
        for row, (ids, first) in enumerate(zip(sequences, firsts, strict=True))
        for column in range(first, len(ids))
    ]
    logits = decoder.prefill_together(padded(sequences, fill), np.array(rows, np.int64)).logits
    lengths = [len(ids) - first for ids, first in zip(sequences, firsts, strict=True)]
    return np.split(logits, np.cumsum(lengths)[:-1])
