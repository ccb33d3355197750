"""The device that a model runs on: which can be had, and what its processor can do."""

import contextlib
import ctypes
import functools
import io
import logging
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from gptneo_onnx.models.errors import DeviceError, InputError, shown
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision

logger = logging.getLogger("gptneo_onnx")

CPU_INFO = Path("/proc/cpuinfo")
# These accumulate 8-bit products in 32 bits; older x86 uses saturating 16-bit sums.
_EXACT_SUMS = ("avx512_vnni", "avx_vnni", "amx_int8")
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
    """Return the devices to try, best first; more than one only for "auto".

    Args:
        requested: auto, cpu, cuda or cuda:N.
        numbers: the number format of a fused graph; None for operators that every device has.

    Raises:
        InputError: that is no device's name.
        DeviceError: the installed ONNX Runtime, or the precision, rules that device out.
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
        warn_fallback(cuda, reasons[cuda])
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
    """Return why a device cannot run a model of this precision, or an empty text."""
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
    # It prints to standard output what it does not find; `doctor` reports that better.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


@functools.cache
def warn_saturating_sums() -> None:
    """Warn once that a model's 8-bit sums may be wrong on this processor."""
    logger.warning(
        "this processor has no VNNI or AMX instructions and cuts off some sums of 8-bit products: "
        "export again without --full-range (or use --precision int8)"
    )


@functools.cache
def warn_fallback(device: Device, reason: str) -> None:
    """Warn once that "auto" found a device that cannot be used."""
    logger.warning("device auto: %s: %s; running on the CPU", device, reason)


def int8_dot_instructions() -> str | None:
    """Return this x86 processor's instructions for exact sums of 8-bit products, or "".

    None where that is unknown: on other processors, whose sums are exact, and without
    /proc/cpuinfo.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    try:
        info = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^flags\s*:(.*)$", info, re.MULTILINE)
    if match is None:
        return None
    flags = match[1].split()
    return ", ".join(name for name in _EXACT_SUMS if name in flags)


def saturates_int8_sums() -> bool:
    """Return whether this processor is known to saturate sums of full 8-bit products."""
    return int8_dot_instructions() == ""
