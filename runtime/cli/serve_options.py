"""Options of `gptneo-onnx serve`, in the groups of its help."""

import argparse
from pathlib import Path
from typing import Any

from gptneo_onnx.runtime.cli.options import MODEL_HELP, add_device, add_graph_choice, add_quiet
from gptneo_onnx.runtime.cli.parser import add_examples

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add all arguments of the command, and its examples."""
    command.add_argument(
        "served",
        nargs="?",
        type=Path,
        metavar="MODEL",
        help=f"{MODEL_HELP} (default: the embedded model)",
    )
    _add_address(command.add_argument_group("address"))
    _add_models(command.add_argument_group("models"))
    _add_scheduling(command.add_argument_group("sharing of a model among requests"))
    _add_access(command.add_argument_group("who may ask"))
    _add_limits(command.add_argument_group("limits on requests"))
    _add_logs(command.add_argument_group("logs"))
    add_device(command)
    add_examples(
        command,
        "serve",
        "serve gpt-neo-1.3B --precision w8a8 --slots 16",
        "serve gpt-neo-1.3B --host 0.0.0.0 --api-key-file KEYS",
        "serve --model small=gpt-neo-125m --model large=gpt-neo-1.3B",
    )


def _add_address(group: Any) -> None:
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="which address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for every "
        "one (default: 127.0.0.1)",
    )
    group.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="which port to listen on; 0 picks a free one, and prints it (default: 8000)",
    )
    group.add_argument(
        "--root-path",
        metavar="PATH",
        help="under which path a proxy shows the server (default: none)",
    )
    group.add_argument(
        "--ssl-certfile", type=Path, metavar="FILE", help="certificate for https (default: http)"
    )
    group.add_argument(
        "--ssl-keyfile",
        type=Path,
        metavar="FILE",
        help="the certificate's private key (default: it is in --ssl-certfile)",
    )


def _add_models(group: Any) -> None:
    group.add_argument(
        "-m",
        "--model",
        action="append",
        metavar="NAME=MODEL",
        dest="models",
        help="serve MODEL under NAME; give it several times to serve several, chosen by a "
        "request's model (default: MODEL, or the embedded model)",
    )
    group.add_argument(
        "--served-model-name",
        "--alias",
        action="append",
        metavar="NAME",
        help="what requests call the first model; give it several times for several names "
        "(default: the name of its folder, or its hub id)",
    )
    add_graph_choice(group)
    group.add_argument(
        "--chat-template",
        type=Path,
        metavar="FILE",
        help="a chat template of jinja, in place of the models' own (default: the models' own)",
    )


def _add_scheduling(group: Any) -> None:
    group.add_argument(
        "--slots",
        "--max-num-seqs",
        "--parallel",
        type=int,
        default=8,
        metavar="N",
        help="texts that a model writes at the same time; each holds memory for a whole context "
        "(default: 8)",
    )
    group.add_argument(
        "--max-waiting",
        type=int,
        default=128,
        metavar="N",
        help="requests that may wait for slots; one more is refused with status 429 (default: 128)",
    )
    group.add_argument(
        "--max-step-seconds",
        type=float,
        default=0.25,
        metavar="X",
        help="how long the reading of prompts may hold up the next token of the others "
        "(default: 0.25)",
    )
    group.add_argument(
        "--prefix-cache",
        default="1GiB",
        metavar="SIZE",
        help="memory for beginnings that prompts share, such as 512MiB or 2GiB, for each model; 0 "
        "for none (default: 1GiB)",
    )
    group.add_argument(
        "--prefill-chunk",
        type=int,
        metavar="N",
        help="tokens of a prompt that are read at once, at most (default: 256)",
    )
    group.add_argument(
        "--no-exact",
        action="store_true",
        help="with int8, int4 and w8a8, cut and reuse prompts anywhere: more is reused, and a text "
        "may differ from what generate gives (default: only where it cannot)",
    )
    group.add_argument(
        "--prompt-lookup",
        type=int,
        nargs="?",
        const=10,
        default=0,
        metavar="N",
        dest="draft_tokens",
        help="while one text is written alone, propose up to N tokens, 10 without N, from the text "
        "itself (default: off)",
    )
    group.add_argument(
        "--draft",
        metavar="PRECISION",
        help="while one text is written alone, have another precision of the model propose tokens, "
        "such as int4 (default: none)",
    )


def _add_access(group: Any) -> None:
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="keys that requests must name one of, one a line (default: $GPTNEO_ONNX_API_KEY, or "
        "none: everybody may ask)",
    )
    group.add_argument(
        "--cors-origin",
        action="append",
        metavar="ORIGIN",
        dest="cors_origins",
        help="whose pages may ask, such as https://example.org, or * for all; may be given several "
        "times (default: none)",
    )
    group.add_argument(
        "--max-concurrent-per-key",
        type=int,
        default=0,
        metavar="N",
        help="requests of one key at the same time; 0 for any number (default: 0)",
    )


def _add_limits(group: Any) -> None:
    group.add_argument(
        "--timeout",
        type=float,
        default=600,
        metavar="X",
        help="seconds in which a request must be finished, its wait included (default: 600)",
    )
    group.add_argument(
        "--max-body-size",
        default="4MiB",
        metavar="SIZE",
        help="how large the body of a request may be (default: 4MiB)",
    )
    group.add_argument(
        "--max-results",
        type=int,
        default=16,
        metavar="N",
        help="how large n and best_of may be (default: 16)",
    )
    group.add_argument(
        "--drain-seconds",
        type=float,
        default=30,
        metavar="X",
        help="after SIGTERM or Ctrl-C, how long running requests may take to end (default: 30)",
    )


def _add_logs(group: Any) -> None:
    group.add_argument(
        "--log-format",
        default="text",
        choices=LOG_FORMATS,
        metavar="NAME",
        help="text or json, an object a line, on standard error (default: text)",
    )
    group.add_argument(
        "--log-level",
        default="info",
        choices=LOG_LEVELS,
        metavar="NAME",
        help="debug, info (a line for each request), warning or error (default: info)",
    )
    add_quiet(group)
