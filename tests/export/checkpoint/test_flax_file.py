"""flax_model.msgpack: read without Flax, equal to Flax's own results; damage is one clear line."""

import struct
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from checkpoints import draw_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import check_message, refused
from wild_weights import SMALL, flax_tree, packed, save_flax

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.flax_file import read_flax_file
from gptneo_onnx.models import ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM

GOLDEN = Path(__file__).parents[2] / "golden" / "flax"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flax_model.msgpack"


@pytest.fixture
def tensors(random):
    return draw_tensors(SMALL.but(tie_word_embeddings=False), random)


@pytest.mark.parametrize("graph", ["fused", "portable"])
def test_the_logits_of_a_model_that_flax_saved_are_flaxs(tmp_path, graph):
    out = export_model(GOLDEN, tmp_path / "out", graph=graph)
    logits = GPTNeoForCausalLM.from_pretrained(out, num_threads=1)(np.arange(16)[None] * 3).logits
    expected = np.load(GOLDEN / "logits.npy")
    assert np.abs(logits - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize("chunk_bytes", [2**30, 500])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_array_is_read_under_pytorchs_name(path, tensors, chunk_bytes, dtype):
    tensors = {name: array.astype(dtype) for name, array in tensors.items()}
    save_flax(path, tensors, chunk_bytes)
    stored = read_flax_file(path)
    assert set(stored) == set(tensors)
    for name, array in tensors.items():
        assert stored[name].dtype == dtype
        assert np.array_equal(stored[name].read(), array)


@pytest.mark.parametrize("chunk_bytes", [2**30, 500])
def test_blocks_of_rows_make_the_whole(path, tensors, chunk_bytes, monkeypatch):
    monkeypatch.setattr("gptneo_onnx.export.checkpoint.stored_tensor.BLOCK_BYTES", 300)
    save_flax(path, tensors, chunk_bytes)
    for stored in read_flax_file(path).values():
        assert np.array_equal(np.concatenate([*stored.row_blocks()]), stored.read())


class TestDamage:
    @pytest.fixture
    def read(self, path):
        def write_and_read(content):
            path.write_bytes(content)
            return read_flax_file(path)

        return write_and_read

    @pytest.mark.parametrize(
        ("tree", "reason"),
        [
            ({"step": 3}, "'step' is not an array"),
            ({"a": {"__msgpack_chunked_array__": True}}, "shape"),
            ({"a": np.array("x")}, "str"),
            ({"x" * 200: {"y": True}}, "is not an array"),
            ((1, 2), "does not hold one map"),
            ({1: np.ones(2)}, "a key of a map is no name"),
            ({"a": {"kernel": np.ones((2, 2)), "weight": np.ones((2, 2))}}, "two arrays are"),
        ],
    )
    def test_trees_that_are_no_models(self, read, tree, reason):
        with refused(ModelFileError, f"not a sound file of Flax .*{reason}.*fetch it again"):
            read(packed(tree))

    @pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80\x80", b"\xca" + bytes(4), b"\xdf"])
    def test_other_contents(self, read, content):
        with refused(ModelFileError, "not a sound file of Flax"):
            read(content)

    def test_pieces_that_do_not_make_the_shape(self, read):
        chunked = {
            "__msgpack_chunked_array__": True,
            "shape": {"0": 5},
            "chunks": {"0": np.ones(2), "1": np.ones(2)},
        }
        with refused(ModelFileError, "pieces of an array do not make its shape"):
            read(packed({"a": chunked}))

    def test_every_truncation(self, read):
        whole = packed({"ln_f": {"scale": np.ones(3, np.float32), "bias": np.ones(3, np.float32)}})
        assert set(read(whole)) == {"ln_f.weight", "ln_f.bias"}
        for length in range(len(whole)):
            with refused(ModelFileError, "not a sound file of Flax"):
                read(whole[:length])

    @pytest.mark.parametrize(
        "content",
        [
            b"\x81\xa1a" * 500_000,
            b"\xdf" + b"\xff" * 4 + b"\xa1a" * 10,
            b"\x81\xa1a\xdd" + b"\xff" * 4 + b"\x01" * 500_000,
            b"\x81\xdb" + b"\xff" * 4 + bytes(1000),
            b"\x81\xa1a\xc9"
            + b"\xff" * 4
            + b"\x01\x93\x91\xce"
            + b"\xff" * 4
            + b"\xa5uint8\xc6"
            + b"\xff" * 4,
        ],
    )
    def test_files_that_would_exhaust_memory(self, read, content):
        tracemalloc.start()
        try:
            with refused(ModelFileError, "not a sound file of Flax"):
                read(content)
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
        finally:
            tracemalloc.stop()

    @settings(max_examples=400, deadline=None, database=None)
    @given(damage=st.data())
    def test_random_damage(self, tmp_path_factory, damage):
        path = tmp_path_factory.mktemp("fuzz") / "flax_model.msgpack"
        tensors = {
            "ln_f.weight": np.ones(3, np.float32),
            "h.0.c.weight": np.ones((2, 3), np.float16),
        }
        content = bytearray(packed(flax_tree(tensors), 8))
        for _ in range(damage.draw(st.integers(1, 4))):
            content[damage.draw(st.integers(0, len(content) - 1))] = damage.draw(
                st.integers(0, 255)
            )
        path.write_bytes(content)
        try:
            for stored in read_flax_file(path).values():
                stored.read()
        except ModelFileError as error:
            check_message(error)


def test_an_array_that_claims_more_than_the_file_has(path):
    content = packed((np.ones(4).shape, "float64", bytes(32)))
    damaged = b"\x81\xa1a\xc9" + struct.pack(">I", len(content)) + b"\x01" + content[:-1]
    path.write_bytes(damaged)
    with refused(ModelFileError, "truncated"):
        read_flax_file(path)
