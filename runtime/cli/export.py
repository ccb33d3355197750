"""The command `gptneo-onnx export`: from a checkpoint to a directory with graphs and weights."""

import argparse
import sys
from pathlib import Path
from typing import Any

from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.runtime.cli.check import run_check
from gptneo_onnx.runtime.cli.export_options import (
    add_checkpoint,
    add_graphs,
    add_precision,
    export_arguments,
)
from gptneo_onnx.runtime.units import readable_size

# Other programs load it without a word, and ONNX Runtime then misses an input.
_FOR_OTHERS = (
    "its fused graph is for gptneo-onnx; Optimum and other programs need one of --graph portable"
)


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
    command.set_defaults(run=run_export, json=False, full=False)


def run_export(options: argparse.Namespace) -> None:
    """Export the checkpoint, and print what was written.

    Raises:
        GPTNeoOnnxError: as export_model().
    """
    if options.dry_run:
        run_check(options)
        return
    from gptneo_onnx.export import export_model

    out = export_model(
        options.checkpoint,
        options.out,
        **export_arguments(options),
        progress=True,
        report=lambda line: print(line, file=sys.stderr),
    )
    size = sum(path.stat().st_size for path in out.rglob("*"))
    graphs = ", ".join(str(path.relative_to(out)) for path in sorted(out.rglob("*.onnx")))
    print(f"{out}: {graphs}, {', '.join(options.precision)}, {readable_size(size)}")
    if options.layout == "flat":
        kinds = {entry.kind for entry in Manifest.read(out).graphs.values()}
        if kinds == {"fused"}:
            print(_FOR_OTHERS, file=sys.stderr)
