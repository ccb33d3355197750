"""Options that several commands have, and the models and documents that they name."""

import argparse
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.files import is_directory

if TYPE_CHECKING:
    from gptneo_onnx.models.tasks import Head
    from gptneo_onnx.runtime.documents import Document
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
    from gptneo_onnx.runtime.pipelines.loading import LoadedModel, Model

MODEL_HELP = "an exported model's directory; or a checkpoint's directory or hub id, exported once"
_FILES_HELP = (
    "a text (- for standard input, or the shell's <(COMMAND)), .jsonl, .parquet, or the folder of "
    "a saved dataset"
)


def add_model(command: argparse.ArgumentParser) -> None:
    """Add MODEL."""
    command.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)


class _Spin(argparse.BooleanOptionalAction):
    """--spin and --no-spin: for every model that the program loads, a draft model too."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        from gptneo_onnx.runtime.engine.threads import SPIN_VARIABLE

        os.environ[SPIN_VARIABLE] = "0" if option_string == "--no-spin" else "1"


def add_graph_choice(group: Any) -> None:
    """Add --file-name and --precision, which choose a graph, and --revision of a hub id."""
    group.add_argument(
        "--file-name", metavar="FILE", help="which graph of MODEL to use (default: model.onnx)"
    )
    group.add_argument(
        "--precision",
        metavar="NAME",
        help="which precision of MODEL to use, if it was exported in several (default: the first); "
        "of a checkpoint, which to export (default: fp32)",
    )
    group.add_argument(
        "--revision",
        metavar="NAME",
        help="which branch, tag or commit of a hub id to take (default: main)",
    )


def chosen_graph(
    model: str | Path, options: argparse.Namespace, heads: "Collection[Head]" = ()
) -> tuple[Path, str | None]:
    """Return a model's directory, and the graph that the options choose; None for the default.

    A checkpoint is exported first, if that was not done yet.

    Args:
        model: an exported directory, a checkpoint's directory, or a hub id.
        options: those of add_graph_choice().
        heads: those that the command can use; any if it is empty.

    Raises:
        InputError: there is no such model, or it has no graph in that precision.
    """
    from gptneo_onnx.runtime.on_demand_export import exported_directory

    file_name: str | None = options.file_name
    chosen = options.precision, heads, file_name
    directory, precision = exported_directory(model, *chosen, revision=options.revision)
    if precision is None or not is_directory(directory):
        return directory, file_name
    from gptneo_onnx.runtime.model_files.precisions import graph_in_precision

    return directory, graph_in_precision(directory, precision, file_name, "--precision")


def add_device(command: argparse.ArgumentParser, second: str | None = None) -> None:
    """Add --device and --threads, which load_model() and load_with_tokenizer() read.

    `second` names an option for the device of a second model.
    """
    group = command.add_argument_group("device")
    group.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="where to run: cpu, cuda, cuda:N, or auto for CUDA if it can be had (default: auto)",
    )
    if second is not None:
        group.add_argument(second, metavar="DEVICE", help="the device of B (default: that of A)")
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of one operator (default: $GPTNEO_ONNX_THREADS, or one per core)",
    )
    group.add_argument(
        "--spin",
        action=_Spin,
        help="whether threads spin while they wait: faster alone, slower beside other programs "
        "(default: $GPTNEO_ONNX_SPIN, or yes unless a quota of processor time binds)",
    )
    group.add_argument(
        "--trust-graph",
        action="store_true",
        help="load a graph of another exporter at once, without a trial in a separate process",
    )


def add_batch_size(group: Any) -> None:
    """Add --batch-size."""
    group.add_argument(
        "--batch-size",
        type=int,
        default=16,
        metavar="N",
        help="short texts that are read together (default: 16)",
    )


def add_json(group: Any) -> None:
    """Add --json."""
    group.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )


def add_quiet(group: Any) -> None:
    """Add -q to a command or to a group of its options."""
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="write only warnings and errors on standard error",
    )


def add_documents(command: argparse.ArgumentParser) -> None:
    """Add FILE ... and the options that say what in a file is a document."""
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help=_FILES_HELP)
    _add_document_forms(command.add_argument_group("texts"))


def add_texts(command: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --text FILE ..., for commands whose positional arguments are something else.

    Where it is not required, `files` is None without it.
    """
    group = command.add_argument_group("texts")
    group.add_argument(
        "--text",
        dest="files",
        type=Path,
        nargs="+",
        required=required,
        metavar="FILE",
        help=_FILES_HELP + ("" if required else " (default: TEXT)"),
    )
    _add_document_forms(group)


def _add_document_forms(group: Any) -> None:
    group.add_argument(
        "--field",
        default="text",
        metavar="NAME",
        help="the field of JSON lines and tables that holds the text (default: text)",
    )
    group.add_argument(
        "--lines",
        action="store_true",
        help="read each line of a text file as a separate document",
    )


def load_model(
    directory: str | Path,
    options: argparse.Namespace,
    file_name: str | None = None,
    device: str | None = None,
) -> "GPTNeoForCausalLM":
    """Load a directory's model; `device` overrides the options' device."""
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM

    return GPTNeoForCausalLM.from_pretrained(
        directory,
        device=options.device if device is None else device,
        num_threads=options.threads,
        file_name=file_name,
        trust_graph=options.trust_graph,
    )


def load_with_tokenizer(
    directory: str | Path,
    options: argparse.Namespace,
    file_name: str | None = None,
    mmap: bool = False,
    batch_invariant: bool = False,
) -> "LoadedModel[GPTNeoForCausalLM]":
    """Load a directory's language model and its tokenizer, on the options' device."""
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM

    load = partial(GPTNeoForCausalLM.from_pretrained, mmap=mmap, batch_invariant=batch_invariant)
    return load_with(load, directory, options, file_name)


def load_with(
    load: "Callable[..., Model]",
    directory: str | Path,
    options: argparse.Namespace,
    file_name: str | None = None,
) -> "LoadedModel[Model]":
    """Load a directory's model, by a function that loading.load_with_tokenizer() takes."""
    from gptneo_onnx.runtime.pipelines import loading

    return loading.load_with_tokenizer(
        directory,
        partial(load, trust_graph=options.trust_graph),
        device=options.device,
        num_threads=options.threads,
        file_name=file_name,
    )


def model_values(model: Any) -> dict[str, Any]:
    """Return what --json says of a loaded model: its directory and its precision."""
    return {"model": str(model.engine.path), "precision": model.engine.precision}


def check_documents(documents: "Iterable[Document]", check: Callable[[str], object]) -> None:
    """Refuse a text that cannot be read, by its source, before any time is spent on others.

    `check` raises InputError for it.
    """
    for document in documents:
        try:
            check(document.text)
        except InputError as error:
            raise InputError(f"{document.source}: {error}") from error


def documents_of(options: argparse.Namespace, final_newline: bool = True) -> "Iterator[Document]":
    """Read the documents that the options name; see read_documents()."""
    from gptneo_onnx.runtime.documents import read_documents

    return read_documents(options.files, options.field, options.lines, final_newline)
