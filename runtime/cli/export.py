"""The command `gptneo-onnx export`: from a checkpoint to a directory with graphs and weights."""

import argparse
import sys
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.check import run_check
from gptneo_onnx.runtime.cli.export_options import (
    add_checkpoint,
    add_graphs,
    add_precision,
    export_arguments,
)
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.cli.options import add_quiet
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped
from gptneo_onnx.runtime.cli.units import readable_size


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "export",
        usage="%(prog)s CHECKPOINT OUT [OPTIONS]",
        help="make an ONNX model of a checkpoint",
        description="Make an ONNX model of a GPT-Neo checkpoint, in a directory of its own.",
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
    add_quiet(group)
    add_examples(
        command,
        "export EleutherAI/gpt-neo-125m gpt-neo-125m",
        "export EleutherAI/gpt-neo-125m -o small --precision int4",
        "export EleutherAI/gpt-neo-125m web --layout transformers.js --dry-run",
    )
    command.set_defaults(run=run_export, json=False, full=False)


def run_export(options: argparse.Namespace) -> None:
    """Export the checkpoint, and print what was written.

    Raises:
        GPTNeoOnnxError: as export_model().
    """
    options.out = _output_directory(options)
    if options.dry_run:
        run_check(options)
        return
    from gptneo_onnx.export import export_model

    out = export_model(
        options.checkpoint,
        options.out,
        **export_arguments(options),
        progress=not options.quiet,
        report=notice,
    )
    size = sum(path.stat().st_size for path in out.rglob("*"))
    graphs = ", ".join(str(path.relative_to(out)) for path in sorted(out.rglob("*.onnx")))
    line = f"{out}: {graphs}, {', '.join(options.precision)}, {readable_size(size)}"
    print(wrapped(line, sys.stdout))


def _output_directory(options: argparse.Namespace) -> Path:
    """Return OUT, which is the second word or the value of -o."""
    given: list[Path] = [path for path in (options.out, options.named_out) if path is not None]
    if len(given) == 1:
        return given[0]
    if given:
        raise InputError(f"OUT is given twice, {given[0]} and {given[1]}; leave out one")
    raise InputError("the following arguments are required: OUT; see gptneo-onnx export --help")
