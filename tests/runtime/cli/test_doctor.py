"""`gptneo-onnx doctor` finds versions, packages and missing libraries."""

import ctypes
import importlib.metadata
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers

from gptneo_onnx.runtime.cli.doctor import (
    Finding,
    examine,
    missing_cuda_library,
    packages_of_extras,
)
from gptneo_onnx.runtime.engine import device, threads
from gptneo_onnx.runtime.onnx_runtime import installed_packages


def finding(subject: str) -> Finding:
    (found,) = [found for found in examine() if found.subject == subject]
    return found


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretend that these distributions of ONNX Runtime are installed, and no other."""

    def version(name: str) -> str:
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(importlib.metadata, "version", version)


def with_cuda(monkeypatch: pytest.MonkeyPatch, missing: str = "") -> list[str]:
    """Pretend to have CUDA, perhaps without one library; return the list of those loaded."""
    asked: list[str] = []

    def load(name: str, **mode: Any) -> None:
        asked.append(Path(name).name)
        if missing and Path(name).name == missing.partition(" ")[0]:
            raise OSError(missing.partition(" ")[2])

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(device, "preload_cuda_libraries", lambda: None)
    monkeypatch.setattr(ctypes, "CDLL", load)
    return asked


def test_versions_are_named() -> None:
    assert finding("Python").state.startswith(platform.python_version())
    assert finding("numpy").state == np.__version__
    assert finding("tokenizers").state == tokenizers.__version__
    assert finding("ONNX Runtime") == Finding("ONNX Runtime", onnxruntime.__version__)


def test_a_healthy_machine_needs_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    install(monkeypatch, onnxruntime="1.32.0")
    assert not any(found.advice for found in examine())
    assert finding("packages").state == "onnxruntime 1.32.0"


def test_no_advice_has_more_than_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.31.1")
    monkeypatch.setattr(onnxruntime, "__version__", "1.2.3")
    with_cuda(monkeypatch, "libcuda.so.1 some error\nof two lines")
    advised = [found for found in examine() if found.advice]
    assert [found.subject for found in advised] == ["ONNX Runtime", "packages", "CUDA"]
    assert not any("\n" in found.state + found.advice for found in advised)


def test_an_onnx_runtime_that_is_too_old_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.29.1")
    found = finding("ONNX Runtime")
    assert found.state == "1.29.1"
    assert "needs ONNX Runtime 1.30.0 or later, and 1.29.1 is installed" in found.advice
    assert "pip install --upgrade" in found.advice


def test_both_packages_at_once_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.31.1")
    found = finding("packages")
    assert found.state == "onnxruntime 1.32.0, onnxruntime-gpu 1.31.1"
    assert "overwrite each other" in found.advice
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found.advice


def test_a_package_of_another_name_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert installed_packages() == {}
    assert finding("packages") == Finding("packages", "none by name")


def test_the_package_that_is_installed_is_found() -> None:
    assert onnxruntime.__version__ in installed_packages().values()


def test_an_onnx_runtime_without_cuda_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert finding("CUDA") == Finding("CUDA", "not in this ONNX Runtime (models run on the CPU)")


def test_cuda_whose_libraries_load_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_cuda(monkeypatch)
    assert finding("CUDA") == Finding("CUDA", "its libraries load")
    assert asked == [
        "libonnxruntime_providers_shared.so",
        "libonnxruntime_providers_cuda.so",
        "libcuda.so.1",
    ]


@pytest.mark.parametrize("library", ["libcublasLt.so.13", "libcudnn.so.9", "libcuda.so.1"])
def test_a_missing_cuda_library_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    message = f"{library}: cannot open shared object file: No such file or directory"
    with_cuda(monkeypatch, f"libonnxruntime_providers_cuda.so {message}")
    found = finding("CUDA")
    assert found.state == f"{library} cannot be loaded"
    assert "NVIDIA driver" in found.advice
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]' nvidia-cublas" in found.advice


def test_a_library_that_fails_otherwise_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_cuda(monkeypatch, "libcuda.so.1 version `CUDA_13' not found")
    assert missing_cuda_library() == "version `CUDA_13' not found"


def test_the_cache_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", "/chosen")
    assert finding("cache folder") == Finding("cache folder", "/chosen")


def test_a_user_without_a_home_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GPTNEO_ONNX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "set GPTNEO_ONNX_CACHE" in finding("cache folder").advice


def test_extras_are_those_of_the_package() -> None:
    extras = packages_of_extras()
    assert {*extras} >= {"export", "optimum", "structured", "eval", "datasets"}
    assert "cpu" not in extras
    assert {"onnx", "safetensors"} <= {*extras["export"]}


def test_installed_extras_are_named() -> None:
    assert re.match("export, (.*, )?structured", finding("extras").state)


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.32.0", llguidance="1.9")
    assert finding("extras").state.startswith("structured (not installed: export, ")


@pytest.mark.parametrize(
    ("spin", "load", "said"),
    [
        ("0", 9.0, "3 that sleep while they wait"),
        ("1", 0.0, "3 that spin while they wait"),
        (
            "1",
            9.0,
            "3 that spin while they wait (other programs use the processors: GPTNEO_ONNX_SPIN=0 "
            "leaves them time)",
        ),
    ],
)
def test_threads_and_other_programs(
    monkeypatch: pytest.MonkeyPatch, spin: str, load: float, said: str
) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_THREADS", "3")
    monkeypatch.setenv("GPTNEO_ONNX_SPIN", spin)
    monkeypatch.setattr(threads, "load_per_processor", lambda: load)
    assert finding("threads").state == said
