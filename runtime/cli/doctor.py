"""What `gptneo-onnx doctor` finds out about the machine: versions, providers, missing libraries."""

import ctypes
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

from gptneo_onnx.models.errors import InputError, MissingDependencyError
from gptneo_onnx.models.manifest import LEAST_ONNX_RUNTIME
from gptneo_onnx.runtime.engine.device import (
    PROVIDERS,
    int8_dot_instructions,
    preload_cuda_libraries,
)
from gptneo_onnx.runtime.files import cache_folder
from gptneo_onnx.runtime.onnx_runtime import check_onnx_runtime, installed_packages


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` is what to do, where something is wrong."""

    subject: str
    state: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything that decides whether and where models run here."""
    return [
        Finding(
            "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
        ),
        Finding("numpy", np.__version__),
        Finding("tokenizers", tokenizers.__version__),
        _onnx_runtime(),
        _packages(),
        _products(),
        _cuda(),
        _cache_folder(),
    ]


def _onnx_runtime() -> Finding:
    advice = ""
    try:
        check_onnx_runtime(LEAST_ONNX_RUNTIME)
    except MissingDependencyError as error:
        advice = str(error)
    return Finding("ONNX Runtime", onnxruntime.__version__, advice)


def _packages() -> Finding:
    packages = installed_packages()
    state = ", ".join(f"{name} {version}" for name, version in packages.items()) or "none by name"
    advice = ""
    if len(packages) > 1:
        advice = (
            "they overwrite each other's files: pip uninstall onnxruntime onnxruntime-gpu, "
            "then install one of them"
        )
    return Finding("packages", state, advice)


def _products() -> Finding:
    instructions = int8_dot_instructions()
    if instructions == "":
        return Finding(
            "8-bit products",
            "no VNNI or AMX: some sums are cut off",
            "export again without --full-range (or use --precision int8)",
        )
    return Finding("8-bit products", instructions or "exact")


def _cuda() -> Finding:
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return Finding("CUDA", "not in this ONNX Runtime (models run on the CPU)")
    missing = missing_cuda_library()
    if missing:
        return Finding(
            "CUDA",
            f"{missing} cannot be loaded",
            "install the NVIDIA driver, and CUDA's libraries with: "
            "pip install 'onnxruntime-gpu[cuda,cudnn]' nvidia-cublas",
        )
    return Finding("CUDA", "its libraries load")


def _cache_folder() -> Finding:
    try:
        return Finding("cache folder", str(cache_folder()))
    except InputError as error:
        return Finding("cache folder", "none", str(error))


def missing_cuda_library() -> str:
    """The first library that the CUDA provider needs and that is not found, or nothing."""
    preload_cuda_libraries()
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        for library in ("shared", "cuda"):
            path = folder / f"libonnxruntime_providers_{library}.so"
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL("libcuda.so.1")  # comes with the driver, not with a package
    except OSError as error:
        match = re.match(r"(\S+): cannot open shared object file", str(error))
        return match[1] if match else " ".join(str(error).split())
    return ""
