"""Checking files against the manifest, without hashing the same gigabytes at every start.

What was verified is remembered in the user's cache folder by device, inode, size and times. The
change time is among them: unlike the modification time, no ordinary program can set it back.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import FileRecord, sha256_of
from gptneo_onnx.runtime.files import cache_folder

REMEMBERED_FILE = "verified.json"
_MAX_REMEMBERED = 1000


class FileVerification:
    """Hashing in a thread of its own, so that a session can be made meanwhile."""

    def __init__(self, directory: Path, files: Mapping[str, FileRecord]) -> None:
        self.directory = directory
        self.files = files
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self.result = self.pool.submit(self._verify)

    def finish(self) -> None:
        """Wait for the outcome; raises ModelFileError if a file is not as the manifest says."""
        try:
            self.result.result()
        finally:
            self.pool.shutdown()

    def _verify(self) -> None:
        remembered = _read_remembered()
        verified = dict(remembered)
        for name, record in self.files.items():
            path = self.directory / name
            try:
                verified[_verified(path, record, remembered)] = record.sha256
            except OSError as error:
                raise ModelFileError(
                    f"{path} cannot be read ({error.strerror}); check its permissions, "
                    "or fetch the file again"
                ) from error
        if verified != remembered:
            _write_remembered(verified)


def _verified(path: Path, record: FileRecord, remembered: Mapping[str, Any]) -> str:
    """The identity of a file that is as recorded; raises ModelFileError if it is not."""
    identity = _identity(path)
    if remembered.get(identity) != record.sha256 and sha256_of(path) != record.sha256:
        raise ModelFileError(
            f"{path} was changed since the export (its SHA-256 differs); "
            "export the checkpoint again, or fetch the file again"
        )
    return identity


def _identity(path: Path) -> str:
    status = path.stat()
    numbers = (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
    return ":".join(map(str, numbers))


def _read_remembered() -> dict[str, Any]:
    try:
        return read_json_object(cache_folder() / REMEMBERED_FILE, max_bytes=1024 * 1024)
    except GPTNeoOnnxError:
        return {}


def _write_remembered(verified: dict[str, Any]) -> None:
    """Remembering is a convenience: where the cache folder cannot be written, nothing is said."""
    kept = dict(list(verified.items())[-_MAX_REMEMBERED:])
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=REMEMBERED_FILE, dir=folder)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file)
        Path(partial).replace(folder / REMEMBERED_FILE)
    except (OSError, InputError):
        return
