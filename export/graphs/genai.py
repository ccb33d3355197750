"""The fused graph with onnxruntime-genai's inputs and outputs.

The graph takes lengths from the attention mask:

    seqlens_k             = sum of the mask's row - 1
    total_sequence_length = columns of the mask
    last new token        = seqlens_k - (total - sequence), at most the last column of the step
"""

import numpy as np

from gptneo_onnx.export.graphs.fused import FusedGraph
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.graph import DataType
from gptneo_onnx.models.portable_graph import ATTENTION_MASK


class GenaiGraph(FusedGraph):
    """The graph for onnxruntime-genai."""

    logits = "last_logits"
    has_windowed_caches = False

    def build(self) -> None:
        self.lengths()
        super().build()
        # [batch, vocab] as [batch, 1, vocab]
        self.node("Unsqueeze", [self.logits, self.constant("second", 1)], names.LOGITS)

    def lengths(self) -> None:
        """Add seqlens_k, total_sequence_length and logits_rows."""
        one = self.graph.constant("one.int64", np.int64(1))
        tokens = self.node(
            "ReduceSum", [ATTENTION_MASK, self.constant("mask_axis", 1)], "tokens", keepdims=0
        )
        last = self.node("Sub", [tokens, one], "last")  # [batch]
        self.node("Cast", [last], names.SEQLENS_K, to=DataType.INT32.onnx)
        total = self.node("Shape", [ATTENTION_MASK], "total", start=1, end=2)
        total = self.node("Squeeze", [total], "total.scalar")
        self.node("Cast", [total], names.TOTAL_SEQUENCE_LENGTH, to=DataType.INT32.onnx)
        self.last_rows(last, total, one)

    def last_rows(self, last: str, total: str, one: str) -> None:
        """Add logits_rows: (index into batch, index into sequence) of each last new token."""
        zero = self.graph.constant("zero.int64", np.int64(0))
        batch, sequence = (
            self.node(
                "Squeeze",
                [self.node("Shape", [names.INPUT_IDS], f"{name}.shape", start=at, end=at + 1)],
                name,
            )
            for at, name in enumerate(("batch", "sequence"))
        )
        past = self.node("Sub", [total, sequence], "past")
        end = self.node("Sub", [sequence, one], "end")
        column = self.node("Sub", [last, past], "last_column.unbounded")
        column = self.node("Clip", [column, zero, end], "last_column")
        row = self.node("Range", [zero, batch, one], "last_row")
        axis = self.constant("second", 1)
        pairs = [self.node("Unsqueeze", [index, axis], f"{index}.wide") for index in (row, column)]
        self.node("Concat", pairs, names.LOGITS_ROWS, axis=1)

    def constant(self, name: str, value: int) -> str:
        """Add a constant int64 [1]."""
        return self.graph.constant(name, np.array([value], np.int64))
