"""Check files against the manifest, without hashing the same gigabytes at every start.

The hashes of verified files are remembered in the user's cache folder, by their identity: see
held_file.py.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.manifest import FileRecord
from gptneo_onnx.runtime.model_files.held_file import HeldFile
from gptneo_onnx.runtime.model_files.remembered import read_remembered, write_remembered

REMEMBERED_FILE = "verified.json"


class FileVerification:
    """Hashes files in a thread, so that a session can be made meanwhile.

    Args:
        directory: where the files are.
        files: what they must be, by name.
        held: those that are open already, by name.
        watched: files that must not change until finish(), which closes them.
    """

    def __init__(
        self,
        directory: Path,
        files: Mapping[str, FileRecord],
        held: Mapping[str, HeldFile] | None = None,
        watched: Sequence[HeldFile] = (),
    ) -> None:
        self.directory = directory
        self.files = files
        self.held = held or {}
        self.watched = watched
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self.result = self.pool.submit(self._verify)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle one of no files: a child process leaves hashing to its parent."""
        return FileVerification, (self.directory, {})

    def finish(self, by_path: bool = False) -> None:
        """Wait for the thread, then look once more at the files that are watched.

        Args:
            by_path: whether someone opened them by their paths meanwhile; see
                HeldFile.check_unchanged().

        Raises:
            ModelFileError: a file is not as the manifest says, or was changed meanwhile.
        """
        try:
            self.result.result()
            for file in self.watched:
                if file.is_open:
                    file.check_unchanged(by_path)
        finally:
            self.pool.shutdown()
            for file in self.watched:
                file.close()

    def _verify(self) -> None:
        remembered = read_remembered(REMEMBERED_FILE)
        verified = dict(remembered)
        for name, record in self.files.items():
            file = self.held.get(name) or HeldFile(self.directory / name)
            try:
                _check_hash(file, record, remembered)
            except OSError as error:
                raise ModelFileError(
                    f"{file.path} cannot be read ({error.strerror}); check its permissions, "
                    "or fetch the file again"
                ) from error
            verified[file.identity] = record.sha256
        if verified != remembered:
            write_remembered(REMEMBERED_FILE, verified)


def _check_hash(file: HeldFile, record: FileRecord, remembered: Mapping[str, Any]) -> None:
    """Raise ModelFileError if a file's hash is not the recorded one."""
    if remembered.get(file.identity) != record.sha256 and file.sha256() != record.sha256:
        raise ModelFileError(
            f"{file.path} was changed since the export (its SHA-256 differs); "
            "export the checkpoint again, or fetch the file again"
        )
