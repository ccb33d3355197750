"""Steps through a whole exported graph of any kind in the plainest way, for verify.py.

Caches go in and come out as arrays. The runtime binds them in place instead; a test compares the
two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.check.onnx_runtime import import_onnx_runtime
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import GraphContract
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, BATCH_SIZE, PAST_LENGTH


@dataclass
class GraphStepper:
    """A sequence that is stepped through a graph on the CPU, one or more tokens at a time.

    Attributes:
        length: the tokens stepped through so far. A graph without past takes one step alone.
        caches: by the names of the graph's inputs.
        hidden_states: [tokens, hidden] of the last step, for each layer that the graph gives.
    """

    session: Any
    contract: GraphContract
    config: GPTNeoConfig
    length: int = 0
    caches: dict[str, NDArray[Any]] = field(default_factory=dict)
    hidden_states: dict[int, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, graph: Path, contract: GraphContract, config: GPTNeoConfig) -> "GraphStepper":
        onnxruntime = import_onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return cls(session, contract, config)

    def step(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append ids [tokens] to the sequence, and set `hidden_states`.

        Returns:
            What the head gives [rows, columns]: at each of these tokens, or at the last one alone
            where the graph gives no more. Without a head, [0, 0].
        """
        if not self.caches and self.contract.takes_past:
            self.caches = self._empty_caches()
        positions = np.arange(self.length, self.length + len(ids))
        self.length += len(ids)
        rows = np.stack([np.zeros_like(ids), np.arange(len(ids))], axis=1)  # [tokens, 2]
        step_inputs = {
            names.INPUT_IDS: ids[None],
            names.POSITION_IDS: positions[None],
            names.SEQLENS_K: np.array([self.length - 1], np.int32),
            names.TOTAL_SEQUENCE_LENGTH: np.array(self.length, np.int32),
            names.LOGITS_ROWS: rows,
            ATTENTION_MASK: np.ones((1, self.length), np.int64),
        }
        feeds = {spec.name: step_inputs[spec.name] for spec in self.contract.step_inputs}
        outputs = self.session.run(None, feeds | self.caches)
        results: dict[str, NDArray[Any]] = {
            spec.name: output for spec, output in zip(self.contract.outputs, outputs, strict=True)
        }
        for cache in self.contract.caches if self.contract.takes_past else ():
            for past, present in zip(cache.past, cache.present, strict=True):
                self.caches[past.name] = results[present.name]
        states = self.contract.hidden_states.items()
        self.hidden_states = {layer: results[spec.name][0] for layer, spec in states}
        return self._rows([results[spec.name] for spec in self.contract.results])

    def _rows(self, results: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return a row of the head's columns for each token."""
        if not results:
            return np.zeros((0, 0), np.float32)
        columns = self.contract.task.columns(self.config)
        per_result = columns // len(results)
        return np.concatenate([each.reshape(-1, per_result) for each in results], axis=1)

    def _empty_caches(self) -> dict[str, NDArray[Any]]:
        capacity = self.config.max_position_embeddings
        sizes = {names.BATCH: 1, names.CAPACITY: capacity, BATCH_SIZE: 1, PAST_LENGTH: 0}
        return {
            spec.name: np.zeros(spec.shape(sizes), spec.data_type.value)
            for cache in self.contract.caches
            for spec in cache.past
        }
