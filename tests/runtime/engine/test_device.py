"""Which processors cut off sums of 8-bit products, and who is told."""

import platform

import numpy as np
import onnxruntime
import pytest
from checkpoints import Shape
from onnx import TensorProto, helper, numpy_helper

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, Manifest
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.cli import doctor
from gptneo_onnx.runtime.cli.info import model_info
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.engine import device


@pytest.fixture
def flags(monkeypatch, tmp_path):
    """Make this an x86 processor with these flags."""

    def have(*names):
        info = tmp_path / "cpuinfo"
        info.write_text(f"processor\t: 0\nflags\t\t: fpu avx2 {' '.join(names)}\nbugs\t:\n")
        monkeypatch.setattr(device, "CPU_INFO", info)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    return have


@pytest.mark.parametrize("names", [["avx_vnni"], ["avx512_vnni", "amx_int8"]])
def test_with_vnni_or_amx_sums_are_exact(flags, names):
    flags(*names)
    assert device.int8_dot_instructions() == ", ".join(names)
    assert not device.saturates_int8_sums()


def test_without_them_sums_are_cut_off(flags):
    flags("avx512f", "avx512bw")
    assert device.int8_dot_instructions() == ""
    assert device.saturates_int8_sums()


def test_other_processors_and_systems_are_not_suspected(flags, monkeypatch, tmp_path):
    flags()
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "nowhere")
    assert device.int8_dot_instructions() is None
    assert not device.saturates_int8_sums()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert not device.saturates_int8_sums()


def test_the_doctor_says_so(flags):
    flags("avx2")
    found = {finding.subject: finding for finding in doctor.examine()}["8-bit products"]
    assert found.state == "no VNNI or AMX: some sums are cut off"
    assert found.advice == "export again without --full-range (or use --precision int8)"
    flags("avx_vnni")
    found = {finding.subject: finding for finding in doctor.examine()}["8-bit products"]
    assert (found.state, found.advice) == ("avx_vnni", "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--precision", "int8", "--activations", "fp16"], ("int8", "float16", False)),
        (["--precision", "w8a8"], ("w8a8", "float32", True)),
        (["--precision", "w8a8", "--full-range"], ("w8a8", "float32", False)),
    ],
)
def test_the_commands_options_reach_the_manifest(tmp_path, options, expected):
    out = tmp_path / "out"
    assert main(["export", str(EMBEDDED_CHECKPOINT), str(out), *options]) == 0
    numbers = Manifest.read(out).numbers
    assert (numbers.precision.value, numbers.activations.value, numbers.reduce_range) == expected


@pytest.mark.parametrize(
    ("options", "weights"), [({}, "7-bit"), ({"full_range": True}, "full-range")]
)
def test_info_says_which_weights_w8a8_has(export_shape, options, weights):
    assert model_info(export_shape(Shape(), "w8a8", **options))["weights"] == weights


def test_info_says_it_of_no_other_precision(export_shape):
    assert "weights" not in model_info(export_shape(Shape(), "int8"))


def test_loading_full_range_there_warns_once_and_not_with_7_bits(flags, export_shape, caplog):
    flags()
    device.warn_saturating_sums.cache_clear()
    exported = export_shape(Shape(), "w8a8", full_range=True)
    with caplog.at_level("WARNING"):
        GPTNeoForCausalLM.from_pretrained(exported)
        GPTNeoForCausalLM.from_pretrained(exported)
    advice = "export again without --full-range (or use --precision int8)"
    assert caplog.text.count(advice) == 1
    device.warn_saturating_sums.cache_clear()
    caplog.clear()
    with caplog.at_level("WARNING"):
        GPTNeoForCausalLM.from_pretrained(export_shape(Shape(), "fp32"))
        GPTNeoForCausalLM.from_pretrained(export_shape(Shape(), "w8a8"))
    assert not caplog.text


@pytest.mark.parametrize("largest", [63, 127])
def test_the_largest_products_are_added_exactly_where_it_is_said_so(largest):
    """ONNX Runtime's product of the largest codes, of one row and of many."""
    if largest == 127 and device.int8_dot_instructions() is None:
        pytest.skip("this processor is not known to add them exactly")
    is_exact = largest == 63 or not device.saturates_int8_sums()
    inputs, outputs = 512, 64
    weights = np.full((inputs, outputs), largest, np.int8)
    weights[:, 1::2] = -largest
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weights"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for rows in (1, 3, 40):
        x = np.full((rows, inputs), 255, np.uint8)
        expected = x.astype(np.int64) @ weights.astype(np.int64)
        assert (session.run(None, {"x": x})[0] == expected).all() == is_exact
