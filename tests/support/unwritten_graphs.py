"""Graphs with weights files of zeros, which take up no disk, however large the model is."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from checkpoints import Shape
from zero_checkpoint import write_zero_checkpoint

from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.export.graph_files import FormatFiles, build_graphs
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import GraphContract, NumberFormat
from gptneo_onnx.models.tasks import Task

PUBLISHED = {
    "125M": Shape(50257, 768, 12, ("global", "local") * 6, 256, 2048),
    "1.3B": Shape(50257, 2048, 16, ("global", "local") * 12, 256, 2048),
    "2.7B": Shape(50257, 2560, 20, ("global", "local") * 16, 256, 2048),
}


@dataclass(frozen=True)
class UnwrittenGraph:
    """A graph that was built, and its contract and config."""

    path: Path
    contract: GraphContract
    config: GPTNeoConfig


def build_unwritten(folder: Path, shape: Shape, kind: str, numbers: NumberFormat) -> UnwrittenGraph:
    """Write the graph of a shape, its config.json and a sparse weights file to a folder."""
    checkpoint = folder / "checkpoint"
    source = open_checkpoint(write_zero_checkpoint(checkpoint, shape))
    files = FormatFiles(numbers, {kind: folder / "model.onnx"}, folder / "model.onnx_data")
    task = Task.TEXT_GENERATION_WITH_PAST
    [graph], stored = build_graphs(source, files, (), task, ())
    graph.path.write_bytes(graph.model.SerializeToString())
    with files.weights.open("wb") as file:
        file.truncate(stored.file_bytes)
    (folder / "config.json").write_text(json.dumps(shape.config))
    shutil.rmtree(checkpoint)
    return UnwrittenGraph(graph.path, graph.contract, source.config)
