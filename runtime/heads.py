"""The models with a head that is not the vocabulary, with the names of transformers' classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.arrays import Ids, Logits
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.label_model import LabelModel


@dataclass(frozen=True)
class SequenceClassifierOutput:
    """The output of a call.

    Attributes:
        logits: float32 [batch, labels], of the last token of each sequence.
    """

    logits: NDArray[np.float32]


@dataclass(frozen=True)
class TokenClassifierOutput:
    """The output of a call; zeros at padded positions.

    Attributes:
        logits: float32 [batch, sequence, labels].
    """

    logits: NDArray[np.float32]


@dataclass(frozen=True)
class QuestionAnsweringModelOutput:
    """The outputs of a call; zeros at padded positions.

    Attributes:
        start_logits, end_logits: that the answer starts and ends at a token, float32
            [batch, sequence].
    """

    start_logits: NDArray[np.float32]
    end_logits: NDArray[np.float32]


class GPTNeoForSequenceClassification(LabelModel):
    """transformers.GPTNeoForSequenceClassification on ONNX Runtime."""

    head = Head.SEQUENCE_CLASSIFICATION

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
    ) -> SequenceClassifierOutput:
        """Return the labels' logits at the last token of each sequence.

        That is the rightmost token which is not pad_token_id, whatever the mask says; without a
        pad_token_id, the last column. Nothing after it is computed.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on either side.
            position_ids: int [batch, sequence]; by default the columns' numbers, padding included.

        Raises:
            InputError: ids are out of range, the mask has holes, a sequence is longer than the
                context, or the token whose logits would be returned is masked; config.json has no
                pad_token_id and there are several sequences.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        positions = inputs.positions(position_ids, self.config)
        _check_pad_token(self.config, len(inputs.input_ids))
        parts = [
            _to_last_token(ids, columns, row, self.config)
            for row, (ids, columns) in enumerate(zip(inputs.input_ids, inputs.columns, strict=True))
        ]
        rows = self.rows(inputs, positions, parts, last_only=True)
        return SequenceClassifierOutput(np.concatenate([*rows]))

    def of_sequences(
        self, sequences: Sequence[Ids], batch_size: int = 1
    ) -> Iterator[tuple[int, Logits]]:
        """Yield (index, logits [labels]) of sequences; see LabelModel.read()."""
        parts = [ids[: last_token(ids, self.config) + 1] for ids in sequences]
        for index, logits in self.read(parts, batch_size, last_only=True):
            yield index, logits[0]


class GPTNeoForTokenClassification(LabelModel):
    """transformers.GPTNeoForTokenClassification on ONNX Runtime."""

    head = Head.TOKEN_CLASSIFICATION

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
    ) -> TokenClassifierOutput:
        """Return the labels' logits at every token; see GPTNeoForCausalLM.__call__."""
        return TokenClassifierOutput(_of_tokens(self, input_ids, attention_mask, position_ids))

    def of_sequences(
        self, sequences: Sequence[Ids], batch_size: int = 1
    ) -> Iterator[tuple[int, Logits]]:
        """Yield (index, logits [length, labels]) of sequences; see LabelModel.read()."""
        return self.read(sequences, batch_size, last_only=False)


class GPTNeoForQuestionAnswering(LabelModel):
    """transformers.GPTNeoForQuestionAnswering on ONNX Runtime."""

    head = Head.QUESTION_ANSWERING

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Return both logits at every token; see GPTNeoForCausalLM.__call__ for arguments."""
        logits = _of_tokens(self, input_ids, attention_mask, position_ids)
        start, end = np.moveaxis(logits, -1, 0)
        return QuestionAnsweringModelOutput(start.copy(), end.copy())

    def of_sequences(
        self, sequences: Sequence[Ids], batch_size: int = 1
    ) -> Iterator[tuple[int, Logits]]:
        """Yield (index, start and end logits [length, 2]) of sequences; see LabelModel.read()."""
        return self.read(sequences, batch_size, last_only=False)


def last_token(ids: Ids, config: GPTNeoConfig) -> int:
    """Return the index of the token that a sequence [length] is classified by.

    As transformers.GPTNeoForSequenceClassification: the rightmost that is not pad_token_id; the
    first one if all are.
    """
    if config.pad_token_id is None:
        return len(ids) - 1
    tokens = np.flatnonzero(ids != config.pad_token_id)
    return int(tokens[-1]) if len(tokens) else 0


def _check_pad_token(config: GPTNeoConfig, batch: int) -> None:
    if batch > 1 and not config.names_pad_token:
        raise InputError(
            f"config.json has no pad_token_id, and input_ids has {batch} sequences, whose padding "
            "would be unknown; pass one at a time, or set pad_token_id in the checkpoint's "
            "config.json and export it again"
        )


def _to_last_token(ids: Ids, columns: slice, row: int, config: GPTNeoConfig) -> slice:
    """Return the columns of a row [sequence] that its classification depends on."""
    last = last_token(ids, config)
    if not columns.start <= last < columns.stop:
        raise InputError(
            f"sequence {row} would be classified by its column {last}, which attention_mask "
            f"masks; pad with pad_token_id ({config.pad_token_id}), or leave the padding out"
        )
    return slice(columns.start, last + 1)


def _of_tokens(
    model: LabelModel,
    input_ids: ArrayLike,
    attention_mask: ArrayLike | None,
    position_ids: ArrayLike | None,
) -> Logits:
    """Return logits [batch, sequence, columns], zeros at padded positions."""
    inputs = PaddedInputs.check(input_ids, attention_mask, model.config)
    positions = inputs.positions(position_ids, model.config)
    columns = model.engine.task.columns(model.config)
    logits = np.zeros((*inputs.input_ids.shape, columns), np.float32)
    rows = model.rows(inputs, positions, inputs.columns)
    for row, (part, part_logits) in enumerate(zip(inputs.columns, rows, strict=True)):
        logits[row, part] = part_logits
    return logits
