"""The command `gptneo-onnx set-tokenizer`: gives an export that exists a tokenizer."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import printable
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.cli.options import add_json
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "set-tokenizer",
        help="give an exported model a tokenizer, without exporting again",
        description="Give an exported model a tokenizer, without reading or writing its weights.",
    )
    command.add_argument(
        "model", type=Path, metavar="MODEL", help="the directory of an exported model"
    )
    command.add_argument(
        "tokenizer", metavar="TOKENIZER", help="a directory or a hub id that has a tokenizer"
    )
    group = command.add_argument_group("tokenizer")
    group.add_argument(
        "--revision",
        metavar="NAME",
        help="which branch, tag or commit of a hub id to take (default: main)",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="check that it fits, and write nothing"
    )
    add_json(group)
    add_examples(
        command,
        "set-tokenizer TinyStories-33M EleutherAI/gpt-neo-125m",
        "set-tokenizer TinyStories-33M EleutherAI/gpt-neo-125m --dry-run",
    )
    command.set_defaults(run=run_set_tokenizer)


def run_set_tokenizer(options: argparse.Namespace) -> None:
    """Write the tokenizer into the export, and print where it came from.

    Raises:
        GPTNeoOnnxError: as set_tokenizer().
    """
    from gptneo_onnx.export import set_tokenizer

    source = set_tokenizer(
        options.model,
        options.tokenizer,
        revision=options.revision,
        dry_run=options.dry_run,
        report=notice,
    )
    if options.json:
        values = {"model": str(options.model), "tokenizer": source, "written": not options.dry_run}
        print(json.dumps(values))
        return
    done = "would get" if options.dry_run else "has"
    line = printable(f"{options.model} {done} the tokenizer of {source}")
    print(wrapped(line, sys.stdout))
