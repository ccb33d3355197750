"""Every error that the package raises on purpose.

GPTNeoOnnxError
├── InputError (ValueError)              an argument, prompt or mask that cannot be used
├── ModelFileError (ValueError)          a checkpoint or an exported model that cannot be used
├── ExportError (OSError)                an export that could not be written
├── DeviceError (RuntimeError)           a device that was asked for and cannot be had
└── MissingDependencyError (ImportError) a package that this call needs and that is not installed
"""

from typing import Any


class GPTNeoOnnxError(Exception):
    """Base of the tree: catching it catches all that the package raises on purpose."""


class InputError(GPTNeoOnnxError, ValueError):
    """An argument, prompt or mask that cannot be used."""


class ModelFileError(GPTNeoOnnxError, ValueError):
    """A checkpoint or an exported model that is missing, damaged or of another kind."""


class ExportError(GPTNeoOnnxError, OSError):
    """An export that could not be written; nothing is left behind."""


class DeviceError(GPTNeoOnnxError, RuntimeError):
    """A device that was asked for by name and cannot be had."""


class MissingDependencyError(GPTNeoOnnxError, ImportError):
    """A package that this call needs and that is not installed."""


def shown(value: Any) -> str:
    """A value for a message: as Python writes it, in one line and not too long."""
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python writes out
        text = "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
