"""The order in which operators can be computed.

ONNX asks for that order in the file. ONNX Runtime does not, and its converter to float16 appends
operators at the end.
"""

from collections import deque
from collections.abc import Container, Iterator, Sequence

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files.graph_nodes import Graph, Node


def in_order(nodes: Sequence[Node], given: Container[str]) -> Sequence[Node]:
    """Return operators so that each comes after those whose results it reads.

    Args:
        nodes: the operators of a graph.
        given: the names that are there before: inputs, weights and results of graphs around it.

    Raises:
        ModelFileError: operators read each other's results in a circle.
    """
    makers = {name: at for at, node in enumerate(nodes) for name in node.outputs if name}
    reads = [
        {makers[name] for name in read_by(node) if name in makers and name not in given}
        for node in nodes
    ]
    if all(max(makers_of, default=-1) < at for at, makers_of in enumerate(reads)):
        return nodes
    waiting = [len(makers_of) for makers_of in reads]
    readers: list[list[int]] = [[] for _ in nodes]
    for at, makers_of in enumerate(reads):
        for maker in makers_of:
            readers[maker].append(at)
    ready = deque(at for at, count in enumerate(waiting) if not count)
    ordered = []
    while ready:
        at = ready.popleft()
        ordered.append(nodes[at])
        for reader in readers[at]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(ordered) < len(nodes):
        raise ModelFileError("operators read each other's results in a circle")
    return ordered


def read_by(node: Node) -> Iterator[str]:
    """Yield the names that an operator reads, and those that graphs in it read from outside."""
    yield from node.inputs
    if node.operator == "If":
        for attribute in node.attributes().values():
            if attribute.graph is not None:
                yield from _read_from_outside(attribute.graph)


def _read_from_outside(graph: Graph) -> set[str]:
    own = {tensor.name for tensor in graph.initializers()}
    read = {*graph.outputs()}
    for node in graph.nodes():
        own.update(node.outputs)
        read.update(read_by(node))
    return read - own
