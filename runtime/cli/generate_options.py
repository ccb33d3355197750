"""The options of `gptneo-onnx generate`."""

import argparse
from collections.abc import Callable
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.device_options import add_device, add_file_name

# generate()'s arguments that are numbers, with what --help says of them.
WHOLE_NUMBERS = {
    "max-new-tokens": "most tokens to add (256)",
    "max-length": "longest text, prompt included, in tokens",
    "min-new-tokens": "fewest tokens to add",
    "min-length": "shortest text, prompt included, in tokens",
    "top-k": "draw from the N likeliest tokens (50); 0 for all",
    "no-repeat-ngram-size": "no N tokens in a row come twice",
    "num-return-sequences": "results for each prompt",
    "num-beam-groups": "groups of beams, which --diversity-penalty keeps apart",
    "num-assistant-tokens": "most tokens that --draft proposes at once (20)",
    "seed": "the same number gives the same text again",
}
NUMBERS = {
    "temperature": "above 1 draws more evenly, below 1 the likely more often (0.7)",
    "top-p": "draw from the likeliest tokens that together have this probability",
    "min-p": "draw from tokens at least this likely, relative to the likeliest",
    "typical-p": "draw from the typical tokens that together have this probability",
    "repetition-penalty": "above 1 makes tokens that occurred less likely",
    "length-penalty": "of beams: above 0 prefers long texts, below 0 short ones",
    "diversity-penalty": "for tokens that another group of beams just took",
    "guidance-scale": "weight of the prompt against --negative-prompt",
    "max-time": "seconds after which no token is begun",
}


def add_generate(commands: Any, run: Callable[[argparse.Namespace], None]) -> None:
    """Add the command to argparse's sub-parsers; `run` is called with its options."""
    generate = commands.add_parser(
        "generate",
        help="continue a prompt",
        description="Continue a prompt. With one argument: MODEL if it is a directory (the prompt "
        "is then read from standard input), else the prompt of the embedded model.",
    )
    generate.add_argument("words", nargs="*", metavar="[MODEL] [PROMPT]")
    _add_prompts(generate.add_argument_group("prompts and results"))
    _add_arguments(generate.add_argument_group("generation"))
    _add_forms(generate.add_argument_group("form of the text (needs the structured extra)"))
    add_file_name(generate)
    add_device(generate)
    generate.set_defaults(run=run)


def _add_prompts(group: Any) -> None:
    group.add_argument("--prompts", metavar="FILE", help="a prompt a line; - for standard input")
    group.add_argument("--batch-size", type=int, metavar="N", help="of --prompts together (1)")
    group.add_argument("--interactive", action="store_true", help="write a text in turns")
    group.add_argument("--json", action="store_true", help="print results as JSON, one a line")
    group.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="print text as it comes: the default for a single result",
    )


def _add_arguments(group: Any) -> None:
    group.add_argument(
        "--do-sample",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw tokens (the default unless the model says otherwise), or take the likeliest",
    )
    for name, meaning in WHOLE_NUMBERS.items():
        group.add_argument(f"--{name}", type=int, metavar="N", help=meaning)
    for name, meaning in NUMBERS.items():
        group.add_argument(f"--{name}", type=float, metavar="X", help=meaning)
    group.add_argument(
        "--beams",
        "--num-beams",
        type=int,
        metavar="N",
        dest="num_beams",
        help="search with N beams; they are drawn too, unless --no-do-sample",
    )
    group.add_argument(
        "--stop",
        "--stop-strings",
        action="append",
        metavar="TEXT",
        dest="stop_strings",
        help="end behind this text; may be given several times",
    )
    group.add_argument(
        "--negative-prompt", metavar="TEXT", help="what --guidance-scale leads away from"
    )
    group.add_argument(
        "--draft", "--assistant-model", metavar="MODEL", help="a smaller model that proposes tokens"
    )
    group.add_argument(
        "--prompt-lookup",
        "--prompt-lookup-num-tokens",
        type=int,
        nargs="?",
        const=10,
        metavar="N",
        dest="prompt_lookup_num_tokens",
        help="propose up to N tokens (10) from the text itself",
    )


def _add_forms(group: Any) -> None:
    group = group.add_mutually_exclusive_group()
    group.add_argument("--json-schema", metavar="FILE", help="JSON of this schema")
    group.add_argument("--regex", metavar="PATTERN", help="a match of a regular expression")
    group.add_argument("--grammar", metavar="FILE", help="a sentence of a Lark grammar")


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that exclude each other, or do nothing without another."""
    if options.interactive and (options.prompts is not None or options.json):
        raise InputError("--interactive writes to the terminal; leave out --prompts and --json")
    if options.interactive and max(options.num_beams or 1, options.num_return_sequences or 1) > 1:
        raise InputError("--interactive has one result; leave out --beams and return sequences")
    if options.prompts is not None and options.stream:
        raise InputError("--prompts prints whole results; leave out --stream")
    if options.json and options.stream:
        raise InputError("--json prints whole results; leave out --stream")
    if options.negative_prompt is not None and options.guidance_scale in (None, 1):
        raise InputError("--negative-prompt needs a weight; pass --guidance-scale too, say 1.5")
    if options.batch_size is not None and options.prompts is None:
        raise InputError(
            "--batch-size is for several prompts; pass --prompts FILE, or leave it out"
        )
    if options.num_assistant_tokens is not None and options.draft is None:
        raise InputError("--num-assistant-tokens is for a draft model; pass --draft MODEL too")
