"""The command `gptneo-onnx cache`: lists and removes the exports that were made on demand."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError, printable
from gptneo_onnx.models.manifest import FORMAT_VERSION, MANIFEST_FILE
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.cli.options import add_json
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.files import cache_folder

if TYPE_CHECKING:
    from gptneo_onnx.runtime.export_cache import CachedExport

_ACTIONS = ("list", "prune", "path")


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "cache",
        help="list or remove exports that were made on demand",
        description="List or remove exports of checkpoints and hub ids that were loaded by name.",
    )
    command.add_argument(
        "action",
        choices=_ACTIONS,
        metavar="list|prune|path",
        help="list: show these exports, those last used first; prune: remove those whose "
        "checkpoint was changed or removed, and those of an older format; path: print the cache "
        "folder",
    )
    group = command.add_argument_group("prune")
    group.add_argument("--all", action="store_true", help="remove every export")
    group.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="remove also those that were last used more than DAYS ago (default: keep them)",
    )
    group.add_argument("--dry-run", action="store_true", help="print what would be removed")
    add_json(command.add_argument_group("output"))
    add_examples(command, "cache list", "cache prune --older-than 30 --dry-run")
    command.set_defaults(run=run_cache)


def run_cache(options: argparse.Namespace) -> None:
    """List exports, remove some, or print the cache folder.

    Raises:
        InputError: an option that the action does not have.
    """
    _check(options)
    if options.action == "path":
        print(json.dumps({"path": str(cache_folder())}) if options.json else cache_folder())
    elif options.action == "list":
        _list(options.json)
    else:
        _prune(options)


def _check(options: argparse.Namespace) -> None:
    if options.action != "prune":
        for name in ("all", "older_than", "dry_run"):
            if getattr(options, name) not in (None, False):
                option = name.replace("_", "-")
                raise InputError(f"--{option} is for prune; leave it out with {options.action}")
    if options.older_than is not None and not options.older_than >= 0:
        raise InputError(f"--older-than is {options.older_than:g}; 0 days or more are allowed")


def _list(as_json: bool) -> None:
    from gptneo_onnx.runtime.export_cache import cached_exports

    entries = [_described(export) for export in cached_exports()]
    if as_json:
        print(json.dumps({"folder": str(cache_folder()), "exports": entries}))
        return
    if not entries:
        print(printable(f"{cache_folder()} has no exports"))
        return
    rows = [("MODEL", "PRECISION", "SIZE", "LAST USED", "PATH")]
    for entry in entries:
        used = datetime.fromisoformat(entry["last_used"]).astimezone()
        size, day = readable_size(entry["size"]), used.strftime("%Y-%m-%d %H:%M")
        model, path = printable(entry["model"]), printable(entry["path"])
        rows.append((model, entry["precision"], size, day, path))
    print(_aligned(rows))
    total = readable_size(sum(entry["size"] for entry in entries))
    print(f"{len(entries)} exports, {total}")


def _described(export: "CachedExport") -> dict[str, Any]:
    """Return what `list` shows of an export, for JSON."""
    return {
        "model": export.label,
        "commit": export.source.get("commit"),
        "revision": export.source.get("revision"),
        "task": export.settings.get("task"),
        "precision": export.settings["precision"],
        "size": export.size,
        "made": export.made or None,
        "last_used": export.last_used.isoformat(timespec="seconds"),
        "path": str(export.path),
    }


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]) - 1)]
    lines = (
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)) + row[-1]
        for row in rows
    )
    return "\n".join(lines)


def _prune(options: argparse.Namespace) -> None:
    from gptneo_onnx.runtime.export_cache import cached_exports, remove_all_leftovers

    removed = []
    for export in cached_exports():
        if reason := _reason(export, options):
            entry = _described(export) | {"reason": reason}
            if options.dry_run or export.remove():
                removed.append(entry)
    for folder in _earlier_embedded():
        size = _removed_folder(folder, options.dry_run)
        reason = "an earlier version's embedded model"
        entry = {"model": "the embedded model", "path": str(folder), "size": size}
        removed.append(entry | {"reason": reason, "precision": "fp32"})
    leftovers = 0 if options.dry_run else remove_all_leftovers()
    total = leftovers + sum(entry["size"] for entry in removed)
    if options.json:
        print(json.dumps({"removed": removed, "bytes": total, "dry_run": options.dry_run}))
        return
    verb = "would remove" if options.dry_run else "removed"
    for entry in removed:
        line = f"{verb} {entry['path']} ({readable_size(entry['size'])}): {entry['reason']}"
        print(printable(line))
    print(f"{verb} {len(removed)} exports, {readable_size(total)}")


def _reason(export: "CachedExport", options: argparse.Namespace) -> str | None:
    """Return why an export is removed; None if it stays."""
    if options.all:
        return "--all"
    if reason := _out_of_date(export):
        return reason
    unused = datetime.now(UTC) - export.last_used
    if options.older_than is not None and unused > timedelta(days=options.older_than):
        return f"last used {unused.total_seconds() / 86400:.3g} days ago"
    return None


def _out_of_date(export: "CachedExport") -> str | None:
    """Return why an export would not be found again; None if it may be."""
    from gptneo_onnx.models.embedded import EMBEDDED_CHECKPOINT
    from gptneo_onnx.models.hub_cache import cached_snapshot
    from gptneo_onnx.models.manifest import sha256_of
    from gptneo_onnx.runtime.checkpoint_source import folder_identity

    source = export.source
    if not source or not export.is_there:
        return "its record is lost"
    if export.format_version != FORMAT_VERSION:
        return f"format {export.format_version}, and this version reads {FORMAT_VERSION}"
    if "embedded" in source:
        weights = sha256_of(EMBEDDED_CHECKPOINT / "model.safetensors")
        return None if source["embedded"] == weights else "an earlier version's embedded model"
    if folder := source.get("folder"):
        if not Path(folder).is_dir():
            return f"{folder} is no longer there"
        return None if folder_identity(Path(folder)) == dict(source) else f"{folder} was changed"
    snapshot = cached_snapshot(source["hub_id"], source.get("revision"), source.get("cache_dir"))
    if snapshot is not None and snapshot.name != source.get("commit"):
        return f"the hub has a newer commit, {snapshot.name[:12]}"
    return None


def _earlier_embedded() -> list[Path]:
    """Return the embedded model's exports where earlier versions of this package put them."""
    return [path for path in cache_folder().glob("embedded-*") if (path / MANIFEST_FILE).is_file()]


def _removed_folder(folder: Path, dry_run: bool) -> int:
    """Remove a folder, unless it is a dry run; return its bytes."""
    import shutil

    from gptneo_onnx.runtime.export_cache import folder_size

    size = folder_size(folder)
    if not dry_run:
        shutil.rmtree(folder, ignore_errors=True)
    return size
