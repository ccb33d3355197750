"""The command `gptneo-onnx compare`: how far one model's predictions are from another's."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.manifest import CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.cli.options import (
    add_device,
    add_json,
    add_quiet,
    add_texts,
    chosen_graph,
    documents_of,
    load_model,
    load_with_tokenizer,
)
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped
from gptneo_onnx.runtime.documents import counted
from gptneo_onnx.runtime.files import atomic_file, check_writable, is_directory

if TYPE_CHECKING:
    from gptneo_onnx.runtime.documents import Document
    from gptneo_onnx.runtime.engine.engine import Engine
    from gptneo_onnx.runtime.evaluation.comparison import Comparison
    from gptneo_onnx.runtime.tokenizer import Tokenizer

EXIT_DIVERGED = 1
_DIFFERENCES_PRINTED = 3
# What the rest of a line begins with that a terminal is too narrow for.
_INDENT = 4


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "compare",
        usage="%(prog)s A B --text FILE [FILE ...] [OPTIONS]",
        help="how far one model's predictions are from another's",
        description="Measure how far one model's predictions are from another's: int8 from fp32, "
        "a GPU from a CPU.",
    )
    model = "a directory, one of its graphs (OUT/portable.onnx), or a hub id"
    command.add_argument(
        "first", type=Path, metavar="A", help=f"the model to compare with: {model}"
    )
    command.add_argument("second", type=Path, metavar="B", help=f"the model to examine: {model}")
    add_texts(command)
    group = command.add_argument_group("models")
    for option, letter in (("--precision", "A"), ("--precision-b", "B")):
        group.add_argument(
            option,
            metavar="NAME",
            help=f"which precision of {letter} to use (default: its first); of a checkpoint, which "
            "to export (default: fp32)",
        )
    group = command.add_argument_group("output")
    group.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write a page with curves to look at (default: none)",
    )
    group.add_argument(
        "--largest",
        type=int,
        default=10,
        metavar="N",
        help="how many of the largest differences to report, at most (default: 10)",
    )
    group.add_argument(
        "--max-divergence",
        type=float,
        metavar="NATS",
        help="exit with status 1 if the mean divergence is greater than this (default: no bound)",
    )
    add_json(group)
    add_quiet(group)
    add_device(command, second="--device-b")
    add_examples(
        command,
        "compare gpt-neo-125m gpt-neo-125m-int4 --text text.txt",
        "compare gpt-neo-125m gpt-neo-125m-int4 --text text.txt --report page.html",
    )
    command.set_defaults(run=run_compare)


def run_compare(options: argparse.Namespace) -> int:
    """Compare both models, print the result and write the report; return the exit status.

    Raises:
        InputError, ModelFileError: as compare() and read_documents().
    """
    from gptneo_onnx.runtime.evaluation.comparison import compare

    _check(options)
    first_name, second_name = _names(options.first, options.second)
    names = _with(first_name, options.precision), _with(second_name, options.precision_b)
    first_directory, first_graph = _directory_and_graph(options.first, options.precision)
    second_directory, second_graph = _directory_and_graph(options.second, options.precision_b)
    first = load_with_tokenizer(first_directory, options, first_graph)
    second = load_model(second_directory, options, second_graph, options.device_b)
    documents = list(_check_same_tokens(documents_of(options), first.tokenizer, second_directory))
    comparison = compare(
        first.model,
        second,
        first.tokenizer,
        documents,
        largest=options.largest,
        progress=not options.quiet,
    )
    try:
        if options.report is not None:
            _write_report(options.report, comparison, names, (first.model.engine, second.engine))
    finally:  # print the figures even if the report cannot be written
        models = [str(options.first), str(options.second)]
        precisions = [first.model.engine.precision, second.engine.precision]
        values = comparison.as_dict() | {"models": models, "precisions": precisions}
        if options.json:
            print(json.dumps(values))
        else:
            print(wrapped(_table(comparison, names), sys.stdout, _INDENT))
    return _status(float(comparison.divergences.mean()), options.max_divergence)


def _write_report(
    path: Path,
    comparison: "Comparison",
    names: tuple[str, str],
    engines: "tuple[Engine, Engine]",
) -> None:
    from gptneo_onnx.runtime.cli.compared_models import about_models, about_run
    from gptneo_onnx.runtime.evaluation.comparison_report import comparison_page

    page = comparison_page(comparison, names, about_models(*engines), about_run())
    with atomic_file(path, "w") as file:
        file.write(page)


def _check(options: argparse.Namespace) -> None:
    if options.largest < 0:
        raise InputError(f"--largest is {options.largest}; a number of at least 0 is allowed")
    if options.max_divergence is not None and not options.max_divergence >= 0:
        raise InputError(f"--max-divergence is {options.max_divergence}; 0 or more is allowed")
    if options.report is not None:
        if options.report.suffix != ".html":
            raise InputError(f"--report is {options.report}; a name in .html is allowed")
        check_writable(options.report, options.files)


def _check_same_tokens(
    documents: "Iterator[Document]", tokenizer: "Tokenizer", second: Path
) -> "Iterator[Document]":
    """Pass documents on; refuse one that the second model's tokenizer splits differently.

    The second model may have no tokenizer, as other exporters' models do.
    """
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    if not (second / TOKENIZER_FILE).exists():
        yield from documents
        return
    other = Tokenizer.from_pretrained(second)
    for document in documents:
        ids, other_ids = tokenizer.encode(document.text), other.encode(document.text)
        if ids != other_ids or tokenizer.eos_token_id != other.eos_token_id:
            raise InputError(
                f"{document.source}: the tokenizer of {second} reads it as other tokens than that "
                "of the model that it is held against; compare models of one tokenizer"
            )
        yield document


def _directory_and_graph(path: Path, precision: str | None) -> tuple[Path, str | None]:
    """Return a model's directory, and the name of the graph; None for the default.

    `path` may be one of its graphs. In the layout of transformers.js, graphs are in a folder of the
    directory. A checkpoint is exported first.
    """
    if path.suffix != ".onnx" or is_directory(path):
        choice = argparse.Namespace(precision=precision, file_name=None, revision=None)
        return chosen_graph(path, choice, (Head.CAUSAL_LM,))
    if precision is not None:
        raise InputError(f"{path} is a single graph; leave its --precision out")
    if not path.is_file():
        raise InputError(f"there is no {path}; name a directory, or one of its graphs")
    folder = path.parent
    if (folder / CONFIG_FILE).exists() or not (folder.parent / CONFIG_FILE).exists():
        return folder, path.name
    return folder.parent, f"{folder.name}/{path.name}"


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the last parts of both paths, as many as distinguish them."""
    first_parts, second_parts = first.absolute().parts, second.absolute().parts
    if first_parts == second_parts:
        return first_parts[-1], second_parts[-1]
    count = 1
    longest = max(len(first_parts), len(second_parts))
    while first_parts[-count:] == second_parts[-count:] and count < longest:
        count += 1
    return "/".join(first_parts[-count:]), "/".join(second_parts[-count:])


def _with(name: str, precision: str | None) -> str:
    """Return a model's name with the precision that was asked for."""
    return name if precision is None else f"{name} {precision}"


def _table(comparison: "Comparison", names: tuple[str, str]) -> str:
    from gptneo_onnx.runtime.evaluation.comparison_report import figures

    rows = [("", *names), *figures(comparison)]
    widths = [max(len(row[column]) for row in rows) + 3 for column in (0, 1)]
    lines = [f"{a:{widths[0]}}{b:{widths[1]}}{c}".rstrip() for a, b, c in rows]
    read = f"{counted(comparison.tokens, 'token')} of {counted(comparison.documents)}"
    lines.append(f"{'compared':{widths[0]}}{read}")
    for difference in comparison.largest[:_DIFFERENCES_PRINTED]:
        first_choices, second_choices = difference.choices
        first_token, first_share = first_choices[0]
        second_token, second_share = second_choices[0]
        lines.append(
            f"{difference.divergence:.3g} nats at token {difference.token} of {difference.source}, "
            f"after {difference.before[-30:]!a}: "
            f"{first_token!a} {first_share:.1%}, {second_token!a} {second_share:.1%}"
        )
    return "\n".join(lines)


def _status(divergence: float, bound: float | None) -> int:
    """Return the exit status, and say so if the bound is exceeded."""
    if bound is None or divergence <= bound:
        return 0
    notice(f"the mean divergence is {divergence:.3g}, beyond --max-divergence {bound:g}")
    return EXIT_DIVERGED
