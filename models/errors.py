"""The errors that the package raises on purpose.

GPTNeoOnnxError
├── InputError (ValueError)              an argument, prompt or mask that cannot be used
├── ModelFileError (ValueError)          a checkpoint or an exported model that cannot be used
├── ExportError (OSError)                an export that could not be written
├── DeviceError (RuntimeError)           a device that was asked for and is not available
└── MissingDependencyError (ImportError) a package that this call needs is not installed
"""

from typing import Any


class GPTNeoOnnxError(Exception):
    """The base class: catching it catches every error that the package raises on purpose."""


class InputError(GPTNeoOnnxError, ValueError):
    """An argument, prompt or mask that cannot be used."""


class ModelFileError(GPTNeoOnnxError, ValueError):
    """A checkpoint or an exported model that is missing, damaged or of another kind."""


class ExportError(GPTNeoOnnxError, OSError):
    """An export that could not be written; no part of it remains."""


class DeviceError(GPTNeoOnnxError, RuntimeError):
    """A device that was asked for by name is not available."""


class MissingDependencyError(GPTNeoOnnxError, ImportError):
    """A package that this call needs is not installed."""


def shown(value: Any) -> str:
    """Return a value's repr for a message: one line of at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python writes out
        text = "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."
