"""model.safetensors: damaged and hostile ones are refused in one clear line."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import check_message, refused
from safetensors.numpy import save, save_file

from gptneo_onnx.export.checkpoint.safetensors_file import MAX_HEADER_BYTES, read_safetensors
from gptneo_onnx.models import ModelFileError

TENSORS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.arange(5, dtype=np.float16),
    "brain": np.arange(6, dtype=ml_dtypes.bfloat16),
    "scalar": np.array(-1e9, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def read(path):
    """Write and read a file of a header and data; `length` may claim another header length."""

    def write_and_read(header, data=b"", length=None):
        content = header if isinstance(header, bytes) else json.dumps(header).encode()
        length = len(content) if length is None else length
        path.write_bytes(length.to_bytes(8, "little") + content + data)
        return read_safetensors(path)

    return write_and_read


def entry(start, end, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": shape or [(end - start) // 4], "data_offsets": [start, end]}


def read_all(path):
    return {name: stored.read() for name, stored in read_safetensors(path).items()}


def test_every_tensor_is_read(path):
    save_file(TENSORS, path, {"format": "pt"})
    read = read_all(path)
    assert read.keys() == TENSORS.keys()
    for name, array in read.items():
        assert array.dtype == TENSORS[name].dtype
        assert np.array_equal(array, TENSORS[name])


class TestHeaders:
    def test_an_empty_file(self, path):
        path.write_bytes(b"")
        with refused(ModelFileError, "is not a sound safetensors file: .*; fetch it again"):
            read_safetensors(path)

    @pytest.mark.parametrize("length", [0, 1, 3, 2**20])
    def test_a_length_that_is_not_the_headers(self, read, length):
        with refused(ModelFileError, "is not a sound safetensors file"):
            read({"weight": entry(0, 8)}, bytes(8), length)

    @pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 10**8 + 1, 2**34, 2**63, 2**64 - 1])
    def test_a_length_beyond_every_header(self, read, length):
        allowed = f"its header has {length} bytes; at most {MAX_HEADER_BYTES} are read"
        with refused(ModelFileError, allowed):
            read({"weight": entry(0, 8)}, bytes(8), length)

    @pytest.mark.parametrize(
        "header",
        [b"", b"{", b"null", b"[]", b"7", b'{"a": 1}', b'{"a": []}', b"\xff\xfe{}", b"[" * 10_000],
    )
    def test_a_header_that_is_not_json_or_not_of_tensors(self, read, header):
        with refused(ModelFileError, "is not a sound safetensors file"):
            read(header)

    @pytest.mark.parametrize("missing", ["dtype", "shape", "data_offsets"])
    def test_an_entry_that_lacks_a_field(self, read, missing):
        incomplete = entry(0, 8)
        del incomplete[missing]
        with refused(ModelFileError, "is not a sound safetensors file"):
            read({"weight": incomplete}, bytes(8))

    @pytest.mark.parametrize(
        "shape", [[-2], [2.0], [True, True], ["2"], [[2]], [2**64], [2**32, 2**32], [3], [2, 2], 2]
    )
    def test_a_shape_that_is_invalid_or_another(self, read, shape):
        with refused(ModelFileError, "is not a sound safetensors file"):
            read({"weight": entry(0, 8, shape)}, bytes(8))

    @pytest.mark.parametrize("dtype", ["F128", "f32", "", 7, None])
    def test_an_unknown_type(self, read, dtype):
        with refused(ModelFileError, "is not a sound safetensors file"):
            read({"weight": entry(0, 8, [2], dtype)}, bytes(8))

    @pytest.mark.parametrize(("dtype", "size"), [("I32", 4), ("F8_E4M3", 1), ("U16", 2)])
    def test_a_type_that_no_weight_has(self, read, dtype, size):
        allowed = f"'weight' is of type {dtype}; F64, F32, F16, BF16, .* are allowed"
        with refused(ModelFileError, allowed):
            read({"weight": entry(0, 2 * size, [2], dtype)}, bytes(2 * size))

    def test_a_name_full_of_terminal_codes_is_shown_on_one_short_line(self, read):
        with refused(ModelFileError, "is of type I32"):
            read({"\x1b[2J\n" * 100_000: entry(0, 8, [2], "I32")}, bytes(8))

    def test_a_name_that_stands_twice(self, read):
        one = json.dumps(entry(0, 8))
        with refused(ModelFileError, "a name stands twice in its header"):
            read(f'{{"a": {one}, "a": {one}}}'.encode(), bytes(8))

    def test_a_field_that_stands_twice(self, read):
        twice = b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
        with refused(ModelFileError, "is not a sound safetensors file"):
            read(twice, bytes(8))

    @pytest.mark.slow
    def test_a_header_full_of_empty_tensors(self, read):
        header = {str(number): entry(0, 0, [0]) for number in range(60_000)}
        assert MAX_HEADER_BYTES * 0.8 < len(json.dumps(header)) < MAX_HEADER_BYTES
        tracemalloc.start()
        assert len(read(header)) == len(header)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
        tracemalloc.stop()


class TestOffsets:
    @pytest.mark.parametrize(
        "offsets",
        [
            pytest.param([(0, 8), (4, 12)], id="overlap"),
            pytest.param([(0, 8), (0, 8)], id="the same twice"),
            pytest.param([(0, 8), (12, 20)], id="gap"),
            pytest.param([(4, 12)], id="gap at the start"),
            pytest.param([(8, 0)], id="backwards"),
            pytest.param([(0, 8), (8, 24)], id="beyond the end"),
            pytest.param([(2**63, 2**63 + 8)], id="far beyond the end"),
            pytest.param([(2**64 - 4, 2**64 + 4)], id="overflow"),
            pytest.param([(-8, 0)], id="negative"),
        ],
    )
    def test_that_do_not_lie_end_to_end(self, read, offsets):
        header = {str(start): entry(start, end, [2]) for start, end in offsets}
        with refused(ModelFileError, "is not a sound safetensors file"):
            read(header, bytes(20))

    @pytest.mark.parametrize("data", [0, 1, 7, 9, 1000])
    def test_that_do_not_end_with_the_file(self, read, data):
        with refused(ModelFileError, "is not a sound safetensors file"):
            read({"weight": entry(0, 8)}, bytes(data))

    def test_every_truncation(self, path):
        content = save(TENSORS)
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with refused(ModelFileError, "is not a sound safetensors file|its header has"):
                read_safetensors(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


class TestRandomDamage:
    @settings(max_examples=1000, deadline=None, database=None)
    @given(damage=st.data())
    def test_is_refused_or_changes_numbers_only(self, folder, damage):
        path = folder / "model.safetensors"
        content = bytearray(save(TENSORS))
        for _ in range(damage.draw(st.integers(1, 4))):
            start = damage.draw(st.integers(0, len(content)))
            end = damage.draw(st.integers(start, min(len(content), start + 4)))
            content[start:end] = damage.draw(st.binary(max_size=6))
        path.write_bytes(content)
        try:
            read_all(path)
        except ModelFileError as error:
            check_message(error)
