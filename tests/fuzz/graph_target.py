"""Graphs of ours and of Optimum's: what the checks accept is loaded in ONNX Runtime, and run.

An input is the number of an export, in a byte, and a graph that replaces the export's.
"""

import contextlib
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from checkpoints import Shape, write_checkpoint
from fuzzing import Target, mutate_bytes
from google.protobuf.message import DecodeError
from mutated_graphs import mutate_model
from task_checkpoints import write_task_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import NumberFormat, Precision, fused_contract
from gptneo_onnx.models.tasks import Head, Task
from gptneo_onnx.runtime.engine.session import create_session
from gptneo_onnx.runtime.model_files.fused_check import check_fused_graph
from gptneo_onnx.runtime.model_files.portable_check import check_portable_graph
from gptneo_onnx.runtime.model_files.portable_interface import PortableInterface

OPTIMUM = Path(__file__).parents[1] / "golden/optimum"
SHAPE = Shape(vocab_size=40, hidden_size=16, num_heads=2, window_size=4, max_position_embeddings=16)
# Sizes of a step: new tokens, and positions in the cache.
SEQUENCE, PAST = 3, 2
_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class Export:
    """A graph with the files that lie beside it, and how it is checked."""

    graph: bytes
    files: dict[str, bytes]
    precision: Precision | None = None  # of fused graphs
    task: Task = Task.TEXT_GENERATION_WITH_PAST


@functools.cache
def exports() -> Sequence[Export]:
    found = [_golden(path) for path in sorted(OPTIMUM.glob("*/*.onnx"))]
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(7)
        checkpoint = write_checkpoint(Path(folder) / "checkpoint", SHAPE, random)
        for number, precision in enumerate(("fp32", "int8", "int4", "w8a8")):
            for kind in ("fused", "portable"):
                out = Path(folder) / f"{kind}{number}"
                export_model(checkpoint, out, graph=kind, precision=precision)
                found.append(_own(out, Precision(precision) if kind == "fused" else None))
        classifier = Path(folder) / "classifier"
        write_task_checkpoint(classifier, Head.SEQUENCE_CLASSIFICATION, SHAPE, random)
        for kind in ("fused", "portable"):
            out = export_model(classifier, Path(folder) / f"{kind}-classifier", graph=kind)
            precision = Precision.FP32 if kind == "fused" else None
            found.append(_own(out, precision, Task.TEXT_CLASSIFICATION))
    return found


def _golden(path: Path) -> Export:
    return Export(path.read_bytes(), {"config.json": (path.parent / "config.json").read_bytes()})


def _own(
    out: Path, precision: Precision | None, task: Task = Task.TEXT_GENERATION_WITH_PAST
) -> Export:
    names = ("config.json", "model.onnx_data")
    files = {name: (out / name).read_bytes() for name in names}
    return Export((out / "model.onnx").read_bytes(), files, precision, task)


def seeds() -> list[bytes]:
    return [bytes([number]) + export.graph for number, export in enumerate(exports())]


def run(data: bytes, folder: Path) -> None:
    export = exports()[(data[0] if data else 0) % len(exports())]
    path = folder / "model.onnx"
    path.write_bytes(data[1:])
    for name, content in export.files.items():
        (folder / name).write_bytes(content)
    config = GPTNeoConfig.from_file(folder / "config.json")
    numbers = None
    if export.precision is not None:
        numbers = NumberFormat.of(export.precision)
        check_fused_graph(path, fused_contract(config, numbers, (), export.task), config)
    else:
        signature = check_portable_graph(path, config)
        PortableInterface.recognise(path, signature, config)
        if signature.unbounded:
            return  # it is loaded in a separate process
    _load_and_run(path, numbers, config)


def _load_and_run(path: Path, numbers: NumberFormat | None, config: GPTNeoConfig) -> None:
    inference = create_session(path, numbers, device="cpu", num_threads=1).inference
    feeds = {
        value.name: _feed(value, config, fused=numbers is not None)
        for value in inference.get_inputs()
    }
    with contextlib.suppress(Exception):  # ONNX Runtime's exceptions share no base but this
        inference.run(None, feeds)


def _feed(value: Any, config: GPTNeoConfig, fused: bool) -> Any:
    name, dtype = value.name, _NUMPY_TYPES[value.type]
    if name == "seqlens_k":
        return np.array([SEQUENCE - 1], dtype)
    if name == "total_sequence_length":
        return np.array(SEQUENCE, dtype)
    if name == "logits_rows":
        return np.array([[0, SEQUENCE - 1]], dtype)
    if name == "use_cache_branch":
        return np.array([True])
    if name == "attention_mask":
        with_past = len(value.shape) == 2 and value.shape[1] != "sequence_length"
        return np.ones((1, SEQUENCE + PAST if with_past else SEQUENCE), dtype)
    if name in ("input_ids", "position_ids"):
        return np.arange(SEQUENCE, dtype=dtype)[None]
    rows = config.max_position_embeddings if fused else PAST
    sizes = [1, config.num_heads, rows, config.head_dim]
    shape = [
        axis if isinstance(axis, int) else size
        for axis, size in zip(value.shape, sizes, strict=False)
    ]
    return np.ones(shape, dtype)


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change operators, attributes, weights and inputs; now and then bytes."""
    if random.random() < 0.1:
        return data[:1] + mutate_bytes(random, data[1:], [seed[1:] for seed in seeds])
    try:
        model = onnx.ModelProto.FromString(data[1:])
    except DecodeError:
        return data[:1] + mutate_bytes(random, data[1:], [seed[1:] for seed in seeds])
    mutate_model(random, model)
    return data[:1] + model.SerializeToString()


TARGET = Target(seeds, run, mutate)
