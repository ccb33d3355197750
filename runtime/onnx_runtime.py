"""The installed ONNX Runtime: its version, and the packages that it comes from."""

import importlib.metadata
import re

import onnxruntime

from gptneo_onnx.models.errors import MissingDependencyError


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
