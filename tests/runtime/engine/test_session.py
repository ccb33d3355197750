"""Making sessions: devices by name, what rules them out, and what a session is made with."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from gptneo_onnx.models.errors import DeviceError, GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import session as session_module
from gptneo_onnx.runtime.engine.device import CPU, Device, candidate_devices, warn_fallback
from gptneo_onnx.runtime.engine.session import Session, create_session

FP32, FP16, BF16 = map(NumberFormat.of, (Precision.FP32, Precision.FP16, Precision.BF16))
GPU = Device("cuda")


@pytest.fixture
def graph(export_shape: Callable[..., Path]) -> Path:
    return export_shape() / "model.onnx"


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    providers(monkeypatch, "CPUExecutionProvider")


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    providers(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr(session_module, "preload_cuda_libraries", lambda: None)
    warn_fallback.cache_clear()


def providers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


class Recorder:
    """In place of InferenceSession: keeps what it was called with, and fails on some providers."""

    def __init__(self, failing: dict[str, str] | None = None, silent: bool = False) -> None:
        self.failing = failing or {}
        self.silent = silent  # becomes a CPU session, as ONNX Runtime does with its fallback
        self.calls: list[dict[str, Any]] = []

    def __call__(self, path: Path, options: Any, **arguments: Any) -> "Recorder":
        self.calls.append({"path": path, "options": options, **arguments})
        provider = arguments["providers"][0][0]
        if provider in self.failing:
            raise RuntimeError(self.failing[provider])
        return self

    def get_providers(self) -> list[str]:
        provider = self.calls[-1]["providers"][0][0]
        return ["CPUExecutionProvider"] if self.silent else [provider, "CPUExecutionProvider"]


def record(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Recorder:
    recorder = Recorder(**arguments)
    monkeypatch.setattr(onnxruntime, "InferenceSession", recorder)
    return recorder


def refused(kind: type[GPTNeoOnnxError], match: str, device: Any, numbers: NumberFormat) -> None:
    with pytest.raises(kind, match=match) as caught:
        candidate_devices(device, numbers)
    assert "\n" not in str(caught.value)


# Names.


@pytest.mark.parametrize(
    "device",
    [
        *("", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:1000", "cuda:1.0", " cpu"),
        *("cpu\n", "cuda:\u0661", "cuda:0:0", "cuda,cpu", "CPUExecutionProvider", "x" * 9999),
        *(None, 0, -1, True, ["cpu"], CPU),
    ],
)
def test_what_is_no_device_is_refused(device: Any) -> None:
    refused(InputError, "device is .*; auto, cpu, cuda or cuda:N is allowed", device, FP32)


def test_devices_by_name(with_cuda: None) -> None:
    assert candidate_devices("cpu", FP32) == [CPU]
    assert candidate_devices("cuda", FP16) == [Device("cuda", 0)]
    assert candidate_devices("cuda:3", BF16) == [Device("cuda", 3)]
    assert (str(CPU), str(Device("cuda", 3))) == ("cpu", "cuda:3")


# What rules a device out.


def test_cuda_where_there_is_none_is_refused(without_cuda: None) -> None:
    refused(
        DeviceError,
        r"device cuda:0 cannot be used: the installed ONNX Runtime has no CUDAExecutionProvider "
        r"\(it has: cpu\); pip uninstall onnxruntime onnxruntime-gpu, then "
        r"pip install 'gptneo-onnx\[gpu\]'",
        "cuda",
        FP16,
    )


def test_float32_on_cuda_is_refused_with_the_way_out(with_cuda: None) -> None:
    refused(
        DeviceError,
        "device cuda:0 cannot be used: .*no float32 kernel.*; export with --precision fp16 or bf16",
        "cuda",
        FP32,
    )


def test_bfloat16_on_the_cpu_is_refused_with_the_way_out() -> None:
    refused(
        DeviceError,
        "device cpu cannot be used: .*no bfloat16 kernels; use a CUDA device, or export .*fp32",
        "cpu",
        BF16,
    )


def test_auto_takes_cuda_first_where_both_can_be_had(with_cuda: None) -> None:
    assert candidate_devices("auto", FP16) == [GPU, CPU]


def test_auto_leaves_out_what_is_ruled_out(
    with_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert candidate_devices("auto", FP32) == [CPU]
    assert candidate_devices("auto", BF16) == [GPU]
    providers(monkeypatch, "CPUExecutionProvider")
    assert candidate_devices("auto", FP16) == [CPU]


def test_auto_with_nothing_left_is_refused(without_cuda: None) -> None:
    refused(DeviceError, "no device can run this model: .*no bfloat16 kernels", "auto", BF16)


def test_a_bfloat16_model_says_so_without_a_gpu(
    export_shape: Callable[..., Path], without_cuda: None
) -> None:
    export = export_shape(precision="bf16")
    with pytest.raises(DeviceError, match="no bfloat16 kernels; use a CUDA device"):
        GPTNeoForCausalLM.from_pretrained(export)


# Falling back.


def test_auto_falls_back_and_says_so_once(
    with_cuda: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record(monkeypatch, failing={"CUDAExecutionProvider": "no CUDA-capable device\nand more"})
    with caplog.at_level(logging.WARNING, "gptneo_onnx"):
        for _ in range(2):
            assert create_session(Path("graph"), FP16).device == CPU
    (said,) = caplog.messages
    assert said.startswith("device auto: cuda:0: cannot be used: ")
    assert said.endswith("doctor`; running on the CPU")


def test_cuda_by_name_does_not_fall_back(with_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch, failing={"CUDAExecutionProvider": "no CUDA-capable device"})
    with pytest.raises(DeviceError, match="device cuda:1 cannot be used: no CUDA-capable device"):
        create_session(Path("graph"), FP16, "cuda:1")
    assert len(recorder.calls) == 1


def test_a_session_that_quietly_became_another_is_noticed(
    with_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(monkeypatch, silent=True)
    with pytest.raises(DeviceError, match="could not load CUDAExecutionProvider; run .*doctor"):
        create_session(Path("graph"), FP16, "cuda")
    assert create_session(Path("graph"), FP16, "auto").device == CPU


def test_onnx_runtimes_own_fallback_is_off(
    with_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(monkeypatch)
    create_session(Path("graph"), FP16, "cuda")
    assert recorder.calls[0]["enable_fallback"] == 0


# What a session is made with.


def test_a_session_on_the_cpu_is_made(graph: Path) -> None:
    session = create_session(graph, FP32)
    assert session.device == CPU
    assert session.inference.get_providers() == ["CPUExecutionProvider"]


def test_denormals_are_zero(graph: Path) -> None:
    options = create_session(graph, FP32).inference.get_session_options()
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"


def test_threads_stop_spinning_behind_a_run(graph: Path) -> None:
    session = create_session(graph, FP32, "cpu")
    options = session.inference.get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_the_format_is_not_guessed_from_the_name(graph: Path) -> None:
    """The graph was checked as ONNX: a name that ends in .ort must not make it something else."""
    session = create_session(graph.rename(graph.with_suffix(".ort")), FP32)
    assert session.inference.get_inputs()[0].name == "input_ids"


@pytest.mark.parametrize("threads", [1, 2, 1024])
def test_threads_are_as_many_as_asked_for(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch)
    create_session(Path("graph"), FP32, num_threads=threads)
    assert recorder.calls[0]["options"].intra_op_num_threads == threads


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**40, 10**400, 1.0, True, "2", float("nan")])
def test_threads_out_of_range_are_refused(threads: Any) -> None:
    with pytest.raises(InputError, match="num_threads is .*; a whole number from 1 to 1024"):
        create_session(Path("graph"), FP32, num_threads=threads)


def test_provider_options_are_passed_on(with_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch)
    options = {"gpu_mem_limit": "1000", "device_id": "7"}
    create_session(Path("graph"), FP16, "cuda:2", provider_options=options)
    create_session(Path("graph"), FP16, "cuda:2")
    given, plain = (call["providers"] for call in recorder.calls)
    strict = {"enable_skip_layer_norm_strict_mode": "1"}
    assert given == [("CUDAExecutionProvider", strict | options), "CPUExecutionProvider"]
    assert plain[0] == ("CUDAExecutionProvider", strict | {"device_id": "2"})


@pytest.mark.parametrize("value", ["1", 1, True, "True"])
def test_cuda_graphs_are_refused(with_cuda: None, value: Any) -> None:
    """ONNX Runtime would play one prefill back for every step."""
    with pytest.raises(InputError, match="enable_cuda_graph, which this runtime does not use"):
        create_session(Path("graph"), FP16, "cuda", provider_options={"enable_cuda_graph": value})


def test_provider_options_reach_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch)
    create_session(Path("graph"), FP32, "cpu", provider_options={"a": "b"})
    assert recorder.calls[0]["providers"] == [("CPUExecutionProvider", {"a": "b"})]


# Graphs that ONNX Runtime refuses.


@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"nothing", bytes(1000)])
def test_a_graph_that_onnx_runtime_refuses_is_an_error_of_ours(graph: Path, content: bytes) -> None:
    graph.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"ONNX Runtime refuses {graph}: ") as caught:
        create_session(graph, FP32)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_graph_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="ONNX Runtime refuses .*nowhere.onnx"):
        create_session(tmp_path / "nowhere.onnx", FP32)


def test_nothing_is_warned_of(graph: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_session(graph, FP32)


# Weights that stay in the file.


def packs(session: Session) -> bool:
    options = session.inference.get_session_options()
    try:
        return options.get_session_config_entry("session.disable_prepacking") != "1"
    except RuntimeError:  # there is no such entry
        return True


def test_weights_are_packed_unless_they_are_mapped(graph: Path) -> None:
    assert packs(create_session(graph, FP32, "cpu"))
    assert not packs(create_session(graph, FP32, "cpu", mmap=True))


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [(NumberFormat.of(Precision.INT8), "in int8"), (FP16, "in fp16"), (None, "a portable graph")],
)
def test_other_weights_must_be_packed(numbers: NumberFormat | None, kind: str) -> None:
    with pytest.raises(InputError, match=f"mmap is for fused graphs in fp32, and this is {kind}"):
        create_session(Path("graph"), numbers, "cpu", mmap=True)
