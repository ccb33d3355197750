"""Runs the first step of a graph that was just written, a few nodes at a time.

Every node and every weight goes through ONNX Runtime, as in one session, but at most one layer's
weights are mapped at a time: an export stays within bounded memory, however large the model.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from gptneo_onnx.export.check.subgraph import Subgraph, Tensors, produced_by
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.graph import GraphContract
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, BATCH_SIZE, PAST_LENGTH

NODES_AT_ONCE = 8


def smoke_run(
    model: ModelProto, folder: Path, contract: GraphContract, ids: Sequence[int]
) -> list[NDArray[Any]]:
    """Return what the head gives for some tokens, which begin a sequence.

    Without a head, the last hidden states.

    Args:
        model: the graph, whose weights are in `folder`.
        contract: its inputs, of types that ONNX Runtime's CPU has kernels for.
        ids: the tokens; no more than the context has positions.
    """
    tensors = _first_inputs(contract, np.array(ids))
    results = [spec.name for spec in contract.results or [*contract.hidden_states.values()][-1:]]
    last_reader = _last_readers(model, results)
    nodes = list(model.graph.node)
    for start in range(0, len(nodes), NODES_AT_ONCE):
        group = nodes[start : start + NODES_AT_ONCE]
        end = start + len(group)
        outputs = sorted(name for name in produced_by(group) if last_reader.get(name, -1) >= end)
        tensors |= Subgraph(model, group, outputs, tensors, folder).run(tensors)
    return [tensors[name] for name in results]


def _first_inputs(contract: GraphContract, ids: NDArray[np.int64]) -> Tensors:
    """Return the inputs of a first step, with caches as small as they can be."""
    length = len(ids)
    sizes = defaultdict(lambda: length, {names.BATCH: 1, BATCH_SIZE: 1, PAST_LENGTH: 0})
    indices = np.arange(length)
    values = {
        names.INPUT_IDS: ids,
        names.POSITION_IDS: indices,
        names.SEQLENS_K: length - 1,
        names.TOTAL_SEQUENCE_LENGTH: length,
        names.LOGITS_ROWS: np.stack([np.zeros_like(indices), indices], axis=1),
        ATTENTION_MASK: 1,
    }
    inputs = {}
    for spec in contract.inputs:
        inputs[spec.name] = np.zeros(spec.shape(sizes), spec.data_type.value)
        inputs[spec.name][...] = values.get(spec.name, 0)
    return inputs


def _last_readers(model: ModelProto, results: Sequence[str]) -> dict[str, int]:
    """Return the index of the last node that reads each tensor; the caller reads results after all.

    Other outputs are not collected.
    """
    readers = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    return readers | dict.fromkeys(results, len(model.graph.node))
