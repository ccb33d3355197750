"""The keys that a server's requests must name: a file's lines, or an environment variable."""

import os
import stat
from pathlib import Path

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.files import read_text

API_KEY = "GPTNEO_ONNX_API_KEY"
_MAX_BYTES = 1 << 20


def read_api_keys(file: Path | None) -> frozenset[str]:
    """Return the keys of a file, one a line; without a file, the environment's key, if it has one.

    Empty lines, and those that begin with #, are left out.

    Raises:
        InputError: the file cannot be read, has no key, or a key that no header can carry.
    """
    if file is None:
        lines, source = [os.environ.get(API_KEY, "")], f"${API_KEY}"
    elif not file.exists():  # its name may be a key: it is not repeated
        raise InputError("--api-key-file names no file; write the keys into one, a key a line")
    else:
        lines, source = read_text(file, _MAX_BYTES).splitlines(), str(file)
        _warn_if_others_read(file)
    keys = {line.strip() for line in lines}
    keys = {key for key in keys if key and not key.startswith("#")}
    if file is not None and not keys:
        raise InputError(f"{file} has no key; write one a line, or leave out --api-key-file")
    for key in keys:
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise InputError(
                f"{source} has a key with spaces or other characters than printable ASCII; "
                "no header can carry it"
            )
    return frozenset(keys)


def _warn_if_others_read(file: Path) -> None:
    if os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        notice(f"{file} can be read by other users of this machine; chmod 600 {file}")
