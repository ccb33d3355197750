"""Exports that were made on demand: where they lie in the cache folder, and what is known of each.

Layout of the folder `exports`: NAME is an exported directory, .NAME.json the record of what it was
made of, whose modification time is the export's last use. .NAME.lock is there while it is made.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError
from gptneo_onnx.models.file_lock import file_lock, is_locked
from gptneo_onnx.models.interruption import half_written
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import FORMAT_VERSION, MANIFEST_FILE, partial_prefix
from gptneo_onnx.models.staging import OWNER, remove_leftovers
from gptneo_onnx.runtime.files import cache_folder, remove_abandoned_files, replace_atomically

FOLDER = "exports"
_RECORD_SUFFIX, _LOCK_SUFFIX = ".json", ".lock"
_LONGEST_NAME = 60
# Entries of a source that say where it was found, not what it holds.
_NOT_IDENTITY = ("revision", "cache_dir")


@dataclass(frozen=True)
class CachedExport:
    """An export of the cache folder, which may not have been made yet.

    Attributes:
        name: its directory's name.
        source: identifies the checkpoint and its state (checkpoint_source.py).
        settings: how it is exported.
        format_version: of the export's manifest.
        made: when, in ISO 8601.
    """

    name: str
    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    format_version: int = FORMAT_VERSION
    made: str = ""

    @classmethod
    def of(cls, source: Mapping[str, Any], settings: Mapping[str, Any]) -> "CachedExport":
        """Return the export of a checkpoint in its present state."""
        identity = {name: value for name, value in source.items() if name not in _NOT_IDENTITY}
        key = json.dumps([identity, settings, FORMAT_VERSION], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        name = str(source.get("hub_id") or Path(str(source.get("folder", "embedded"))).name)
        short = re.sub(r"[^A-Za-z0-9_.-]+", "--", name).strip(".-")[:_LONGEST_NAME]
        precision = str(settings["precision"]).replace(",", "-")
        return cls(f"{short or 'model'}-{precision}-{digest}", source, settings)

    @property
    def label(self) -> str:
        """What it was made of, for people: a hub id, the path of a checkpoint, or its own name."""
        if "embedded" in self.source:
            return "the embedded model"
        return str(self.source.get("hub_id") or self.source.get("folder") or self.name)

    @property
    def path(self) -> Path:
        """The exported directory."""
        return exports_folder() / self.name

    @property
    def is_there(self) -> bool:
        return (self.path / MANIFEST_FILE).is_file()

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return folder_size(self.path)

    @property
    def last_used(self) -> datetime:
        """When it was last loaded, or was made."""
        for path in (_record(self.name), self.path):
            with suppress(OSError):
                return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return datetime.now(UTC)

    def mark_used(self) -> None:
        """Record that it is loaded now; a cache that cannot be written stays as it is."""
        with suppress(OSError):
            os.utime(_record(self.name))

    @contextmanager
    def being_made(self, on_wait: Callable[[], object]) -> Iterator[bool]:
        """Let one process make it while others wait; yield whether it is still to be made.

        If the block fails, no record remains.

        Raises:
            InputError: the cache folder cannot be written.
        """
        with ExitStack() as stack:
            try:
                exports_folder().mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(_lock(self.name), on_wait))
                is_missing = not self.is_there
                if is_missing:
                    _remove_doomed(self.name)
                    self._write_record()
            except OSError as error:
                raise InputError(
                    f"the cache folder {exports_folder()} cannot be written: {error.strerror}; "
                    "set GPTNEO_ONNX_CACHE to a folder that can"
                ) from error
            with half_written(self._forget):
                yield is_missing

    def _forget(self) -> None:
        """Remove the record of an export that was not made."""
        if not self.is_there:
            _record(self.name).unlink(missing_ok=True)

    def _write_record(self) -> None:
        made = datetime.now(UTC).isoformat(timespec="seconds")
        values = {
            "source": self.source,
            "settings": self.settings,
            "format_version": self.format_version,
            "made": made,
        }
        with replace_atomically(_record(self.name), "w") as file:
            json.dump(values, file, indent=2)

    def remove(self) -> bool:
        """Remove it with its record; return whether it is gone.

        An export that another process makes just now stays.
        """
        if is_locked(_lock(self.name)):
            return False
        # First under a hidden name: a directory that is half removed is no export.
        _remove_doomed(self.name)
        with suppress(OSError):
            self.path.rename(_doomed(self.name))
        _remove_doomed(self.name)
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            return False
        _record(self.name).unlink(missing_ok=True)
        return True


def exports_folder() -> Path:
    """Return the folder of all exports that were made on demand; it may not exist yet."""
    return cache_folder() / FOLDER


def cached_exports() -> list[CachedExport]:
    """Return the exports of the cache folder, those last used first.

    One whose record is lost or damaged has an empty source.
    """
    folder = exports_folder()
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    exports = [_read(name) for name in names if not name.startswith(".")]
    return sorted(exports, key=lambda export: export.last_used, reverse=True)


def remove_all_leftovers() -> int:
    """Remove what processes left that were killed while they exported; return the bytes freed."""
    folder = exports_folder()
    freed = remove_abandoned_files(folder) + remove_abandoned_files(cache_folder())
    freed += sum(leftover.size for leftover in remove_leftovers(folder))
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if not path.name.startswith(".") or path.suffix == ".partial":  # a record, being written
            continue
        if (path / OWNER).exists():  # it is being written
            continue
        name = path.name[1:].rpartition(".")[0]
        if is_locked(_lock(name)) or ((folder / name).exists() and path != _doomed(name)):
            continue
        freed += folder_size(path) if path.is_dir() else path.stat().st_size
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return freed


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _read(name: str) -> CachedExport:
    try:
        values = read_json_object(_record(name))
        return CachedExport(
            name,
            dict(values["source"]),
            dict(values["settings"]),
            int(values["format_version"]),
            str(values["made"]),
        )
    except (GPTNeoOnnxError, KeyError, TypeError, ValueError):
        unknown = CachedExport(name, {}, {"precision": "?"})
        return replace(unknown, format_version=0)


def _record(name: str) -> Path:
    return exports_folder() / f".{name}{_RECORD_SUFFIX}"


def _lock(name: str) -> Path:
    return exports_folder() / f".{name}{_LOCK_SUFFIX}"


def _doomed(name: str) -> Path:
    """Return the name that an export has while it is removed."""
    return exports_folder() / f"{partial_prefix(name)}removed"


def _remove_doomed(name: str) -> None:
    shutil.rmtree(_doomed(name), ignore_errors=True)
