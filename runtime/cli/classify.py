"""The command `gptneo-onnx classify`: labels of texts, entities in them, answers from them."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError, printable
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.options import (
    add_batch_size,
    add_device,
    add_graph_choice,
    add_model,
    add_quiet,
    add_texts,
    check_documents,
    chosen_graph,
    documents_of,
    load_with,
    model_values,
)
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.progress import with_progress
from gptneo_onnx.runtime.cli.terminal import wrapped

if TYPE_CHECKING:
    from gptneo_onnx.runtime.documents import Document
    from gptneo_onnx.runtime.pipelines.loading import LoadedModel

Result = dict[str, Any]

_STRATEGIES = ("none", "simple", "first", "average", "max")
# The options that only models with some heads know.
_OPTIONS: Mapping[str, tuple[Head, ...]] = {
    "question": (Head.QUESTION_ANSWERING,),
    "aggregation": (Head.TOKEN_CLASSIFICATION,),
    "stride": (Head.TOKEN_CLASSIFICATION,),
    "truncation": (Head.SEQUENCE_CLASSIFICATION,),
    "top_k": (Head.SEQUENCE_CLASSIFICATION, Head.QUESTION_ANSWERING),
}
# Characters of a text that a line shows.
_SHOWN = 60
# Where labels begin, after the score.
_LABEL_COLUMN = 9


@dataclass(frozen=True)
class _Classifier:
    """What the command does with a model's pipeline.

    Attributes:
        check: raises InputError for a text that cannot be read.
        run: yields the results of each text.
        name: of the results, in JSON.
    """

    check: Callable[[str], object]
    run: Callable[[Iterable[str]], Iterator[list[Result]]]
    name: str


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "classify",
        help="labels of texts, entities in them, or answers from them",
        description="Print labels of texts, entities in them, or answers from them, as the "
        "model's head is for.",
    )
    add_model(command)
    command.add_argument(
        "texts", nargs="*", metavar="TEXT", help="what to classify (default: standard input)"
    )
    add_texts(command, required=False)
    group = command.add_argument_group("results")
    group.add_argument(
        "--question",
        metavar="TEXT",
        help="what to answer from each text, for a model for question answering (default: none)",
    )
    group.add_argument(
        "--top-k", type=int, metavar="N", help="how many labels or answers to show (default: 1)"
    )
    group.add_argument(
        "--aggregation",
        choices=_STRATEGIES,
        metavar="NAME",
        help=f"how tokens become entities: {', '.join(_STRATEGIES)}, where none gives a label for "
        "each token (default: simple)",
    )
    group.add_argument(
        "--stride",
        type=int,
        metavar="N",
        help="find entities in all of a text that is longer than the context, in windows that "
        "repeat N tokens (default: such texts are refused)",
    )
    group.add_argument(
        "--truncation", action="store_true", help="cut texts that are longer than the context"
    )
    group = command.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print a JSON object for each text")
    add_quiet(group)
    group = command.add_argument_group("model")
    add_graph_choice(group)
    add_batch_size(group)
    add_device(command)
    add_examples(
        command,
        'classify classifier "She was very fond of Mr. Darcy."',
        "classify classifier --text texts.txt --lines --top-k 3 --json",
        'classify answerer "Emma was fond of him." --question "Who was fond?"',
    )
    command.set_defaults(run=run_classify)


def run_classify(options: argparse.Namespace) -> None:
    """Read the texts and print what the model finds.

    Raises:
        InputError: a text or option that cannot be used; nothing was printed.
        ModelFileError: the model is damaged, or its numbers overflow.
    """
    from gptneo_onnx.runtime.pipelines.loading import load_model

    heads = (
        Head.SEQUENCE_CLASSIFICATION,
        Head.TOKEN_CLASSIFICATION,
        Head.QUESTION_ANSWERING,
    )
    documents = list(_documents(options))
    directory, graph = chosen_graph(options.model, options, heads)
    loaded = load_with(partial(load_model, heads=heads), directory, options, graph)
    classifier = _classifier(loaded, options)
    check_documents(documents, classifier.check)
    results = classifier.run(document.text for document in documents)
    shown = with_progress(results, len(documents), "texts", options)
    for index, (document, found) in enumerate(zip(documents, shown, strict=True)):
        if options.json:
            values = {"index": index, "source": document.source, classifier.name: found}
            print(json.dumps(values | model_values(loaded.model)))
        else:
            _print(document, found, has_others=len(documents) > 1)


def _documents(options: argparse.Namespace) -> "Iterable[Document]":
    """Return the texts of the command line, or else of files, or else of standard input."""
    from gptneo_onnx.runtime.documents import STANDARD_INPUT, Document

    texts, files = options.texts, options.files
    if texts and files is not None:
        raise InputError("texts were given, and files (--text); give either")
    if texts:
        return [Document(text, f"text {number}") for number, text in enumerate(texts, 1)]
    options.files = files or [STANDARD_INPUT]
    # A line end that an editor added would be a text's last token.
    return documents_of(options, final_newline=False)


def _classifier(loaded: "LoadedModel[Any]", options: argparse.Namespace) -> _Classifier:
    """Return what to do with the model; raise InputError for an option that it does not know."""
    head = loaded.model.engine.task.head
    for name, heads in _OPTIONS.items():
        if getattr(options, name) not in (None, False) and head not in heads:
            raise InputError(
                f"--{name.replace('_', '-')} is for {' and '.join(each.value for each in heads)}, "
                f"and {options.model} is a {head.value}; leave it out"
            )
    match head:
        case Head.SEQUENCE_CLASSIFICATION:
            return _of_texts(loaded, options)
        case Head.TOKEN_CLASSIFICATION:
            return _of_tokens(loaded, options)
        case _:
            return _of_questions(loaded, options)


def _of_texts(loaded: "LoadedModel[Any]", options: argparse.Namespace) -> _Classifier:
    from gptneo_onnx.runtime.pipelines.text_classification import TextClassificationPipeline

    pipeline = TextClassificationPipeline(
        loaded.model,
        loaded.tokenizer,
        top_k=1 if options.top_k is None else options.top_k,
        truncation=options.truncation,
        batch_size=options.batch_size,
    )
    return _Classifier(pipeline.encode, lambda texts: pipeline(iter(texts)), "labels")


def _of_tokens(loaded: "LoadedModel[Any]", options: argparse.Namespace) -> _Classifier:
    from gptneo_onnx.runtime.pipelines.token_classification import TokenClassificationPipeline

    pipeline = TokenClassificationPipeline(
        loaded.model,
        loaded.tokenizer,
        aggregation_strategy=options.aggregation or "simple",
        stride=options.stride,
        batch_size=options.batch_size,
    )
    check = partial(pipeline.encode, stride=options.stride)
    return _Classifier(check, lambda texts: pipeline(iter(texts)), "entities")


def _of_questions(loaded: "LoadedModel[Any]", options: argparse.Namespace) -> _Classifier:
    from gptneo_onnx.runtime.pipelines.question_answering import QuestionAnsweringPipeline

    if options.question is None:
        raise InputError(
            f"{options.model} is for question answering; pass --question TEXT, to be answered from "
            "each text"
        )
    pipeline = QuestionAnsweringPipeline(
        loaded.model,
        loaded.tokenizer,
        top_k=1 if options.top_k is None else options.top_k,
        batch_size=options.batch_size,
    )

    def run(texts: Iterable[str]) -> Iterator[list[Result]]:
        asked = ({"question": options.question, "context": text} for text in texts)
        for found in pipeline(asked):
            yield found if isinstance(found, list) else [found]

    check = partial(pipeline.check, options.question)
    return _Classifier(check, run, "answers")


def _print(document: "Document", found: list[Result], has_others: bool) -> None:
    """Print a line for each result: its score, its name, and what it is about."""
    is_label = bool(found) and "label" in found[0]
    if has_others and not is_label:
        print(printable(f"{document.source}: {_shown(document.text)}"))
    for result in found:
        cells = [f"{result['score']:7.4f}", *_cells(document, result)]
        if has_others and is_label:
            cells.append(_shown(document.text))
        print(wrapped(printable("  ".join(cells)), sys.stdout, _LABEL_COLUMN))


def _cells(document: "Document", result: Result) -> list[str]:
    if "label" in result:
        return [result["label"]]
    start, end = result["start"], result["end"]
    place = [_shown(document.text[start:end]), f"({start}-{end})"]
    label = result.get("entity", result.get("entity_group"))
    return place if label is None else [label, *place]


def _shown(text: str) -> str:
    """Return a text in one line, or its beginning."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
