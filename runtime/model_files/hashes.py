"""Check files against the manifest, without hashing the same gigabytes at every start.

The hashes of verified files are remembered in the user's cache folder, by device, inode, size,
modification time and change time. No ordinary program can set the change time back, as it can the
modification time.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import FileRecord, sha256_of
from gptneo_onnx.runtime.files import cache_folder, replace_atomically

REMEMBERED_FILE = "verified.json"
_MAX_REMEMBERED = 1000


class FileVerification:
    """Hashes files in a thread, so that a session can be made meanwhile."""

    def __init__(self, directory: Path, files: Mapping[str, FileRecord]) -> None:
        self.directory = directory
        self.files = files
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self.result = self.pool.submit(self._verify)

    def finish(self) -> None:
        """Wait for the thread; raises ModelFileError if a file is not as the manifest says."""
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
                verified[_check_hash(path, record, remembered)] = record.sha256
            except OSError as error:
                raise ModelFileError(
                    f"{path} cannot be read ({error.strerror}); check its permissions, "
                    "or fetch the file again"
                ) from error
        if verified != remembered:
            _write_remembered(verified)


def _check_hash(path: Path, record: FileRecord, remembered: Mapping[str, Any]) -> str:
    """Return a file's identity; raises ModelFileError if its hash is not the recorded one."""
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
    """Write the newest hashes; a cache folder that cannot be written costs only time."""
    newest = dict(list(verified.items())[-_MAX_REMEMBERED:])
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with replace_atomically(folder / REMEMBERED_FILE, "w") as file:
            json.dump(newest, file)
    except (OSError, InputError):
        return
