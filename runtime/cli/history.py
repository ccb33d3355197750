"""The lines that a user typed in earlier sessions, kept in a file of the user's own.

The file has a JSON string a line, so that an entry may have several lines. Each entry is appended
when it is typed: sessions that run at the same time do not lose each other's.
"""

import json
import os
import sys
from pathlib import Path

from gptneo_onnx.models.named_file import open_file
from gptneo_onnx.runtime.files import replace_atomically

MAX_ENTRIES = 1000
MAX_ENTRY_CHARACTERS = 10_000
_MAX_FILE_BYTES = 4 * 1024 * 1024
_PRIVATE = 0o600


def history_file() -> Path:
    """Return where the history is kept: in the user's folder for the state of programs.

    It is gptneo-onnx/history in $XDG_STATE_HOME, or else in the platform's folder.

    Raises:
        RuntimeError: the user has no home directory.
    """
    if chosen := os.environ.get("XDG_STATE_HOME"):
        folder = Path(chosen)
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path.home() / ".local" / "state"
    return folder / "gptneo-onnx" / "history"


class History:
    """Entries of earlier sessions, and a file that new ones are added to.

    Attributes:
        entries: those that the file had, the oldest first; at most MAX_ENTRIES.
    """

    def __init__(self, file: Path) -> None:
        """Read the file, and shorten it if it has far more entries than are kept.

        Raises:
            OSError: the file cannot be read, or its folder cannot be made.
        """
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = self._lines()
        self.entries = [entry for line in lines if (entry := _entry(line)) is not None]
        self.entries = self.entries[-MAX_ENTRIES:]
        if len(lines) > 2 * MAX_ENTRIES or self._size() > _MAX_FILE_BYTES // 2:
            self._replace()

    def add(self, entry: str) -> None:
        """Append an entry to the file, unless it is empty, very long or the one before it.

        Raises:
            OSError: the file cannot be written.
        """
        is_last = self.entries[-1:] == [entry]
        if not entry.strip() or len(entry) > MAX_ENTRY_CHARACTERS or is_last:
            return
        self.entries.append(entry)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(os.open(self._file, flags, _PRIVATE), "a", encoding="ascii") as file:
            if hasattr(os, "fchmod"):  # not on Windows
                os.fchmod(file.fileno(), _PRIVATE)  # it may have been made by hand
            file.write(json.dumps(entry) + "\n")

    def _lines(self) -> list[str]:
        """Return the file's last lines; none if there is no file yet."""
        if not self._file.exists():
            return []
        with open_file(self._file) as file:
            file.seek(max(0, self._size() - _MAX_FILE_BYTES))
            return file.read(_MAX_FILE_BYTES).decode(errors="replace").splitlines()

    def _size(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    def _replace(self) -> None:
        """Write the entries that are kept to a new file, which takes the place of the old one."""
        kept: list[str] = []
        room = _MAX_FILE_BYTES // 4
        for entry in reversed(self.entries):
            line = json.dumps(entry) + "\n"
            if (room := room - len(line)) < 0:
                break
            kept.append(line)
        with replace_atomically(self._file, "w", _PRIVATE) as file:
            file.writelines(reversed(kept))


def _entry(line: str) -> str | None:
    """Return the text of a line; None for one that is damaged, or that nobody can have typed."""
    try:
        entry = json.loads(line)
        is_text = isinstance(entry, str) and b"\0" not in entry.encode()
    except (ValueError, RecursionError):
        return None
    return entry if is_text else None
