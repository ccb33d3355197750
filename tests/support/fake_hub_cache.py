"""Writes files into a cache as huggingface_hub writes it: blobs, and links to them by commit."""

import hashlib
import os
from pathlib import Path


def cache_files(
    cache: Path, hub_id: str, source: Path, revision: str = "main", subfolder: str = ""
) -> Path:
    """Put the files of a directory into the cache, as a revision of a hub id; return where."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    commit = hashlib.sha1(f"{hub_id}@{revision}".encode()).hexdigest()
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    for path in filter(Path.is_file, source.rglob("*")):
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        link = repository / "snapshots" / commit / subfolder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return repository / "snapshots" / commit
