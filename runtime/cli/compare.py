"""The command `gptneo-onnx compare`: whether one model does for another."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.manifest import CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.runtime.cli.device_options import add_device, load_model
from gptneo_onnx.runtime.cli.document_options import add_texts, documents_of
from gptneo_onnx.runtime.documents import counted
from gptneo_onnx.runtime.files import atomic_file, check_writable, is_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gptneo_onnx.runtime.documents import Document
    from gptneo_onnx.runtime.evaluation.comparison import Comparison
    from gptneo_onnx.runtime.tokenizer import Tokenizer

EXIT_DIVERGED = 1
_PRINTED = 3


def add_compare(commands: Any) -> None:
    """The command and its options."""
    command = commands.add_parser(
        "compare", help="how far a model is from another: int8 from fp32, a GPU's from a CPU's"
    )
    model = "a directory, or one of its graphs (OUT/portable.onnx)"
    command.add_argument("first", type=Path, metavar="A", help=f"what B is held against: {model}")
    command.add_argument("second", type=Path, metavar="B", help=model)
    add_texts(command)
    command.add_argument(
        "--report", type=Path, metavar="FILE.html", help="a page with curves, to look at"
    )
    command.add_argument(
        "--largest", type=int, default=10, metavar="N", help="differences to show, at most (10)"
    )
    command.add_argument(
        "--max-divergence",
        type=float,
        metavar="NATS",
        help="exit with status 1 if the mean divergence is greater",
    )
    add_device(command)
    command.add_argument("--device-b", metavar="DEVICE", help="of B, if not that of A")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run_compare)


def run_compare(options: argparse.Namespace) -> int:
    """Compare, print, and write the report; the exit status.

    Raises:
        InputError, ModelFileError: as compare() and read_documents().
    """
    from gptneo_onnx.runtime.evaluation.comparison import compare
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    _check(options)
    names = _names(options.first, options.second)
    (first, file_name), (second, other_file_name) = map(_graph, (options.first, options.second))
    model = load_model(first, options, file_name)
    other = load_model(second, options, other_file_name, options.device_b)
    tokenizer = Tokenizer.from_pretrained(first)
    documents = _read_alike(documents_of(options), tokenizer, second)
    found = compare(
        model,
        other,
        tokenizer,
        documents,
        largest=options.largest,
        progress=True,
    )
    try:
        if options.report is not None:
            _write_report(options.report, found, names)
    finally:  # a disk that is full, or a pipe that is closed, does not cost the other as well
        print(json.dumps(found.as_dict()) if options.json else _table(found, names))
    return _status(float(found.divergences.mean()), options.max_divergence)


def _write_report(path: Path, found: "Comparison", names: tuple[str, str]) -> None:
    from gptneo_onnx.runtime.evaluation.comparison_report import comparison_page

    with atomic_file(path, "w") as file:
        file.write(comparison_page(found, names))


def _check(options: argparse.Namespace) -> None:
    if options.largest < 0:
        raise InputError(f"--largest is {options.largest}; a number of at least 0 is allowed")
    if options.max_divergence is not None and not options.max_divergence >= 0:
        raise InputError(f"--max-divergence is {options.max_divergence}; 0 or more is allowed")
    if options.report is not None:
        if options.report.suffix != ".html":
            raise InputError(f"--report is {options.report}; a name in .html is allowed")
        check_writable(options.report, options.files)


def _read_alike(
    documents: "Iterator[Document]", tokenizer: "Tokenizer", second: Path
) -> "Iterator[Document]":
    """Documents that both models read as the same tokens.

    The second may come without a tokenizer, as other exporters' models do.
    """
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    if not (second / TOKENIZER_FILE).exists():
        yield from documents
        return
    other = Tokenizer.from_pretrained(second)
    for document in documents:
        ids, other_ids = (each.encode(document.text) for each in (tokenizer, other))
        if ids != other_ids or tokenizer.eos_token_id != other.eos_token_id:
            raise InputError(
                f"{document.source}: the tokenizer of {second} reads it as other tokens than that "
                "of the model that it is held against; compare models of one tokenizer"
            )
        yield document


def _graph(path: Path) -> tuple[Path, str | None]:
    """A model's directory, and which graph of it; transformers.js has graphs in a folder."""
    if path.suffix != ".onnx" or is_directory(path):
        return path, None
    if not path.is_file():
        raise InputError(f"there is no {path}; name a directory, or one of its graphs")
    folder = path.parent
    if (folder / CONFIG_FILE).exists() or not (folder.parent / CONFIG_FILE).exists():
        return folder, path.name
    return folder.parent, f"{folder.name}/{path.name}"


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The last parts of both paths, as many as tell them apart."""
    one, other = first.absolute().parts, second.absolute().parts
    if one == other:
        return one[-1], other[-1]
    count = 1
    while one[-count:] == other[-count:] and count < max(len(one), len(other)):
        count += 1
    return "/".join(one[-count:]), "/".join(other[-count:])


def _table(found: "Comparison", names: tuple[str, str]) -> str:
    from gptneo_onnx.runtime.evaluation.comparison_report import figures

    rows = [("", *names), *figures(found)]
    widths = [max(len(row[column]) for row in rows) + 3 for column in (0, 1)]
    lines = [f"{a:{widths[0]}}{b:{widths[1]}}{c}".rstrip() for a, b, c in rows]
    read = f"{counted(found.tokens, 'token')} of {counted(found.documents)}"
    lines.append(f"{'compared':{widths[0]}}{read}")
    for each in found.largest[:_PRINTED]:
        (one, share), (other, other_share) = (choices[0] for choices in each.choices)
        lines.append(
            f"{each.divergence:.3g} nats at token {each.token} of {each.source}, behind "
            f"{each.before[-30:]!a}: {one!a} {share:.1%}, {other!a} {other_share:.1%}"
        )
    return "\n".join(lines)


def _status(divergence: float, bound: float | None) -> int:
    if bound is None or divergence <= bound:
        return 0
    print(
        f"the mean divergence is {divergence:.3g}, beyond --max-divergence {bound:g}",
        file=sys.stderr,
    )
    return EXIT_DIVERGED
