"""Upper limits of a machine: how fast it reads memory, and how fast it multiplies matrices."""

import re
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BYTES = 2**30
ROWS, INPUTS, OUTPUTS = 512, 2048, 8192


# Instructions that decide which kernels run, the best first.
_INSTRUCTIONS = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 with VNNI", "avx2": "AVX2"}


def processor() -> str:
    """Return the processor's name and its best instructions for whole numbers."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", text)
    best = [title for flag, title in _INSTRUCTIONS.items() if re.search(rf"\b{flag}\b", text)]
    return ", ".join([name[1] if name else "unknown processor", *best[:1]])


def read_bandwidth(threads: int) -> float:
    """Measure the bytes per second that all threads read together, from arrays beyond any cache."""
    arrays = [np.arange(BYTES // 8) for _ in range(threads)]

    def read_all() -> None:
        readers = [threading.Thread(target=array.sum) for array in arrays]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()

    return threads * BYTES / min(_seconds(read_all) for _ in range(5))


def matrix_speed(threads: int, bits: int) -> float:
    """Measure the operations per second of ONNX Runtime's matrix product, of 8 or of 32 bits."""
    random = np.random.default_rng(0)
    if bits == 8:
        x = random.integers(0, 255, (ROWS, INPUTS)).astype(np.uint8)
        weights = random.integers(-127, 127, (INPUTS, OUTPUTS)).astype(np.int8)
        operator, result = "MatMulInteger", TensorProto.INT32
    else:
        x = random.standard_normal((ROWS, INPUTS), np.float32)
        weights = random.standard_normal((INPUTS, OUTPUTS), np.float32)
        operator, result = "MatMul", TensorProto.FLOAT
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "weights"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", result, [ROWS, OUTPUTS])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    session.run(None, {"x": x})
    best = min(_seconds(lambda: session.run(None, {"x": x})) for _ in range(10))
    return 2 * ROWS * INPUTS * OUTPUTS / best


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def limits(threads: int) -> dict[str, float]:
    """Measure all three limits; medians of three tries."""
    tries = [
        (read_bandwidth(threads), matrix_speed(threads, 32), matrix_speed(threads, 8))
        for _ in range(3)
    ]
    names = ("read_bandwidth", "float32_speed", "int8_speed")
    return {
        name: statistics.median(column)
        for name, column in zip(names, zip(*tries, strict=True), strict=True)
    }
