"""Running the first step of a graph that was just written, a few nodes at a time.

Every node and every weight goes through ONNX Runtime, as in one session, but only one layer's
weights are mapped at any time: an export stays within bounded memory, however large the model.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from gptneo_onnx.export.check.subgraph import Subgraph, Tensors, produced_by
from gptneo_onnx.models import graph as names
from gptneo_onnx.models.graph import GraphContract
from gptneo_onnx.models.portable_graph import ATTENTION_MASK, PAST_LENGTH

NODES_AT_ONCE = 8


def smoke_run(model: ModelProto, folder: Path, contract: GraphContract) -> NDArray[Any]:
    """Logits [..., vocab] behind token 0 as the first of a sequence.

    Args:
        model: the graph, its weights in `folder`.
        contract: what its inputs are, of types that ONNX Runtime's CPU has kernels for.
    """
    tensors = _first_inputs(contract)
    wanted_later = _last_uses(model)
    nodes = list(model.graph.node)
    for start in range(0, len(nodes), NODES_AT_ONCE):
        piece = nodes[start : start + NODES_AT_ONCE]
        end = start + len(piece)
        outputs = sorted(name for name in produced_by(piece) if wanted_later.get(name, -1) >= end)
        tensors |= Subgraph(model, piece, outputs, tensors, folder).run(tensors)
    return tensors[names.LOGITS]


def _first_inputs(contract: GraphContract) -> Tensors:
    """One token, id 0 at position 0, over caches of the least size."""
    sizes = defaultdict(lambda: 1, {PAST_LENGTH: 0})
    inputs = {
        spec.name: np.zeros(spec.shape(sizes), spec.data_type.value) for spec in contract.inputs
    }
    for name in (names.TOTAL_SEQUENCE_LENGTH, ATTENTION_MASK):
        if name in inputs:
            inputs[name] += 1
    return inputs


def _last_uses(model: ModelProto) -> dict[str, int]:
    """The index of the last node that reads each tensor; logits are read behind the last of all."""
    uses = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    return uses | {names.LOGITS: len(model.graph.node)}
