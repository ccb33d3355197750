"""pytorch_model.bin: what a pickle asks to run never runs, and damage is one clear line."""

import pickle
import pickletools
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import check_message, refused
from torch_archive import (
    ORDERED_DICT,
    OTHER_ENTRIES,
    REBUILD_TENSOR,
    Built,
    Call,
    Global,
    Persistent,
    dumps,
    save_torch,
    state_dict,
    tensor,
    write_archive,
)

from gptneo_onnx.export.checkpoint import torch_pickle
from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.models import ModelFileError

TENSORS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "vector": np.arange(5, dtype=np.float16),
    "scalar": np.array(-1e9, np.float32),
    "mask": np.ones((1, 1, 2, 2), np.uint8),
}
MEGABYTE = 2**20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pytorch_model.bin"


@pytest.fixture
def read(path):
    """Write and read an archive of a pickled value, or of a pickle given as bytes."""

    def write_and_read(value, storages=None, **archive):
        content = value if isinstance(value, bytes) else dumps(value)
        write_archive(path, content, storages or {"0": bytes(48)}, **archive)
        return read_torch_file(path)

    return write_and_read


def with_tensor(value):
    return state_dict({"weight": value})


def read_all(path):
    return {name: stored.read() for name, stored in read_torch_file(path).items()}


class TestSoundFiles:
    def test_every_tensor_is_read(self, path):
        save_torch(path, TENSORS)
        for name, array in read_all(path).items():
            assert array.dtype == TENSORS[name].dtype
            assert np.array_equal(array, TENSORS[name])
        assert list(read_torch_file(path)) == list(TENSORS)

    def test_archives_from_before_pytorch_2_have_fewer_entries(self, read):
        archive = with_tensor(tensor("float32", "0", 12, (3, 4)))
        assert read(archive, others={"version": b"3"})["weight"].shape == (3, 4)

    def test_a_view_begins_within_its_storage(self, read):
        storage = np.arange(12, dtype=np.float32).tobytes()
        view = tensor("float32", "0", 12, (2, 3), offset=5)
        stored = read(with_tensor(view), {"0": storage})["weight"]
        assert stored.read().tolist() == [[5, 6, 7], [8, 9, 10]]

    def test_a_transposed_matrix_is_read_as_such(self, read):
        values = np.arange(12, dtype=np.float32)
        view = tensor("float32", "0", 12, (3, 4), stride=(1, 3))
        stored = read(with_tensor(view), {"0": values.tobytes()})["weight"]
        assert stored.read().tolist() == values.reshape(4, 3).T.tolist()

    def test_an_axis_of_one_may_have_any_stride(self, read):
        view = tensor("float32", "0", 12, (1, 12, 1), stride=(7, 1, 99))
        assert read(with_tensor(view))["weight"].shape == (1, 12, 1)

    def test_parameters_are_tensors(self, read):
        constructor = Global("torch._utils", "_rebuild_parameter")
        plain = tensor("float32", "0", 12, (3, 4))
        parameter = Call(constructor, (plain, True, Call(ORDERED_DICT, ())))
        assert read(with_tensor(parameter))["weight"].shape == (3, 4)

    def test_a_state_dict_may_be_wrapped_with_other_things(self, read):
        wrapped = {"epoch": 3, "state_dict": with_tensor(tensor("float32", "0", 12, (3, 4)))}
        assert list(read(wrapped)) == ["weight"]

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_every_protocol_is_read(self, read, protocol):
        settings = {"name": "x", "sizes": [1, 2], "on": True, "rate": 0.5, "big": 2**40}
        assert read(pickle.dumps(settings, protocol=protocol)) == {}

    def test_names_that_are_numbers_are_no_weights(self, read):
        assert read(state_dict({0: tensor("float32", "0", 12, (12,))})) == {}


class TestCodeThatNeverRuns:
    @pytest.fixture
    def witness(self, tmp_path):
        return tmp_path / "it-ran"

    @pytest.fixture(params=["bare", "as a value", "as a key", "as a state", "as an argument"])
    def place(self, request):
        """Put a call at a place in a pickle."""
        good = tensor("float32", "0", 12, (3, 4))
        return {
            "bare": lambda call: call,
            "as a value": lambda call: state_dict({"good": good, "bad": call}),
            "as a key": lambda call: {call: 1},
            "as a state": lambda call: Built(Call(ORDERED_DICT, ()), {"good": good}, call),
            "as an argument": lambda call: Call(ORDERED_DICT, (call,)),
        }[request.param]

    def calls(self, witness):
        code = f"open({str(witness)!r}, 'w').close()"
        command = f"touch {witness}"
        return {
            "os.system": Call(Global("os", "system"), (command,)),
            "posix.system": Call(Global("posix", "system"), (command,)),
            "builtins.eval": Call(Global("builtins", "eval"), (code,)),
            "__builtin__.exec": Call(Global("__builtin__", "exec"), (code,)),
            "builtins.getattr": Call(Global("builtins", "getattr"), (Global("os", "x"), "y")),
            "subprocess.Popen": Call(Global("subprocess", "Popen"), (("touch", str(witness)),)),
            "runpy._run_code": Call(Global("runpy", "_run_code"), (code, ())),
            "torch.load": Call(Global("torch", "load"), (str(witness),)),
            "torch.storage._load_from_bytes": Call(
                Global("torch.storage", "_load_from_bytes"), (code,)
            ),
            "numpy.core.multiarray._reconstruct": Call(
                Global("numpy.core.multiarray", "_reconstruct"),
                (Global("numpy", "ndarray"), (0,), "b"),
            ),
            "collections.OrderedDict.fromkeys": Call(
                Global("collections", "OrderedDict.fromkeys"), ((),)
            ),
            "torch._utils.sys.modules": Global("torch._utils", "sys.modules"),
        }

    def test_pickle_itself_would_run_them(self, witness):
        pickle.loads(dumps(self.calls(witness)["os.system"]))
        assert witness.exists()

    def test_names_beside_those_of_tensors_are_refused(self, read, witness, place):
        for name, call in self.calls(witness).items():
            with refused(ModelFileError, f"asks to run '{re.escape(name)}'"):
                read(place(call))
        assert not witness.exists()

    def test_a_name_from_the_stack_is_refused(self, read, witness):
        parts = (b"os", b"system", f"touch {witness}".encode())
        module, name, command = (pickle.SHORT_BINUNICODE + bytes([len(p)]) + p for p in parts)
        call = module + name + pickle.STACK_GLOBAL + command + pickle.TUPLE1 + pickle.REDUCE
        with refused(ModelFileError, r"asks to run 'os\.system'; only tensors are read: do not"):
            read(pickle.PROTO + b"\x04" + call + pickle.STOP)
        assert not witness.exists()

    def test_a_name_full_of_terminal_codes_is_shown_on_one_short_line(self, read):
        module = b"\x1b[2J\n" * 30_000
        push = pickle.BINUNICODE + struct.pack("<I", len(module)) + module
        with refused(ModelFileError, "asks to run"):
            read(pickle.PROTO + b"\x04" + push * 2 + pickle.STACK_GLOBAL + pickle.STOP)

    @pytest.mark.parametrize(
        "opcode",
        [
            *("OBJ", "INST", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"),
            *("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "FROZENSET", "EMPTY_SET", "DUP"),
        ],
    )
    def test_opcodes_that_torch_never_writes_are_refused(self, read, opcode):
        (code,) = (op.code for op in pickletools.opcodes if op.name == opcode)
        operand = b"\0\0\0\0\0\0\0\0" if opcode == "BYTEARRAY8" else b"\x01\0\0\0"
        operand = b"os\nsystem\n" if opcode in ("INST", "PERSID") else operand
        with refused(ModelFileError, f"has the opcode {opcode}, which torch.save never writes"):
            read(pickle.PROTO + b"\x02" + code.encode("latin-1") + operand + pickle.STOP)

    @pytest.mark.parametrize(
        "state",
        [
            {"dtype": "x"},
            {"__setstate__": ORDERED_DICT},
            (None, {"__code__": 1, "__defaults__": (1,)}),
        ],
    )
    def test_attributes_are_never_set_on_what_the_reader_uses(self, read, path, state):
        for target in (REBUILD_TENSOR, ORDERED_DICT, Global("torch", "FloatStorage")):
            read(Built(Call(ORDERED_DICT, ()), {"x": Built(target, {}, state)}, state))
        save_torch(path, TENSORS)
        assert read_all(path)["matrix"].tolist() == TENSORS["matrix"].tolist()

    def test_methods_of_a_dict_are_never_replaced(self, read):
        good = tensor("float32", "0", 12, (3, 4))
        state = {"items": ORDERED_DICT, "get": ORDERED_DICT, "__class__": ORDERED_DICT}
        assert list(read(Built(Call(ORDERED_DICT, ()), {"weight": good}, state))) == ["weight"]


class TestInvalidTensors:
    @pytest.mark.parametrize("value", [-1, 2**41, 2**63, 2**200, True, "1", None])
    @pytest.mark.parametrize("part", ["elements", "offset", "shape", "stride"])
    def test_sizes_that_are_invalid(self, read, part, value):
        arguments = {"elements": 12, "offset": 0, "shape": (12,), "stride": (1,)}
        arguments[part] = (value,) if part in ("shape", "stride") else value
        with refused(ModelFileError, r"damaged \(ValueError\('a (tensor|storage) has no valid"):
            read(with_tensor(tensor("float32", "0", **arguments)))

    @pytest.mark.parametrize("shape", [(2**40, 2**40), (2**20,) * 3, (13,), (2, 7)])
    def test_a_tensor_larger_than_its_storage(self, read, shape):
        with refused(ModelFileError, "'weight' reaches beyond its storage"):
            read(with_tensor(tensor("float32", "0", 12, shape)))

    def test_an_offset_beyond_the_storage(self, read):
        with refused(ModelFileError, "'weight' reaches beyond its storage"):
            read(with_tensor(tensor("float32", "0", 12, (1,), offset=12)))

    @pytest.mark.parametrize("stride", [(0, 1), (4, 0), (1, 1), (8, 2), (4, 2)])
    def test_strides_that_overlap_or_leave_gaps(self, read, stride):
        with refused(ModelFileError, "'weight' is not contiguous; save it again with safetensors"):
            read(with_tensor(tensor("float32", "0", 12, (3, 4), stride=stride)))

    def test_more_axes_than_any_weight_has(self, read):
        with refused(ModelFileError, "damaged .*a tensor has no valid shape"):
            read(with_tensor(tensor("float32", "0", 12, (1,) * 9)))

    def test_more_strides_than_axes(self, read):
        with refused(ModelFileError, "damaged .*a tensor has no valid shape or stride"):
            read(with_tensor(tensor("float32", "0", 12, (12,), stride=(1, 1))))

    def test_a_storage_shorter_than_the_pickle_says(self, read):
        with refused(ModelFileError, "storage of 'weight' is shorter than its data.pkl says"):
            read(with_tensor(tensor("float32", "0", 13, (13,))))

    @pytest.mark.parametrize("key", ["1", "", "../0", "data/0", "0\0", "/etc/passwd"])
    def test_a_storage_that_is_missing(self, read, key):
        with refused(ModelFileError, "storage of 'weight' is missing"):
            read(with_tensor(tensor("float32", key, 12, (12,))))

    @pytest.mark.parametrize(
        "identity",
        [
            *((), ("storage",), "storage", 7, None),
            ("module", Global("torch", "FloatStorage"), "0", "cpu", 12),
            ("storage", ORDERED_DICT, "0", "cpu", 12),
            ("storage", Global("torch", "FloatStorage"), 0, "cpu", 12),
            ("storage", Global("torch", "FloatStorage"), "0", "cpu", 12, 13),
        ],
    )
    def test_a_persistent_id_of_no_storage(self, read, identity):
        with refused(ModelFileError, "its data.pkl is damaged"):
            read(with_tensor(Persistent(identity)))

    def test_a_type_that_no_weight_has(self, read):
        storage = Persistent(("storage", Global("torch", "ComplexFloatStorage"), "0", "cpu", 6))
        with refused(ModelFileError, r"asks to run 'torch\.ComplexFloatStorage'"):
            read(with_tensor(Call(REBUILD_TENSOR, (storage, 0, (6,), (1,), False, None))))

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            (ORDERED_DICT, (1,)),
            (ORDERED_DICT, ((("weight", 1),),)),
            (ORDERED_DICT, None),
            (REBUILD_TENSOR, ()),
            (REBUILD_TENSOR, "arguments"),
            (REBUILD_TENSOR, (None, 0, (), (), False, None)),
            (REBUILD_TENSOR, ("storage", 0, (12,), (1,), False, None)),
        ],
    )
    def test_constructors_with_invalid_arguments(self, read, function, arguments):
        with refused(ModelFileError, "its data.pkl is damaged"):
            read(with_tensor(Call(function, arguments)))

    @pytest.mark.parametrize("function", ["text", 7, None, Global("torch", "FloatStorage")])
    def test_only_constructors_are_called(self, read, function):
        with refused(ModelFileError, "only tensors and dicts are constructed"):
            read(with_tensor(Call(function, ())))

    @pytest.mark.parametrize("value", [7, "text", (1, 2), None, True])
    def test_a_pickle_of_something_else(self, read, value):
        with refused(ModelFileError, "holds a .*; a dict of tensors is expected"):
            read(value)


class TestPicklesThatExhaust:
    """Pickles that would take minutes or gigabytes to read; a failure is a test that never ends."""

    def check(self, read, content, match):
        tracemalloc.start()
        try:
            with refused(ModelFileError, match):
                read(content)
            assert tracemalloc.get_traced_memory()[1] < 200 * MEGABYTE
        finally:
            tracemalloc.stop()

    def test_an_index_far_into_the_memo(self, path):
        content = b"\x80\x02}" + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1) + b"."
        write_archive(path, content, {})
        tracemalloc.start()
        assert read_torch_file(path) == {}
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
        tracemalloc.stop()

    def test_nested_lists(self, read):
        depth = 100_000
        self.check(read, b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".", "holds a list")

    def test_nested_marks(self, read):
        self.check(read, b"\x80\x02" + b"(" * 500_000 + b".", "damaged")

    def test_nested_tuples_as_a_name(self, read):
        """Hashing the last takes 2**100 steps, as each holds the one before it twice."""
        doubled = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(100))
        self.check(read, b"\x80\x02}" + doubled + b"Ns.", "keys are names or numbers")

    def test_nested_tuples_as_a_persistent_id(self, read):
        doubled = b")" + b"".join(b"q\x00h\x00\x86" for _ in range(100))
        self.check(read, b"\x80\x02(" + doubled + b"NNNNtQ.", "is not of a storage")

    def test_a_list_that_holds_itself(self, read):
        self.check(read, b"\x80\x02]q\x00h\x00a.", "holds a list")

    def test_a_number_of_many_digits(self, read):
        number = b"\x8b" + struct.pack("<i", 500_000) + b"\x7f" * 500_000
        self.check(read, b"\x80\x02" + number + b".", "opcode LONG4")
        self.check(read, b"\x80\x02L" + b"9" * 500_000 + b"L\n.", "damaged")

    @pytest.mark.parametrize("opcode", [b"X", b"B", b"T", b"\x8b", b"\x8d", b"\x8e", b"\x96"])
    def test_lengths_beyond_the_end(self, read, opcode):
        self.check(read, b"\x80\x02" + opcode + b"\xff\xff\xff\x7f\0\0\0\0.", "data.pkl")

    def test_a_shape_of_many_axes(self, read):
        axes = (2**40,) * 10_000
        many = tensor("float32", "0", 12, axes, stride=axes)
        self.check(read, dumps(with_tensor(many)), "no valid shape")

    def test_a_pickle_larger_than_any_state_dict(self, read):
        size = torch_pickle.MAX_PICKLE_BYTES + 1
        self.check(read, bytes(size), f"compressed or larger than {size - 1} bytes")


class TestArchives:
    @pytest.fixture
    def archive(self, path):
        save_torch(path, TENSORS)
        return path.read_bytes()

    @pytest.mark.parametrize(
        "content",
        [b"", b"PK", bytes(22), b"PK\5\6" + bytes(18), b"PK\3\4" + bytes(100), b"\x80\x02}q\0."],
    )
    def test_a_file_that_is_no_archive(self, path, content):
        path.write_bytes(content)
        with refused(ModelFileError, "torch.save"):
            read_torch_file(path)

    @pytest.mark.slow
    def test_every_truncation(self, path, archive):
        for length in range(len(archive)):
            path.write_bytes(archive[:length])
            with refused(ModelFileError, r"pytorch_model\.bin"):
                read_torch_file(path)

    def test_a_compressed_archive(self, read):
        sound = with_tensor(tensor("float32", "0", 12, (12,)))
        with refused(ModelFileError, "little-endian|compressed"):
            read(sound, compression=zipfile.ZIP_DEFLATED)

    @pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_compressed_entry(self, path, entry, method):
        content = dumps(with_tensor(tensor("float32", "0", 12, (12,))))
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in {"data.pkl": content, "data/0": bytes(48)}.items():
                archive.writestr(f"model/{name}", value, method if name == entry else None)
        with refused(ModelFileError, "compressed"):
            read_torch_file(path)

    def test_no_pickle(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data/0", bytes(48))
        with refused(ModelFileError, "holds 0 data.pkl"):
            read_torch_file(path)

    def test_two_pickles(self, path, archive):
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("other/data.pkl", b"\x80\x02}.")
        with refused(ModelFileError, "holds 2 data.pkl"):
            read_torch_file(path)

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize("name", ["data.pkl", "data/0"])
    def test_two_entries_of_one_name(self, path, archive, name):
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(f"pytorch_model/{name}", b"\x80\x02}.")
        with refused(ModelFileError, "names twice|holds 2 data.pkl"):
            read_torch_file(path)

    def test_numbers_of_a_big_endian_machine(self, read):
        sound = with_tensor(tensor("float32", "0", 12, (12,)))
        with refused(ModelFileError, "does not say that its numbers are little-endian"):
            read(sound, others=OTHER_ENTRIES | {"byteorder": b"big"})

    def test_names_that_are_not_unicode(self, path, archive):
        entry = "pytorch_modél/x"
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(entry, b"")
        path.write_bytes(
            path.read_bytes().replace(entry.encode(), entry.encode("latin-1") + b"\xff")
        )
        with refused(ModelFileError, "not a whole zip archive"):
            read_torch_file(path)

    def test_a_directory_as_large_as_memory(self, path):
        size = 2**31
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(end)
        tracemalloc.start()
        with refused(ModelFileError, f"has {size} bytes"):
            read_torch_file(path)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
        tracemalloc.stop()

    def test_a_local_header_with_another_signature(self, path, archive):
        path.write_bytes(archive.replace(b"PK\3\4", b"PK\3\5"))
        with refused(ModelFileError, "fetch"):
            read_torch_file(path)

    def test_an_encrypted_pickle(self, path):
        content = dumps(with_tensor(tensor("float32", "0", 12, (12,))))
        write_archive(path, content, {"0": bytes(48)})
        damaged = bytearray(path.read_bytes())
        damaged[6] |= 1
        damaged[damaged.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(damaged)
        with refused(ModelFileError, "not a whole zip archive"):
            read_torch_file(path)


def archive_bytes(folder):
    save_torch(folder / "model.bin", TENSORS)
    return (folder / "model.bin").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.slow
class TestRandomDamage:
    def read_or_refuse(self, path):
        try:
            read_all(path)
        except ModelFileError as error:
            check_message(error)

    @settings(max_examples=600, deadline=None, database=None)
    @given(damage=st.data())
    def test_of_the_archive(self, folder, damage):
        content = bytearray(archive_bytes(folder))
        for _ in range(damage.draw(st.integers(1, 4))):
            position = damage.draw(st.integers(0, len(content) - 1))
            content[position] = damage.draw(st.integers(0, 255))
        length = damage.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
        (folder / "damaged.bin").write_bytes(content[:length])
        self.read_or_refuse(folder / "damaged.bin")

    @settings(max_examples=1500, deadline=None, database=None)
    @given(damage=st.data())
    def test_of_the_pickle(self, folder, damage):
        """The archive is sound: its checksum would otherwise catch the damage."""
        arrays = {name: tensor("float32", "0", 12, (3, 4)) for name in ("one", "two")}
        content = bytearray(dumps(state_dict(arrays)))
        for _ in range(damage.draw(st.integers(1, 4))):
            start = damage.draw(st.integers(0, len(content)))
            end = damage.draw(st.integers(start, min(len(content), start + 4)))
            content[start:end] = damage.draw(st.binary(max_size=6))
        write_archive(folder / "damaged.bin", bytes(content), {"0": bytes(48)})
        self.read_or_refuse(folder / "damaged.bin")

    @settings(max_examples=1000, deadline=None, database=None)
    @given(
        opcodes=st.lists(
            st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])
            | st.sampled_from(
                [dumps(part)[2:-1] for part in (ORDERED_DICT, REBUILD_TENSOR, (), 1, "x", {}, None)]
            ),
            max_size=30,
        )
    )
    def test_opcodes_in_any_order(self, folder, opcodes):
        content = b"\x80\x02" + b"".join(opcodes) + b"."
        write_archive(folder / "damaged.bin", content, {"0": bytes(48)})
        self.read_or_refuse(folder / "damaged.bin")


def test_reading_changes_nothing_for_the_next_file(path, folder):
    """Runs after all of the above, in the same process."""
    save_torch(path, TENSORS)
    assert {name: array.tolist() for name, array in read_all(path).items()} == {
        name: array.tolist() for name, array in TENSORS.items()
    }
