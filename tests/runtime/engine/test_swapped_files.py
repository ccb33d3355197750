"""Another process swaps a model's files while they are loaded: what is loaded was checked."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import file_swapper
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gptneo_onnx.models.errors import GPTNeoOnnxError, ModelFileError
from gptneo_onnx.models.manifest import MANIFEST_FILE, record_files
from gptneo_onnx.runtime.engine import session
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.model_files.directory import open_model_directory

WEIGHTS = "model.onnx_data"
LOADS = 25  # by each trick
IDS = np.arange(9)

Logits = NDArray[np.float32]


def load(directory: Path) -> Engine:
    return Engine.load(directory, device="cpu", num_threads=1, trust_graph=True)


def logits_of(engine: Engine) -> Logits:
    decoder = engine.decoder(slots=1)
    decoder.cache.clear(0)
    return decoder.prefill(0, IDS).copy()


def loads_beside(
    trick: str, model: Path, other: Path, random: np.random.Generator
) -> list[Logits | GPTNeoOnnxError]:
    """Load a model while another process swaps its files, at many moments; return what each gave.

    The logits are computed when the files are back: a weight that is read from the file when it is
    needed shows what was written into it since.
    """
    model.with_name("link").symlink_to(model)
    path = model.with_name("link") if trick == "linked_directory" else model
    began = time.perf_counter()
    load(path)
    seconds = time.perf_counter() - began
    program = [sys.executable, file_swapper.__file__, trick, str(model), str(other)]
    results: list[Logits | GPTNeoOnnxError] = []
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        for _ in range(LOADS):
            between = random.choice([0, 0.0005, 0.002, 0.01])
            process.stdin.write(f"{random.uniform(0, 1.5 * seconds)} {between}\n")
            process.stdin.flush()
            try:
                engine = load(path)
            except GPTNeoOnnxError as error:
                results.append(error)
                process.stdout.readline()
                continue
            assert process.stdout.readline() == "done\n"
            results.append(logits_of(engine))
        process.stdin.close()
    assert process.returncode == 0
    return results


def another(model: Path, names: str) -> Path:
    """A copy of a model, of which the files of these names are to be swapped."""
    other = model.with_name("other")
    shutil.copytree(model, other)
    (other / ".names").write_text(names)
    return other


def change_weights(path: Path) -> None:
    weights = np.fromfile(path, np.float32)
    (weights * np.float32(1.5)).tofile(path)


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["fused", "portable"])
@pytest.mark.parametrize("trick", file_swapper.TRICKS)
def test_swapped_weights_are_never_run(
    export_shape: Callable[..., Path], random: np.random.Generator, trick: str, graph: str
) -> None:
    model = export_shape(graph=graph)
    right = logits_of(load(model))
    other = another(model, WEIGHTS)
    change_weights(other / WEIGHTS)
    for result in loads_beside(trick, model, other, random):
        if not isinstance(result, GPTNeoOnnxError):
            np.testing.assert_array_equal(result, right)


@pytest.mark.slow
@pytest.mark.parametrize("trick", ["renamed", "hard_linked", "written", "copied"])
def test_where_files_are_opened_by_path_swapped_weights_are_noticed(
    export_shape: Callable[..., Path],
    random: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    trick: str,
) -> None:
    """ONNX Runtime before 1.32 opens the files itself; directories must not be swapped there."""
    monkeypatch.setattr(session, "is_onnx_runtime", lambda least: False)
    test_swapped_weights_are_never_run(export_shape, random, trick, "fused")


@pytest.mark.slow
@pytest.mark.parametrize("trick", file_swapper.TRICKS)
def test_a_graph_that_the_check_refuses_is_never_run(
    export_shape: Callable[..., Path], random: np.random.Generator, trick: str
) -> None:
    """Nothing says which contents of another exporter's directory are right."""
    model = export_shape(graph="portable")
    (model / MANIFEST_FILE).unlink()
    right = logits_of(load(model))
    other = another(model, "model.onnx")
    scale_logits(other / "model.onnx")
    with pytest.raises(ModelFileError, match="domain"):
        load(other)
    for result in loads_beside(trick, model, other, random):
        if not isinstance(result, GPTNeoOnnxError):
            np.testing.assert_array_equal(result, right)


def scale_logits(path: Path) -> None:
    """Have a graph scale its logits by an operator that ONNX Runtime has, and the check refuses."""
    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:
        node.output[:] = ["unscaled" if name == "logits" else name for name in node.output]
    graph.opset_import.add(domain="ai.onnx.ml", version=1)
    node = onnx.helper.make_node(
        "Scaler", ["unscaled"], ["logits"], domain="ai.onnx.ml", scale=[2.0], offset=[0.0]
    )
    graph.graph.node.append(node)
    path.write_bytes(graph.SerializeToString())


# A single change, at each moment.


def test_a_file_that_is_changed_after_it_was_opened_is_refused(
    export_shape: Callable[..., Path],
) -> None:
    directory = export_shape()
    for name in ("config.json", "model.onnx", WEIGHTS):
        model = open_model_directory(directory)
        with (directory / name).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(first)
        with pytest.raises(ModelFileError, match=f"{name} was changed while it was loaded"):
            model.verification.finish()
        open_model_directory(directory).verification.finish()


def test_a_file_that_is_replaced_after_it_was_opened_is_not_the_one_that_is_loaded(
    export_shape: Callable[..., Path], tmp_path: Path
) -> None:
    directory = export_shape()
    model = open_model_directory(directory)
    shutil.copytree(directory, tmp_path / "other")
    record_files(tmp_path / "other")
    directory.rename(tmp_path / "aside")
    (tmp_path / "other").rename(directory)
    model.verification.finish()
    with pytest.raises(ModelFileError, match="was changed while it was loaded"):
        open_model_directory_by_path(directory, tmp_path)


def open_model_directory_by_path(directory: Path, tmp_path: Path) -> None:
    """Open a model, swap its directory, and finish as where ONNX Runtime opens files by path."""
    model = open_model_directory(directory)
    shutil.copytree(directory, tmp_path / "third")
    directory.rename(tmp_path / "aside2")
    (tmp_path / "third").rename(directory)
    model.verification.finish(by_path=True)
