"""The command `gptneo-onnx export`: from a checkpoint to a directory with graphs and weights."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gptneo_onnx.runtime.cli.check import run_check
from gptneo_onnx.runtime.cli.export_options import (
    add_checkpoint,
    add_graphs,
    add_precision,
    export_arguments,
)
from gptneo_onnx.runtime.cli.next_command import next_command
from gptneo_onnx.runtime.cli.options import add_json, add_quiet
from gptneo_onnx.runtime.cli.units import readable_size

UP_TO_DATE, EXPORTED = "up to date", "exported"


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser("export", help="make an ONNX model of a checkpoint")
    add_checkpoint(command)
    command.add_argument("out", type=Path, metavar="OUT", help="the directory to make")
    add_graphs(command)
    add_precision(command)
    command.add_argument(
        "--verify",
        action="store_true",
        help="compare the result with transformers (needs the optimum extra)",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing, and print what `check` prints",
    )
    command.add_argument(
        "--force", action="store_true", help="replace another export that OUT holds"
    )
    add_json(command)
    add_quiet(command)
    command.set_defaults(run=run_export, full=False)


def run_export(options: argparse.Namespace) -> None:
    """Export the checkpoint, and print what was written and what to type next.

    Raises:
        InputError: OUT holds another export, and --force was not given.
        GPTNeoOnnxError: as export_model().
    """
    from gptneo_onnx.export import export_model
    from gptneo_onnx.export.existing_export import needs_export

    arguments = export_arguments(options)
    if not options.force and not needs_export(options.checkpoint, options.out, **arguments):
        _print(options, UP_TO_DATE, [])
        return
    if options.dry_run:
        run_check(options)
        return
    notes: list[str] = []

    def report(line: str) -> None:
        notes.append(line)
        print(line, file=sys.stderr)

    progress = not options.quiet
    export_model(options.checkpoint, options.out, **arguments, progress=progress, report=report)
    _print(options, EXPORTED, notes)


def _print(options: argparse.Namespace, status: str, notes: list[str]) -> None:
    """Print what is in OUT, for a person or as JSON."""
    out: Path = options.out
    files = {
        path.relative_to(out).as_posix(): path.stat().st_size
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    graphs = [name for name in files if name.endswith(".onnx")]
    command, size = next_command(out), sum(files.values())
    if options.json:
        values = {
            "out": str(out),
            "status": status,
            "graphs": graphs,
            "precisions": options.precision,
            "files": files,
            "total": size,
            "notes": notes,
            "next": command,
        }
        print(json.dumps(values))
        return
    what = f"{', '.join(graphs)}, {', '.join(options.precision)}, {readable_size(size)}"
    print(f"{out}: {what}{f' ({UP_TO_DATE})' if status == UP_TO_DATE else ''}")
    if command:
        print(f"next: {command}")
