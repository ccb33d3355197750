"""Which device a model runs on, and what that takes."""

import contextlib
import ctypes
import functools
import importlib.metadata
import io
import logging
import re
import sys
from dataclasses import dataclass

import onnxruntime

from gptneo_onnx.models.errors import DeviceError, InputError, MissingDependencyError
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision
from gptneo_onnx.models.json_file import shown

logger = logging.getLogger("gptneo_onnx")

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class Device:
    """A device by ONNX Runtime's names: `type` is "cpu" or "cuda", `index` counts the GPUs."""

    type: str
    index: int = 0

    @property
    def provider(self) -> str:
        return PROVIDERS[self.type]

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"


CPU = Device("cpu")


def candidate_devices(requested: str, numbers: NumberFormat | None) -> list[Device]:
    """The devices to try, best first; more than one only for "auto".

    Args:
        requested: auto, cpu, cuda or cuda:N.
        numbers: of a fused graph; None for operators that every device has.

    Raises:
        InputError: not a device's name.
        DeviceError: that device was asked for and this ONNX Runtime or this precision rules it out.
    """
    if requested == "auto":
        return _automatic(numbers)
    match = isinstance(requested, str) and re.fullmatch(r"cpu|(cuda)(?::([0-9]{1,3}))?", requested)
    if not match:
        raise InputError(f"device is {shown(requested)}; auto, cpu, cuda or cuda:N is allowed")
    device = Device(match[1] or "cpu", int(match[2] or 0))
    reason = _ruled_out(device, numbers)
    if reason:
        raise DeviceError(f"device {device} cannot be used: {reason}")
    return [device]


def _automatic(numbers: NumberFormat | None) -> list[Device]:
    cuda = Device("cuda")
    reasons = {device: _ruled_out(device, numbers) for device in (cuda, CPU)}
    devices = [device for device, reason in reasons.items() if not reason]
    if not devices:
        raise DeviceError(f"no device can run this model: {reasons[CPU]}")
    if reasons[cuda] and _has_cuda_provider() and _has_nvidia_driver():
        say_fallback(cuda, reasons[cuda])
    return devices


def _has_cuda_provider() -> bool:
    return PROVIDERS["cuda"] in onnxruntime.get_available_providers()


def _has_nvidia_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _ruled_out(device: Device, numbers: NumberFormat | None) -> str:
    """Why a device cannot run a model of this precision, or nothing."""
    if device.provider not in onnxruntime.get_available_providers():
        available = ", ".join(
            name for name, p in PROVIDERS.items() if p in onnxruntime.get_available_providers()
        )
        return (
            f"the installed ONNX Runtime has no {device.provider} (it has: {available}); "
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'gptneo-onnx[gpu]'"
        )
    if numbers is None:
        return ""
    if device.type == "cuda" and numbers.precision is Precision.W8A8:
        return (
            "w8a8 has no CUDA kernels; export with --precision int8 --activations fp16, "
            "or with --precision fp16"
        )
    is_float = not numbers.precision.is_quantized
    if device.type == "cuda" and numbers.activations is DataType.FLOAT32:
        advice = "--precision fp16 or bf16" if is_float else "--activations fp16 or bf16"
        return f"attention has no float32 kernel on CUDA; export with {advice}"
    if device.type == "cpu" and numbers.activations is DataType.BFLOAT16:
        advice = "--precision fp32" if is_float else "--activations fp32"
        return (
            "ONNX Runtime's CPU provider has no bfloat16 kernels; "
            f"use a CUDA device, or export the model with {advice}"
        )
    return ""


@functools.cache
def preload_cuda_libraries() -> None:
    """Load CUDA and cuDNN from the nvidia-* packages, if installed, before the first session."""
    # It prints what it does not find, to standard output; `doctor` tells that better.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


@functools.cache
def say_inexact_sums() -> None:
    """Tell once that a model's 8-bit sums may be wrong on this processor."""
    logger.warning(
        "this processor has no VNNI or AMX instructions and cuts off some sums of 8-bit products: "
        "export again without --full-range (or use --precision int8)"
    )


@functools.cache
def say_fallback(device: Device, reason: str) -> None:
    """Tell once that "auto" found a device that cannot be used."""
    logger.warning("device auto: %s: %s; running on the CPU", device, reason)


def check_onnx_runtime(least: str) -> None:
    """Raise MissingDependencyError unless the installed ONNX Runtime is at least that version."""
    installed = onnxruntime.__version__
    if _version(installed) < _version(least):
        raise MissingDependencyError(
            f"this model needs ONNX Runtime {least} or later, and {installed} is installed: "
            "pip install --upgrade 'gptneo-onnx[cpu]' (or [gpu])"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def installed_packages() -> dict[str, str]:
    """The installed distributions of ONNX Runtime by name: two of them overwrite each other."""
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
