"""Options of `gptneo-onnx generate` that have another model propose tokens."""

import argparse
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.runtime.cli.options import load_model

if TYPE_CHECKING:
    from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM

_PRECISIONS = [precision.value for precision in Precision]


def add_draft(group: Any) -> None:
    """Add --draft and --self-draft."""
    group.add_argument(
        "--draft",
        "--assistant-model",
        metavar="MODEL",
        help="have a smaller model propose tokens: the same text, sooner; a directory or a hub "
        "id, or another precision that MODEL has (int4)",
    )
    group.add_argument(
        "--self-draft",
        action="store_true",
        help="have MODEL's smallest precision propose tokens; export two with --precision "
        "fp32,int4",
    )


def check_draft(options: argparse.Namespace) -> None:
    """Raise InputError for options that exclude each other, or have no effect without another."""
    if options.self_draft and options.draft is not None:
        raise InputError("--self-draft and --draft exclude each other; pass one of them")
    is_drafted = options.self_draft or options.draft is not None
    if options.num_assistant_tokens is not None and not is_drafted:
        raise InputError(
            "--num-assistant-tokens is for a draft model; pass --draft MODEL or --self-draft too"
        )


def load_draft(
    options: argparse.Namespace, model: "GPTNeoForCausalLM"
) -> "GPTNeoForCausalLM | str | None":
    """Return the assistant_model that the options name, loaded; None for --self-draft and none.

    Raises:
        InputError: MODEL lacks the precision, or the directory was not exported.
    """
    if options.self_draft or options.draft in _PRECISIONS:
        model.engine.twin(options.draft, "--draft")  # loaded, or refused, before any text
        return str(options.draft) if options.draft else None
    return None if options.draft is None else load_model(options.draft, options)
