"""Choosing between the graphs of a directory that was exported in several precisions."""

from pathlib import Path

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.models.manifest import GRAPH_FILE, MANIFEST_FILE, Manifest

# From the fewest bytes of weights, which a step reads, to the most.
_BY_SIZE = (
    Precision.INT4, Precision.W8A8, Precision.INT8, Precision.FP16, Precision.BF16, Precision.FP32,
)  # fmt: skip


def graph_in_precision(
    directory: Path, precision: str, file_name: str | None = None, argument: str = "precision"
) -> str:
    """Return the file name of a directory's graph in a precision.

    Args:
        directory: the exported directory.
        precision: the name of the precision.
        file_name: a graph of the kind that is looked for; by default model.onnx.
        argument: what the caller calls `precision`, for the message.

    Raises:
        InputError: the directory has no such graph, or says nothing of precisions.
        ModelFileError: its manifest is damaged.
    """
    names = _names(directory, file_name, f"{argument} is {shown(precision)}")
    for each, name in names.items():
        if each.value == precision:
            return name
    there = [each.value for each in names]
    is_known = precision in [each.value for each in Precision]
    wanted = ",".join([*there, precision]) if is_known else ""
    raise InputError(
        f"{argument} is {shown(precision)}, and {directory} has {', '.join(there)}; name one of "
        "these" + (f", or export the checkpoint with --precision {wanted}" if is_known else "")
    )


def smallest_other(
    directory: Path, file_name: str | None = None, argument: str = "self_draft"
) -> str:
    """Return the precision that reads the fewest bytes, of those smaller than a graph's own.

    Args:
        directory: the exported directory.
        file_name: the graph; by default model.onnx.
        argument: what the caller calls its request, for the message.

    Raises:
        InputError: no precision is smaller, or the directory does not name its precisions.
        ModelFileError: its manifest is damaged.
    """
    request = f"{argument} needs a smaller precision to draft"
    names = _names(directory, file_name, request)
    own = Manifest.read(directory).graphs[file_name or GRAPH_FILE].numbers.precision
    for precision in _BY_SIZE[: _BY_SIZE.index(own)]:
        if precision in names:
            return precision.value
    raise InputError(
        f"{request}, and {directory} has {', '.join(each.value for each in names)}, none smaller "
        f"than {own.value}; export the checkpoint with --precision fp32,int4: int4 "
        "then drafts for fp32"
    )


def _names(directory: Path, file_name: str | None, request: str) -> dict[Precision, str]:
    """Return the graphs of a graph's kind by precision; `request` begins the message."""
    if not (directory / MANIFEST_FILE).is_file():
        raise InputError(
            f"{request}, and {directory} has no {MANIFEST_FILE}, which names precisions; name a "
            "graph by file_name, or export the checkpoint with gptneo-onnx"
        )
    graphs = Manifest.read(directory).graphs
    own = graphs.get(file_name or GRAPH_FILE)
    if own is None:
        raise InputError(f"file_name is {shown(file_name)}; {directory} has {', '.join(graphs)}")
    return {
        entry.numbers.precision: name for name, entry in graphs.items() if entry.kind == own.kind
    }
