"""A model leaves the floating-point state of its callers' threads as it was, and needs none."""

import ctypes
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from onnx import TensorProto, helper

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.denormals import control_register
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.session import create_session_of_bytes

pytestmark = pytest.mark.skipif(
    control_register() is None, reason="only where glibc's fenv_t on x86-64 is known"
)


FE_DFL_ENV = ctypes.c_void_p(-1)


@pytest.fixture(autouse=True)
def default_state() -> None:
    """Begin with the C library's default: sessions of other tests may have left another one."""
    ctypes.CDLL(None).fesetenv(FE_DFL_ENV)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graphs") / "out"
    return export_model(EMBEDDED_CHECKPOINT, out, graph=["fused", "portable"])


SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal


def keeps_denormals() -> bool:
    return bool((np.full(8, SMALLEST_NORMAL) * np.float32(0.5))[0] > 0)


class Streamer:
    """Looks at the thread's state while generate() runs."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def put(self, ids: object) -> None:
        self.seen.append(keeps_denormals())

    def end(self) -> None:
        self.seen.append(keeps_denormals())


@pytest.mark.parametrize("file_name", ["model.onnx", "portable.onnx"])
def test_loading_and_generating_leave_it(directory: Path, file_name: str) -> None:
    assert keeps_denormals()
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", file_name=file_name)
    assert keeps_denormals()
    streamer = Streamer()
    model.generate([[1, 2, 3]], max_new_tokens=3, streamer=streamer)
    assert len(streamer.seen) == 5
    assert all(streamer.seen)
    assert keeps_denormals()


def test_exporting_leaves_it(tmp_path: Path) -> None:
    export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision="int8")
    assert keeps_denormals()


def squaring_graph() -> bytes:
    """Return a graph of y = x * x."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "square", [x], [y])
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


def test_steps_are_the_same_in_every_thread() -> None:
    """ONNX Runtime sets the state of the thread that makes the session, and of no other caller."""
    session = create_session_of_bytes(squaring_graph(), CPU)
    binding = session.inference.io_binding()
    binding.bind_cpu_input("x", np.array([1e-20], np.float32))
    binding.bind_output("y")
    results = []

    def step() -> None:
        session.run(binding)
        results.append(binding.get_outputs()[0].numpy()[0])

    step()
    thread = Thread(target=step)
    thread.start()
    thread.join()
    assert results == [0, 0]
