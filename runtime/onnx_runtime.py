"""The installed ONNX Runtime: whether there is one, its version and its packages.

This module can be imported without ONNX Runtime.
"""

import os
import re

from gptneo_onnx.models.errors import MissingDependencyError


def require_onnx_runtime() -> None:
    """Raise MissingDependencyError, saying what to install, unless ONNX Runtime is installed.

    ONNX Runtime 1.32 writes a device id and queues telemetry in the user's cache folder when it is
    imported, before disable_telemetry_events() can be called: unless the environment says
    otherwise, it is told not to.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        # After one of two builds was uninstalled, an empty package is left, which can be imported.
        from onnxruntime import InferenceSession  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "running a model needs ONNX Runtime: pip install 'gptneo-onnx[cpu]', or "
            "'gptneo-onnx[gpu]' for CUDA (not both: they overwrite each other's files; where "
            "both were installed, uninstall both first)"
        ) from error


def silence_onnx_runtime() -> None:
    """Keep ONNX Runtime from logging: the program says in one line what went wrong."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)


def check_onnx_runtime(least: str) -> None:
    """Raise MissingDependencyError unless the installed ONNX Runtime is at least that version."""
    import onnxruntime

    installed = onnxruntime.__version__
    if not is_onnx_runtime(least):
        raise MissingDependencyError(
            f"this model needs ONNX Runtime {least} or later, and {installed} is installed: "
            "pip install --upgrade 'gptneo-onnx[cpu]' (or [gpu])"
        )


def is_onnx_runtime(least: str) -> bool:
    """Return whether the installed ONNX Runtime is at least that version."""
    import onnxruntime

    return _version(onnxruntime.__version__) >= _version(least)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def installed_packages() -> dict[str, str]:
    """Return the versions of the installed distributions of ONNX Runtime, by name.

    There should be one: two overwrite each other's files.
    """
    from importlib import metadata  # it takes 20 ms

    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
