"""Single operators, with arguments of all kinds: what the check accepts is loaded and run.

Kernels of ONNX Runtime do not all look at what they get. The sizes of what they return are compared
with those that were worked out.
"""

import contextlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime
from fuzzing import Target, mutate_bytes
from google.protobuf.message import DecodeError
from mutated_graphs import mutate_model
from single_operators import single_operators

from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.graph_reader import Model
from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.operators import ADDRESSED, PORTABLE
from gptneo_onnx.runtime.model_files.inference.values import Value
from gptneo_onnx.runtime.model_files.inference.walk import Walk

LIMITS = Limits(2**24, 2**26, 2**26, 2**32, 2**32)
# Numbers of types in onnx.TensorProto.DataType.
_TYPES = {
    np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6,
    np.dtype(np.int64): 7, np.dtype(np.bool_): 9, np.dtype(np.float16): 10,
    np.dtype(np.float64): 11,
}  # fmt: skip


def seeds() -> list[bytes]:
    return [model.SerializeToString() for model in single_operators()]


def run(data: bytes, folder: Path) -> None:
    walk = Walk(PORTABLE, LIMITS, lambda node, attributes: None, ADDRESSED)
    known = walk.run(Model(memoryview(data), onnx_schema.PORTABLE).graph(), {})
    if walk.unbounded:
        return  # it is loaded in a separate process
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with contextlib.suppress(Exception):  # ONNX Runtime's exceptions share no base but this
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        computed = dict(zip(names, session.run(names, {}), strict=True))
        for name, found in computed.items():
            _compare(name, known[name], found)


class WrongSizeError(BaseException):
    """What was worked out is not what was computed: no exception of ONNX Runtime."""


def _compare(name: str, known: Value, found: Any) -> None:
    if not isinstance(found, np.ndarray) or known.dims is None:
        return
    fits = (
        len(known.dims) == found.ndim
        and all(map(_holds, known.dims, found.shape))
        and found.size <= known.most
        and _TYPES.get(found.dtype, known.element_type) == known.element_type
    )
    if known.numbers is not None:
        elements = found.reshape(-1).tolist()
        fits &= len(elements) == len(known.numbers) and all(map(_holds, known.numbers, elements))
    if not fits:
        raise WrongSizeError(f"{name}: {known}, and {found.dtype} {found.shape} {found}")


def _holds(known: sizes.Number, found: int) -> bool:
    return sizes.least(known) <= found <= sizes.most(known)


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change attributes, constants and their shapes, and how they are put together."""
    if random.random() < 0.05:
        return mutate_bytes(random, data, seeds)
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return mutate_bytes(random, data, seeds)
    if random.random() < 0.2:
        model.opset_import[0].version = random.choice((11, 13, 17, 18, 22))
    for _ in range(random.choice((1, 1, 2, 3))):
        mutate_model(random, model)
    return model.SerializeToString()


TARGET = Target(seeds, run, mutate)
