"""The command `gptneo-onnx check`: what an export would do, without doing it."""

import argparse
import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from gptneo_onnx.models.errors import printable
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.cli.export_options import (
    add_checkpoint,
    add_graphs,
    add_precision,
    export_arguments,
)
from gptneo_onnx.runtime.cli.options import add_json
from gptneo_onnx.runtime.cli.parser import add_examples

WIDTH = 80
_LABEL = 16
_SHOWN_TOKENS = 4


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "check",
        help="say what an export of a checkpoint would do",
        description="Say what an export of a checkpoint would read and write, without doing it.",
    )
    add_checkpoint(command)
    add_graphs(command)
    add_precision(command)
    group = command.add_argument_group("output")
    group.add_argument(
        "--full",
        action="store_true",
        help="read every weight too, and count the numbers that are not finite",
    )
    add_json(group)
    add_examples(
        command,
        "check EleutherAI/gpt-neo-125m",
        "check EleutherAI/gpt-neo-125m --precision int8 --graph fused,genai",
    )
    command.set_defaults(run=run_check, out=None, verify=False, force=False)


def run_check(options: argparse.Namespace) -> None:
    """Print what export_model would do with the options, as a table or as JSON.

    Raises:
        GPTNeoOnnxError: as export_model(), with its messages.
    """
    from gptneo_onnx.export import check_export

    report = check_export(
        options.checkpoint,
        options.out,
        **export_arguments(options),
        full=options.full,
    )
    values, command = report.to_dict(), export_command(options)
    if options.json:
        print(json.dumps(values | {"ready": True, "command": command}))
    else:
        print("\n".join(table(values)))
        print(f"\nready to export: {printable(command)}")


def export_command(options: argparse.Namespace) -> str:
    """Return the command line that makes the export that was checked."""
    words = ["gptneo-onnx", "export", options.checkpoint, str(options.out or "OUT")]
    given = {
        "--precision": ",".join(options.precision),
        "--graph": ",".join(options.graph or []),
        "--task": options.task if options.task != "auto" else "",
        "--layout": options.layout if options.layout != "flat" else "",
        "--activations": options.activations,
        "--calibrate": options.calibrate,
        "--hidden-states": _listed(options.hidden_states),
        "--revision": options.revision,
        "--variant": options.variant,
        "--tokenizer": options.tokenizer,
        "--adapter": (options.adapter or [None])[0],
    }
    for name, value in given.items():
        if value and (name, value) != ("--precision", "fp32"):
            words += [name, str(value)]
    words += [f"--{name}" for name in ("full-range", "verify", "force") if _flag(options, name)]
    return shlex.join(words)


def _listed(layers: Any) -> str:
    return ",".join(map(str, layers)) if isinstance(layers, list) else layers or ""


def _flag(options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name.replace("-", "_")))


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of a report's to_dict(), none longer than WIDTH."""
    model, tokenizer = report["model"], report["tokenizer"]
    yield from _row("checkpoint", report["checkpoint"])
    tied = "" if model["tied"] else ", untied head"
    yield from _row(
        "model",
        f"{model['layers']} layers ({model['local_layers']} local, window {model['window']}), "
        f"{model['heads']} heads of {model['head_size']}, hidden size {model['hidden_size']}, "
        f"MLP {model['intermediate_size']} {model['activation']}, vocabulary "
        f"{model['vocabulary']}{tied}, context {model['context']}, "
        f"{model['parameters']:,} parameters",
    )
    for file in report["weights"]:
        types = ", ".join(f"{count} {name}" for name, count in file["types"].items())
        yield from _row(
            "weights", f"{file['name']} ({file['format']}, {readable_size(file['size'])}): {types}"
        )
    if tokenizer is None:
        yield from _row("tokenizer", "none")
    else:
        yield from _row("tokenizer", f"{', '.join(tokenizer['files'])}: {_tokens(tokenizer)}")
    settings = report["generation_settings"]
    yield from _row("settings", f"{settings['file']}: {settings['settings']} for generation")
    for note in report["notes"]:
        yield from _row("note", note)
    if report["unknown_entries"]:
        entries = ", ".join(report["unknown_entries"])
        yield from _row("note", f"entries of config.json that are unknown: {entries}")
    if report["not_finite"] is not None:
        found = ", ".join(f"{count} of {name}" for name, count in report["not_finite"].items())
        yield from _row("not finite", found or "no number")
    yield ""
    yield from _row("task", report["task"])
    yield from _row("graphs", f"{', '.join(report['graphs'])}; {', '.join(report['precisions'])}")
    for name, size in report["files"].items():
        yield from _row("", f"{name:28}{readable_size(size):>10}")
    yield from _row("total", f"{'':28}{readable_size(report['total']):>10}")
    both = report["self_draft_memory"]
    yield from _row(
        "memory",
        f"about {readable_size(report['export_memory'])} to export; about "
        f"{readable_size(report['run_memory'])} to run a text as long as the context, of which "
        f"{readable_size(report['cache_per_sequence'])} are its cache"
        + (f"; about {readable_size(both)} with --self-draft" if both else ""),
    )


def _tokens(tokenizer: dict[str, Any]) -> str:
    added = tokenizer["added"]
    text = f"{tokenizer['tokens']} tokens"
    if added:
        shown = ", ".join(added[:_SHOWN_TOKENS])
        more = f" and {len(added) - _SHOWN_TOKENS} more" if len(added) > _SHOWN_TOKENS else ""
        text += f", {len(added)} of them added ({shown}{more})"
    return text


def _row(label: str, text: str) -> list[str]:
    """Return a label and a text as lines of at most WIDTH characters."""
    lines = textwrap.wrap(printable(text), WIDTH - _LABEL, drop_whitespace=False) or [""]
    first, *others = (line.rstrip() for line in lines)
    return [f"{label:{_LABEL}}{first}", *(f"{'':{_LABEL}}{line.lstrip()}" for line in others)]
