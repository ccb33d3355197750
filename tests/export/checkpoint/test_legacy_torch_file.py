"""pytorch_model.bin from before PyTorch 1.6: a stream of pickles, under the same allow-list."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import check_message, refused
from torch_archive import Call, Global, dumps
from wild_weights import SYSTEM, legacy_parts, save_legacy

from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.export.checkpoint.torch_pickle import MAX_PICKLE_BYTES
from gptneo_onnx.models import ModelFileError

TENSORS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "vector": np.arange(5, dtype=np.float16),
    "scalar": np.array(-1e9, np.float32),
    "mask": np.ones((1, 1, 2, 2), np.uint8),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pytorch_model.bin"


def read_parts(path, parts):
    path.write_bytes(b"".join(parts))
    return read_torch_file(path)


def test_every_tensor_is_read(path):
    save_legacy(path, TENSORS)
    stored = read_torch_file(path)
    assert list(stored) == list(TENSORS)
    for name, array in TENSORS.items():
        assert stored[name].dtype == array.dtype
        assert np.array_equal(stored[name].read(), array)


@pytest.mark.parametrize(
    "system", [{}, {"little_endian": False}, [], None, SYSTEM | {"little_endian": 1}]
)
def test_another_byte_order(path, system):
    parts = legacy_parts(TENSORS)
    parts[2] = pickle.dumps(system, protocol=2)
    with refused(ModelFileError, "does not say that its numbers are little-endian"):
        read_parts(path, parts)


def test_code_never_runs(path):
    parts = legacy_parts(TENSORS)
    parts[3] = dumps(Call(Global("os", "system"), ("touch /tmp/never",)))
    with refused(ModelFileError, r"asks to run 'os\.system'; only tensors are read"):
        read_parts(path, parts)


@pytest.mark.parametrize("index", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [7, {"a": 1}, ["0", 1], ["9"], [], None])
def test_other_values_in_its_pickles(path, index, value):
    parts = legacy_parts(TENSORS)
    parts[index] = pickle.dumps(value, protocol=2)
    try:
        assert read_parts(path, parts) == {}  # a state dict without tensors
    except ModelFileError as error:
        check_message(error)


def test_a_storage_of_another_length(path):
    parts = legacy_parts(TENSORS)
    parts[5] = (2**62).to_bytes(8, "little")
    with refused(ModelFileError, "not whole.*not as long as its tensors say.*fetch it again"):
        read_parts(path, parts)


def test_every_truncation(path):
    whole = b"".join(legacy_parts(TENSORS))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with refused(ModelFileError, r"pytorch_model\.bin"):
            read_torch_file(path)


def test_a_pickle_larger_than_any_state_dict(path):
    parts = legacy_parts(TENSORS)
    parts[3] = pickle.dumps({"x": "y" * MAX_PICKLE_BYTES}, protocol=2)
    tracemalloc.start()
    with refused(ModelFileError, "not whole"):
        read_parts(path, parts)
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


@settings(max_examples=400, deadline=None, database=None)
@given(damage=st.data())
def test_random_damage(tmp_path_factory, damage):
    path = tmp_path_factory.mktemp("fuzz") / "pytorch_model.bin"
    content = bytearray(b"".join(legacy_parts(TENSORS)))
    for _ in range(damage.draw(st.integers(1, 4))):
        content[damage.draw(st.integers(0, len(content) - 1))] = damage.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for stored in read_torch_file(path).values():
            stored.read()
    except ModelFileError as error:
        check_message(error)
