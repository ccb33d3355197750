"""A graph that would end the process, fill memory or never end is found out in a child process."""

import json
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.runtime import GPTNeoForCausalLM, pipeline
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.engine import trial_load
from gptneo_onnx.runtime.engine.trial_load import REMEMBERED_FILE, check_by_trial
from gptneo_onnx.runtime.engine.trial_process import Limits
from gptneo_onnx.runtime.files import cache_folder
from gptneo_onnx.runtime.model_files.directory import PortableModel, open_model_directory
from gptneo_onnx.runtime.model_files.held_file import HeldFile, HeldGraph

OPTIMUM = Path(__file__).parents[2] / "golden" / "optimum"
GIB = 2**30
Draft = tuple[list[NodeProto], dict[str, np.ndarray[Any, Any]]]

# Nodes that compute the int64 scalar "extra", and their constants.
DIVISION: Draft = (
    [
        helper.make_node("Div", ["least", "minus_one"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["extra"], to=TensorProto.INT64),
    ],
    {"least": np.array([-(2**31)], np.int32), "minus_one": np.array([-1], np.int32)},
)
MEMORY: Draft = (
    [
        helper.make_node("ConstantOfShape", ["shape"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["extra"], to=TensorProto.INT64),
    ],
    {"shape": np.array([800_000_000], np.int64)},
)
TIME: Draft = (
    [
        helper.make_node("ConstantOfShape", ["shape"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(500)),
        helper.make_node("ReduceMax", ["m500"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["extra"], to=TensorProto.INT64),
    ],
    {"shape": np.array([3000, 3000], np.int64)},
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def foreign(export_shape: Callable[..., Path]) -> Path:
    """A directory without a manifest."""
    directory = export_shape(graph="portable")
    (directory / MANIFEST_FILE).unlink()
    return directory


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a child process is started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def with_nodes(directory: Path, draft: Draft) -> PortableModel:
    """An opened model whose graph was changed after the check, so that the trial alone sees it."""
    model = open_model_directory(directory)
    assert isinstance(model, PortableModel)
    path = changed_graph(directory)
    graph = onnx.load(model.graphs[0], load_external_data=False)
    for node in graph.graph.node:
        node.input[:] = ["changed_ids" if name == "input_ids" else name for name in node.input]
    nodes, constants = draft
    add = helper.make_node("Add", ["input_ids", "extra"], ["changed_ids"])
    own = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, add, *own])
    graph.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    path.write_bytes(graph.SerializeToString())
    held = HeldGraph(HeldFile(path), model.held[0].data_files)
    return replace(model, graphs=(path,), held=(held,))


def changed_graph(directory: Path) -> Path:
    return directory.with_name("changed.onnx")  # a second graph in the directory would be one more


def refused(model: PortableModel, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        check_by_trial(model, limits=limits)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(model.graphs[0]))
    assert "export the checkpoint again" in message
    assert "--trust-graph" in message


# What goes wrong.


def test_a_graph_that_ends_the_process_is_refused(foreign: Path, cache: Path) -> None:
    model = with_nodes(foreign, DIVISION)
    for _ in range(2):
        refused(model, "changed.onnx ends the process that loads it with SIGFPE; export")
    assert not (cache / REMEMBERED_FILE).exists()


def test_a_graph_that_takes_much_memory_is_refused(foreign: Path) -> None:
    refused(with_nodes(foreign, MEMORY), "takes more than 1.07 GB of memory to load")


def test_a_graph_that_takes_much_processor_time_is_refused(foreign: Path) -> None:
    limits = Limits(GIB, cpu_seconds=1, seconds=60)
    refused(with_nodes(foreign, TIME), "takes more than 1 s to load", limits)


def test_a_graph_that_takes_long_is_refused(foreign: Path) -> None:
    limits = Limits(GIB, cpu_seconds=60, seconds=1)
    refused(with_nodes(foreign, TIME), "takes more than 1 s to load", limits)


def test_a_graph_of_two_is_named_with_the_other(foreign: Path) -> None:
    model = with_nodes(foreign, DIVISION)
    pair = replace(
        model,
        graphs=model.graphs * 2,
        held=model.held * 2,
        interfaces=model.interfaces * 2,
    )
    refused(pair, "changed.onnx and .*changed.onnx ends the process")


def test_what_onnx_runtime_refuses_in_words_is_left_to_it(foreign: Path, cache: Path) -> None:
    """Loading it here says why."""
    nodes = [helper.make_node("Cast", ["text"], ["extra"], to=TensorProto.INT64)]
    model = with_nodes(foreign, (nodes, {"text": np.array([[b"a"]], np.object_)}))
    check_by_trial(model)
    assert not (cache / REMEMBERED_FILE).exists()


def test_a_child_that_ends_without_a_word_is_no_success(
    foreign: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_load, "_PROGRAM", "raise SystemExit(0)")
    model = open_model_directory(foreign)
    with pytest.raises(ModelFileError, match="ends the process that loads it with status 0"):
        check_by_trial(model)


# What is tried, and when.


@pytest.mark.parametrize("name", sorted(path.name for path in OPTIMUM.iterdir()))
def test_graphs_of_optimum_pass(name: str, cache: Path) -> None:
    model = open_model_directory(OPTIMUM / name)
    check_by_trial(model)
    model.verification.finish()
    assert [*json.loads((cache / REMEMBERED_FILE).read_text()).values()] == [
        onnxruntime.__version__
    ]


def test_a_graph_is_tried_once(foreign: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GPTNeoForCausalLM.from_pretrained(foreign, device="cpu")
    with monkeypatch.context() as patched:
        no_child.__wrapped__(patched)  # type: ignore[attr-defined]
        GPTNeoForCausalLM.from_pretrained(foreign, device="cpu")
        patched.setattr(onnxruntime, "__version__", "1.99.0")
        with pytest.raises(AssertionError, match="a child process is started"):
            GPTNeoForCausalLM.from_pretrained(foreign, device="cpu")
    (foreign / "model.onnx").touch()
    monkeypatch.setattr(trial_load, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(ModelFileError, match="ends the process that loads it with status 3"):
        GPTNeoForCausalLM.from_pretrained(foreign, device="cpu")


def test_trusted_graphs_are_not_tried(foreign: Path, cache: Path, no_child: None) -> None:
    model = GPTNeoForCausalLM.from_pretrained(foreign, device="cpu", trust_graph=True)
    assert pickle.loads(pickle.dumps(model.engine)).fingerprint == model.engine.fingerprint
    assert not (cache / REMEMBERED_FILE).exists()


def test_a_pipeline_takes_trust_graph(
    embedded_export: Path, tmp_path: Path, cache: Path, no_child: None
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(OPTIMUM / "2.1-with-past", foreign)
    tokenizer = str(embedded_export)
    assert pipeline(model=foreign, tokenizer=tokenizer, device="cpu", trust_graph=True)
    options = {"trust_graph": True}
    assert pipeline(model=foreign, tokenizer=tokenizer, device="cpu", model_kwargs=options)


@pytest.mark.parametrize("graph", ["fused", "portable"])
def test_graphs_of_this_project_are_not_tried(
    export_shape: Callable[..., Path], no_child: None, graph: str
) -> None:
    check_by_trial(open_model_directory(export_shape(graph=graph)))


def test_a_graph_of_unknown_sizes_is_tried(export_shape: Callable[..., Path], cache: Path) -> None:
    model = with_nodes(export_shape(graph="portable"), DIVISION)
    assert model.manifest is not None
    refused(replace(model, unbounded=("Div",)), "with SIGFPE")


@pytest.mark.parametrize("value", [1, "yes", None])
def test_trust_graph_is_true_or_false(foreign: Path, value: Any) -> None:
    with pytest.raises(InputError, match="trust_graph is .*; True or False is allowed"):
        check_by_trial(open_model_directory(foreign), value)


def test_where_no_process_can_be_started_it_says_so(
    foreign: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_nodes(foreign, DIVISION)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    refused(model, "cannot be tried: no process can be started .No such file or directory.")
    monkeypatch.setattr(sys, "executable", "")
    refused(model, "cannot be tried: there is no Python to start beside this program")


# The child ends with its parent.

_PARENT = """
import sys
from dataclasses import replace
from pathlib import Path
from gptneo_onnx.runtime.engine.trial_load import check_by_trial
from gptneo_onnx.runtime.model_files.directory import open_model_directory
from gptneo_onnx.runtime.model_files.held_file import HeldFile, HeldGraph
model = open_model_directory(sys.argv[1])
held = HeldGraph(HeldFile(Path(sys.argv[2])), model.held[0].data_files)
check_by_trial(replace(model, held=(held,)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc and pidfd_open")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_its_parent(foreign: Path, cache: Path, kind: int) -> None:
    with_nodes(foreign, TIME)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = [sys.executable, "-c", _PARENT, str(foreign), str(changed_graph(foreign))]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL, env=environment) as parent:
        child = os.pidfd_open(child_of(parent))
        parent.send_signal(kind)
    ended, _, _ = select.select([child], [], [], 30)
    os.close(child)
    assert ended
    assert parent.returncode != 0


def child_of(parent: "subprocess.Popen[bytes]") -> int:
    """Wait until a process has a child, and return its id."""
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (found := children.read_text().split()):
        assert parent.poll() is None
    return int(found[0])


def test_an_error_of_another_kind_does_not_hide(foreign: Path, cache: Path) -> None:
    """Opening and loading it gives what was always given."""
    (foreign / "model.onnx_data").unlink()
    with pytest.raises(GPTNeoOnnxError, match="model.onnx_data is missing"):
        GPTNeoForCausalLM.from_pretrained(foreign, device="cpu")


def test_the_command_line_takes_trust_graph(
    tmp_path: Path, cache: Path, no_child: None, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = export_model(EMBEDDED_CHECKPOINT, tmp_path / "foreign", graph="portable")
    (foreign / MANIFEST_FILE).unlink()
    options = ["--device", "cpu", "--trust-graph", "--max-new-tokens", "1"]
    assert main(["generate", str(foreign), "It is", *options]) == 0
    assert capsys.readouterr().out.startswith("It is")
