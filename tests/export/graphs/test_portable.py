"""The portable graph against the float64 oracle, driven as other stacks drive it."""

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from checkpoints import FEW_OPERATORS, Shape, write_checkpoint
from reference import ReferenceGPTNeo
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.models.portable_graph import portable_contract
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.cli.main import main

FP32, FP16 = 1e-4, 2e-2
SHAPES = {
    "alternating": Shape(),
    "window of 1": Shape(window_size=1),
    "window wider than the context": Shape(window_size=256),
    "all global": Shape(layers=("global",) * 3),
    "all local": Shape(layers=("local",) * 3),
    "untied head": Shape(tie_word_embeddings=False),
    "narrow MLP": Shape(intermediate_size=24),
    "heads of 128": Shape(hidden_size=256, num_heads=2),
    "sharply peaked": Shape(peak=8.0),
    **{
        name: Shape(activation_function=name)
        for name in ("gelu", "quick_gelu", "silu", "relu", "tanh", "sigmoid", *FEW_OPERATORS)
    },
}


class Driver:
    """Steps a portable graph: caches come back one step longer, and are passed on."""

    def __init__(self, directory, graph="model.onnx"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = onnxruntime.InferenceSession(
            directory / graph, options, providers=["CPUExecutionProvider"]
        )
        self.outputs = [value.name for value in self.session.get_outputs()]

    def start(self, batch):
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self.past = {
            value.name: np.zeros((batch, value.shape[1], 0, value.shape[3]), types[value.type])
            for value in self.session.get_inputs()
            if value.name.startswith("past_key_values")
        }
        self.mask = np.zeros((batch, 0), np.int64)

    def step(self, ids, mask=None, positions=None):
        """Return logits [batch, sequence, vocab]."""
        mask = np.ones_like(ids) if mask is None else mask
        self.mask = np.concatenate([self.mask, mask], axis=1)
        if positions is None:
            positions = np.maximum(self.mask.cumsum(1) - 1, 0)[:, -ids.shape[1] :]
        feeds = {"input_ids": ids, "attention_mask": self.mask, "position_ids": positions}
        found = dict(zip(self.outputs, self.session.run(None, feeds | self.past), strict=True))
        self.past = {name: found[f"present{name[15:]}"] for name in self.past}
        return found["logits"]

    def logits(self, ids, chunk):
        self.start(1)
        chunks = [ids[None, i : i + chunk] for i in range(0, len(ids), chunk)]
        return np.concatenate([self.step(each)[0] for each in chunks])


def spread_difference(logits, expected):
    return np.abs(logits - expected).max() / expected.std()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_equal_the_oracles_in_steps_of_any_length(export_shape, random, shape):
    directory = export_shape(shape, graph="portable")
    ids = random.integers(0, shape.vocab_size, shape.max_position_embeddings)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    driver = Driver(directory)
    for chunk in (len(ids), 20, 3, 1):
        assert spread_difference(driver.logits(ids, chunk), expected) < FP32


def test_left_padded_batches_give_what_each_sequence_gives_alone(export_shape, random):
    shape = SHAPES["alternating"]
    directory = export_shape(shape, graph="portable")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    lengths, total, new = (30, 11, 1), 30, 20
    sequences = [random.integers(0, shape.vocab_size, length + new) for length in lengths]
    ids = np.zeros((3, total), np.int64)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        ids[row, total - length :] = sequence[:length]
    mask = (np.arange(total) >= total - np.array(lengths)[:, None]).astype(np.int64)
    driver = Driver(directory)
    driver.start(3)
    steps = [driver.step(ids, mask)[:, -1]]
    for step in range(new - 1):
        tokens = np.array([[s[n + step]] for s, n in zip(sequences, lengths, strict=True)])
        steps.append(driver.step(tokens)[:, 0])
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        expected = oracle.logits(sequence)[length - 1 : -1]
        assert spread_difference(np.stack(steps)[:, row], expected) < FP32


@pytest.mark.parametrize(
    ("precision", "activations", "tolerance"),
    [
        ("fp16", None, 2e-2),
        ("int8", None, 0.2),
        ("w8a8", None, 0.4),  # weights of 7 bits are rounded twice as coarsely
        ("int4", None, 2.5),
        ("int8", "fp16", 0.2),
        ("int4", "fp16", 2.5),
    ],
)
@pytest.mark.parametrize("hidden", [32, 256, 384])
def test_every_precision(export_shape, random, precision, activations, tolerance, hidden):
    """384 is three blocks of 128, and 4-bit zero points need an even number of blocks."""
    shape = Shape(hidden_size=hidden)
    directory = export_shape(shape, precision, activations, graph=("portable", "fused"))
    ids = random.integers(0, shape.vocab_size, 40)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    found = Driver(directory).logits(ids, 16)
    assert spread_difference(found, expected) < tolerance
    # More exactly: what the fused graph computes from the same weights, up to rounded activations.
    fused = onnxruntime.InferenceSession(directory / "fused.onnx")
    assert np.sqrt(np.square(found - fused_logits(fused, ids)).mean()) < 0.04 * expected.std()


@pytest.mark.parametrize("hidden", [32, 256, 384])
def test_w8a8_of_full_range(export_shape, random, hidden):
    """Portable graphs multiply floats: their sums saturate on no processor."""
    directory = export_shape(Shape(hidden_size=hidden), "w8a8", graph="portable", full_range=True)
    ids = random.integers(0, Shape().vocab_size, 40)
    expected = ReferenceGPTNeo.open(directory.parent / "checkpoint").logits(ids)
    assert spread_difference(Driver(directory).logits(ids, 16), expected) < 0.2


def fused_logits(session, ids):
    length = len(ids)
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    caches = {
        value.name: np.zeros(
            [
                axis if type(axis) is int else {"batch": 1, "capacity": length}[axis]
                for axis in value.shape
            ],
            types[value.type],
        )
        for value in session.get_inputs()
        if value.name.startswith("past")
    }
    feeds = {
        "input_ids": ids[None],
        "position_ids": np.arange(length)[None],
        "seqlens_k": np.array([length - 1], np.int32),
        "total_sequence_length": np.array(length, np.int32),
        "logits_rows": np.stack([np.zeros_like(ids), np.arange(length)], axis=1),
    }
    return session.run(["logits"], feeds | caches)[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "w8a8", "int4"])
def test_only_standard_operators(export_shape, precision):
    for shape in (SHAPES["alternating"], SHAPES["quick_gelu"], SHAPES["untied head"]):
        model = onnx.load(
            export_shape(shape, precision, graph="portable") / "model.onnx",
            load_external_data=False,
        )
        assert Counter(node.domain for node in model.graph.node).keys() == {""}
        assert [opset.domain for opset in model.opset_import] == [""]


def test_inputs_and_outputs_are_as_declared(export_shape):
    directory = export_shape(graph="portable")
    session = onnxruntime.InferenceSession(directory / "model.onnx")
    config = GPTNeoConfig.from_file(directory / "config.json")
    contract = portable_contract(config, NumberFormat.of(Precision.FP32))
    types = {"tensor(int64)": "int64", "tensor(float)": "float32"}
    for values, specs in (
        (session.get_inputs(), contract.inputs),
        (session.get_outputs(), contract.outputs),
    ):
        found = [(value.name, types[value.type], tuple(value.shape)) for value in values]
        assert found == [(spec.name, spec.data_type.value, spec.axes) for spec in specs]


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_onnxs_own_evaluator_gives_the_same(export_shape, random, precision):
    from onnx.reference import ReferenceEvaluator

    directory = export_shape(Shape(hidden_size=256), precision, graph="portable")
    evaluator = ReferenceEvaluator(onnx.load(directory / "model.onnx"))
    driver = Driver(directory)
    driver.start(2)
    ids = random.integers(0, 301, (2, 20))
    mask = np.ones_like(ids)
    mask[0, :7] = 0
    past = driver.past
    expected = driver.step(ids, mask)
    feeds = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": np.maximum(mask.cumsum(1) - 1, 0),
    }
    found = evaluator.run(None, feeds | past)[0]
    assert spread_difference(found[1], expected[1]) < FP32
    assert spread_difference(found[0, 7:], expected[0, 7:]) < FP32


def test_several_graphs_share_one_weights_file(export_shape, random):
    directory = export_shape(graph=("fused", "portable"))
    alone = export_model(directory.parent / "checkpoint", directory.parent / "alone")
    names = {path.name for path in directory.iterdir()}
    assert names - {path.name for path in alone.iterdir()} == {"portable.onnx"}
    size = (directory / "model.onnx_data").stat().st_size
    assert size == (alone / "model.onnx_data").stat().st_size
    ids = random.integers(0, 301, 50)
    portable = Driver(directory, "portable.onnx").logits(ids, 50)
    fused = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")(ids[None]).logits[0]
    assert spread_difference(portable, fused) < FP32


def test_the_command_line_takes_several(tmp_path, random, capsys):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
    out = tmp_path / "out"
    assert main(["export", str(checkpoint), str(out), "--graph", "fused,portable"]) == 0
    assert (out / "portable.onnx").is_file()
    assert "model.onnx, portable.onnx, fp32" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(checkpoint), str(out), "--graph", "fused,tensorrt"])
    assert "invalid choice: 'tensorrt' (choose from fused, " in capsys.readouterr().err


class TestRefusals:
    @pytest.mark.parametrize("graph", [[], ["fused", ""], "", "Portable"])
    def test_unknown_kinds(self, export_shape, graph):
        with refused(InputError, "graph is '.*'; one of fused, portable, genai is allowed"):
            export_shape(graph=graph)

    def test_the_same_twice(self, export_shape):
        with refused(InputError, "name each kind once"):
            export_shape(graph=["fused", "fused"])


class TestTransformersJsLayout:
    @pytest.fixture
    def export(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(hidden_size=64), random)

        def export(**options):
            return export_model(checkpoint, tmp_path / "out", layout="transformers.js", **options)

        return export

    def test_it_may_be_exported_over(self, export):
        export(precision=["fp32", "int8"])
        out = export(precision="fp16")
        assert sorted(path.name for path in (out / "onnx").iterdir()) == [
            "model_fp16.onnx", "model_fp16.onnx_data",
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["notes.txt", "onnx/model_mine.onnx", "onnx/onnx/model.onnx"])
    def test_not_if_something_else_is_there(self, export, name):
        out = export()
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
        with refused(InputError, "is not empty and not an exported model; name another"):
            export()
        assert (out / name).read_text() == "mine"

    def test_a_file_for_each_dtype_and_its_weights_beside_it(self, export):
        out = export(precision=["fp32", "fp16", "int8", "int4"])
        names = ["model", "model_fp16", "model_quantized", "model_q4"]
        files = {f"{name}.onnx{data}" for name in names for data in ("", "_data")}
        assert {path.name for path in (out / "onnx").iterdir()} == files
        declared = json.loads((out / "config.json").read_text())["transformers.js_config"]
        assert declared == {"use_external_data_format": {f"{name}.onnx": 1 for name in names}}
        for name in names:
            model = onnx.load(out / f"onnx/{name}.onnx", load_external_data=False)
            locations = {
                entry.value
                for tensor in model.graph.initializer
                for entry in tensor.external_data
                if entry.key == "location"
            }
            assert locations == {f"{name}.onnx_data"}

    def test_only_the_batch_leads_a_caches_axes_by_name(self, export):
        """transformers.js reads the others to make the first, empty caches."""
        model = onnx.load(export() / "onnx/model.onnx", load_external_data=False)
        for value in model.graph.input:
            if value.name.startswith("past"):
                axes = [a.dim_param or a.dim_value for a in value.type.tensor_type.shape.dim]
                assert axes == ["batch_size", 4, "past_sequence_length", 16]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"graph": "fused"}, "transformers.js runs portable graphs only"),
            ({"precision": "w8a8"}, "transformers.js has no name for precision w8a8"),
            ({"precision": ["fp32", "bf16"]}, "has no name for precision bf16"),
            ({"precision": ["fp32", "fp32"]}, "each once"),
            ({"precision": []}, "at least one"),
        ],
    )
    def test_unsupported_options(self, export, tmp_path, options, message):
        with refused(InputError, message):
            export(**options)
        assert not (tmp_path / "out").exists()

    def test_the_command_line(self, tmp_path, random, capsys):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(hidden_size=64), random)
        out = tmp_path / "out"
        layout = ["--layout", "transformers.js", "--precision", "fp32,int4"]
        assert main(["export", str(checkpoint), str(out), *layout]) == 0
        assert "onnx/model.onnx, onnx/model_q4.onnx, fp32, int4" in capsys.readouterr().out
