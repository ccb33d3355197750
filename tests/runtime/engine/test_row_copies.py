"""Moving rows: numpy on a CPU and the graph that other devices use do the same."""

import numpy as np
import onnx
import pytest

from gptneo_onnx.models.graph import DataType
from gptneo_onnx.runtime.engine.buffers import DeviceBuffer
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.row_copies import DeviceRowCopier, HostRowCopier, gather_graph

SHAPE = (5, 3, 7, 4)  # slots, heads, rows, head_dim


@pytest.fixture(params=[DataType.FLOAT32, DataType.FLOAT16, DataType.BFLOAT16], ids=str)
def buffer(request, random):
    made = DeviceBuffer(SHAPE, request.param, CPU)
    values = random.normal(size=SHAPE) * 100
    made.host[...] = values.astype(made.host_type)
    return made


@pytest.fixture(params=["numpy", "graph"])
def moves(request, buffer):
    return HostRowCopier() if request.param == "numpy" else DeviceRowCopier(CPU, buffer.host_type)


def test_rows_are_read_as_copies(buffer, moves):
    expected = buffer.host[2, :, 1:4].copy()
    rows = moves.read(buffer, 2, 1, 4)
    buffer.host[...] = 0
    assert moves.to_host(rows).dtype == buffer.host_type
    assert (moves.to_host(rows) == expected).all()


@pytest.mark.parametrize("rows", [0, 1, 6, 7])
def test_any_number_of_rows_can_be_read(buffer, moves, rows):
    assert moves.to_host(moves.read(buffer, 0, 0, rows)).shape == (3, rows, 4)


def test_rows_put_in_front_push_the_others_back(buffer, moves):
    before = buffer.host.copy()
    rows = moves.read(buffer, 4, 0, 5)
    moves.put(buffer, 1, rows, slice(2, 5), keep=3)
    assert (buffer.host[1, :, :3] == before[4, :, 2:5]).all()
    assert (buffer.host[1, :, 3:6] == before[1, :, :3]).all()
    others = [0, 2, 3, 4]
    assert (buffer.host[others] == before[others]).all()


def test_rows_from_the_host_can_be_put(buffer, moves, random):
    rows = random.normal(size=(3, 6, 4)).astype(buffer.host_type)
    moves.put(buffer, 3, rows, slice(None), keep=0)
    assert (buffer.host[3, :, :6] == rows).all()


@pytest.mark.parametrize(
    "order",
    [
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [1, 2, 3, 4, 0],
        [2, 2, 2, 2, 2],
        [0, 0, 1, 1, 3],
        [4, 4, 2, 3, 4],
    ],
)
def test_slots_take_the_rows_that_others_had(buffer, moves, order):
    before = buffer.host.copy()
    moves.reorder(buffer, np.array(order), 6)
    assert (buffer.host[:, :, :6] == before[order][:, :, :6]).all()


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_the_graph_is_a_valid_model_of_standard_operators(axis, itemsize):
    model = onnx.load_from_string(gather_graph(axis, itemsize))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Concat", "Gather"]
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 21)]


def test_rows_can_be_looked_at_on_the_host(buffer, moves):
    rows = moves.view(buffer, 2, 1, 4)
    assert rows.dtype == buffer.host_type
    assert (rows == buffer.host[2, :, 1:4]).all()


@pytest.mark.parametrize("counts", [[7], [1, 6], [2, 1, 3], [1]])
def test_parts_are_put_one_after_another(buffer, moves, random, counts):
    before = buffer.host.copy()
    parts = [random.normal(size=(3, count, 4)).astype(buffer.host_type) for count in counts]
    moves.put_parts(buffer, 1, parts)
    written = sum(counts)
    assert (buffer.host[1, :, :written] == np.concatenate(parts, axis=1)).all()
    others = [0, 2, 3, 4]
    assert (buffer.host[others] == before[others]).all()
