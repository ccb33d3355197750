"""Looks up what Hugging Face's cache has of a hub id, without the network and its packages.

Layout: models--OWNER--NAME/refs/REVISION holds the name of a commit, snapshots/COMMIT its files.
Source: huggingface_hub.try_to_load_from_cache, and its constants.
"""

import os
import re
from pathlib import Path

_HUB_ID = re.compile(r"(?:[A-Za-z0-9_.-]{1,96}/)?[A-Za-z0-9_.-]{1,96}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REFERENCE = 200
_TRUE = ("1", "ON", "YES", "TRUE")
MAIN = "main"


def is_hub_id(name: str, with_owner: bool = False) -> bool:
    """Return whether a text has the form of a hub id.

    Args:
        name: the text.
        with_owner: whether it must be OWNER/NAME; else NAME will do.
    """
    is_id = bool(_HUB_ID.fullmatch(name)) and ".." not in name and name.strip(".-") == name
    return is_id and ("/" in name or not with_owner)


def is_commit(revision: str | None) -> bool:
    """Return whether a revision is a commit's whole name, whose files never change."""
    return bool(_COMMIT.fullmatch(revision or ""))


def is_offline() -> bool:
    """Return whether the environment says that nothing is fetched from the hub."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def hub_cache_folder() -> Path:
    """Return the folder of the cache, as the environment says.

    HF_HUB_CACHE names it, or its older names; else it is `hub` in HF_HOME, or in the user's folder.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := os.environ.get(name):
            return _expanded(chosen)
    if home := os.environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(caches) / "huggingface" / "hub"


def cached_snapshot(
    hub_id: str, revision: str | None = None, cache_dir: str | Path | None = None
) -> Path | None:
    """Return the directory of a hub id's files in the cache; None if they are not in it.

    It may have a part of the files only.

    Args:
        hub_id: OWNER/NAME, or NAME.
        revision: a branch, tag or commit; None for main.
        cache_dir: the folder of the cache; None for the user's.
    """
    folder = hub_cache_folder() if cache_dir is None else Path(cache_dir)
    repository = folder / f"models--{hub_id.replace('/', '--')}"
    commit = revision or MAIN
    if ".." in Path(commit).parts or Path(commit).is_absolute():
        return None
    reference = repository / "refs" / commit
    try:
        if reference.is_file() and reference.stat().st_size <= _MAX_REFERENCE:
            commit = reference.read_text(encoding="utf-8").strip()
        snapshot = repository / "snapshots" / commit
        is_there = Path(commit).name == commit != ".." and snapshot.is_dir()
    except (OSError, ValueError):  # names too long, a reference that is no text
        return None
    return snapshot if is_there and commit else None


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111
