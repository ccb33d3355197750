"""The command `gptneo-onnx export`: from a checkpoint to a directory with graphs and weights."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, printable
from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.models.staging import remove_leftovers
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.cli.check import run_check
from gptneo_onnx.runtime.cli.export_options import (
    add_checkpoint,
    add_graphs,
    add_precision,
    export_arguments,
)
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.cli.next_command import next_command
from gptneo_onnx.runtime.cli.options import add_json, add_quiet
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped

UP_TO_DATE, EXPORTED = "up to date", "exported"
# Other programs load it without a word, and ONNX Runtime then misses an input.
_FOR_OTHERS = "for Optimum and other programs, export with --graph fused,portable"


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "export",
        usage="%(prog)s CHECKPOINT OUT [OPTIONS]",
        help="make an ONNX model of a checkpoint",
        description="Export a GPT-Neo checkpoint to a directory with an ONNX model.",
    )
    add_checkpoint(command)
    command.add_argument(
        "out", nargs="?", type=Path, metavar="OUT", help="the directory to make (or -o OUT)"
    )
    add_graphs(command)
    add_precision(command)
    group = command.add_argument_group("output")
    group.add_argument(
        "-o",
        "--out",
        dest="named_out",
        type=Path,
        metavar="OUT",
        help="the directory to make (default: OUT)",
    )
    group.add_argument(
        "--verify",
        action="store_true",
        help="compare the result with transformers (needs the optimum extra)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing, and print what `check` prints",
    )
    group.add_argument("--force", action="store_true", help="replace another export that OUT holds")
    add_json(group)
    add_quiet(group)
    add_examples(
        command,
        "export EleutherAI/gpt-neo-125m gpt-neo-125m",
        "export EleutherAI/gpt-neo-125m -o small --precision int4",
        "export EleutherAI/gpt-neo-125m web --layout transformers.js --dry-run",
    )
    command.set_defaults(run=run_export, full=False)


def run_export(options: argparse.Namespace) -> None:
    """Export the checkpoint, and print what was written and what to type next.

    Raises:
        InputError: OUT holds another export, and --force was not given.
        GPTNeoOnnxError: as export_model().
    """
    from gptneo_onnx.export import export_model
    from gptneo_onnx.export.existing_export import needs_export

    options.out = _output_directory(options)
    arguments = export_arguments(options)
    if not options.dry_run:  # before OUT is looked at: it may be put back
        for leftover in remove_leftovers(options.out.absolute().parent):
            notice(str(leftover))
    if not options.force and not needs_export(options.checkpoint, options.out, **arguments):
        _print(options, UP_TO_DATE, [])
        return
    if options.dry_run:
        run_check(options)
        return
    notes: list[str] = []

    def report(line: str) -> None:
        notes.append(line)
        notice(line)

    progress = not options.quiet
    out = export_model(
        options.checkpoint, options.out, **arguments, progress=progress, report=report
    )
    _print(options, EXPORTED, notes)
    if options.layout == "flat" and not (options.quiet or options.json):
        kinds = {entry.kind for entry in Manifest.read(out).graphs.values()}
        if kinds == {"fused"}:
            print(wrapped(_FOR_OTHERS, sys.stderr), file=sys.stderr)


def _output_directory(options: argparse.Namespace) -> Path:
    """Return OUT, which is the second word or the value of -o."""
    given: list[Path] = [path for path in (options.out, options.named_out) if path is not None]
    if len(given) == 1:
        return given[0]
    if given:
        raise InputError(f"OUT is given twice, {given[0]} and {given[1]}; leave out one")
    raise InputError("the following arguments are required: OUT; see gptneo-onnx export --help")


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
    said = " (up to date)" if status == UP_TO_DATE else ""
    print(wrapped(printable(f"{out}: {what}{said}"), sys.stdout))
    if command and not options.quiet:
        print(f"next: {printable(command)}")
