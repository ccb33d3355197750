"""Options of `gptneo-onnx generate`, in the groups of its help."""

import argparse
from dataclasses import dataclass
from typing import Any

from gptneo_onnx.runtime.cli.drafting import add_draft
from gptneo_onnx.runtime.cli.escapes import unescaped
from gptneo_onnx.runtime.cli.options import MODEL_HELP, add_device, add_graph_choice, add_quiet
from gptneo_onnx.runtime.cli.parser import add_examples


@dataclass(frozen=True)
class Number:
    """An option that is an argument of generate() and a number.

    Attributes:
        name: generate()'s.
        kind: of number.
        meaning: for --help.
        default: what generate() goes by without it, for --help.
        short: a short option.
        synonyms: what other programs call it.
    """

    name: str
    kind: type[int] | type[float]
    meaning: str
    default: str
    short: str | None = None
    synonyms: tuple[str, ...] = ()


_LENGTHS = (
    Number("max_new_tokens", int, "generate at most N tokens", "256", "-n", ("--max-tokens",)),
    Number(
        "max_length",
        int,
        "end when the text, prompt included, has N tokens",
        "none; --max-new-tokens counts",
    ),
    Number("min_new_tokens", int, "generate at least N tokens", "none"),
    Number("min_length", int, "generate until the text, prompt included, has N tokens", "0"),
    Number("max_time", float, "begin no token after X seconds", "no limit"),
)
_SAMPLING = (
    Number(
        "temperature",
        float,
        "above 1 sample more evenly, below 1 prefer likely tokens, 0 always take the likeliest",
        "0.7",
        synonyms=("--temp",),
    ),
    Number("top_k", int, "sample from the N likeliest tokens; 0 samples from all", "50"),
    Number(
        "top_p",
        float,
        "sample from the likeliest tokens that together have this probability",
        "1.0, all",
    ),
    Number(
        "min_p",
        float,
        "sample from tokens at least this likely, relative to the likeliest",
        "none, all",
    ),
    Number(
        "typical_p",
        float,
        "sample from the most typical tokens that together have this probability",
        "1.0, all",
    ),
    Number(
        "seed", int, "sample the same text again for the same N", "another text each time", "-s"
    ),
    Number("num_return_sequences", int, "return N results for each prompt", "1"),
)
_PENALTIES = (
    Number(
        "repetition_penalty",
        float,
        "above 1 make tokens that occurred before less likely",
        "1.0, off",
    ),
    Number("no_repeat_ngram_size", int, "never repeat N tokens in a row", "0, off"),
    Number("guidance_scale", float, "weight the prompt against --negative-prompt", "none, off"),
)
_BEAMS = (
    Number(
        "num_beam_groups",
        int,
        "divide beams into N groups that --diversity-penalty keeps apart",
        "1",
    ),
    Number(
        "diversity_penalty",
        float,
        "make tokens less likely that another group of beams just chose",
        "0.0",
    ),
    Number("length_penalty", float, "above 0 prefer long texts, below 0 short ones", "1.0"),
)
_DRAFTS = (
    Number(
        "num_assistant_tokens", int, "have a draft model propose at most N tokens at once", "20"
    ),
)
# Those that are passed to generate() unless they are None.
NUMBERS = (*_LENGTHS, *_SAMPLING, *_PENALTIES, *_BEAMS, *_DRAFTS)
OTHER_ARGUMENTS = ("do_sample", "num_beams", "stop_strings", "prompt_lookup_num_tokens")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add all arguments of the command, and its examples."""
    command.add_argument(
        "words",
        nargs="*",
        metavar="[MODEL] [PROMPT]",
        help=f"{MODEL_HELP} (default: the embedded model); and the text to continue (default: "
        "standard input; at a terminal, a text in turns); a single word is MODEL if it is a "
        "directory or a hub id in the cache, and else PROMPT",
    )
    _add_prompts(command.add_argument_group("prompts"))
    _add_output(command.add_argument_group("output"))
    _add_lengths(
        command.add_argument_group(
            "length of the text",
            "Here and below, an option that is left out has the value that MODEL's own files set "
            "(generation_config.json, config.json). Defaults shown are for a MODEL that sets none.",
        )
    )
    _add_sampling(command.add_argument_group("sampling"))
    _add_penalties(command.add_argument_group("penalties and guidance"))
    _add_beams(command.add_argument_group("beams"))
    _add_drafts(command.add_argument_group("drafts (the same text, sooner)"))
    _add_forms(command.add_argument_group("form of the text (needs the structured extra)"))
    _add_model(command.add_argument_group("model"))
    add_device(command)
    add_examples(
        command,
        'generate "It is a truth"',
        'generate gpt-neo-125m "EleutherAI has" -n 50 --temperature 0',
        'generate -m gpt-neo-125m -p "Once" --temp 0.8 --top-p 0.95 --seed 7',
        "generate gpt-neo-125m --prompts prompts.txt --batch-size 8 --json",
    )


def _add_numbers(group: Any, numbers: tuple[Number, ...]) -> None:
    for number in numbers:
        flags = (f"--{number.name.replace('_', '-')}", *number.synonyms)
        group.add_argument(
            *((number.short,) if number.short else ()),
            *flags,
            type=number.kind,
            metavar="N" if number.kind is int else "X",
            dest=number.name,
            help=f"{number.meaning} (default: {number.default})",
        )


def _add_prompts(group: Any) -> None:
    group.add_argument(
        "-p", "--prompt", metavar="TEXT", help="the text to continue (default: PROMPT)"
    )
    group.add_argument(
        "--prompts",
        metavar="FILE",
        help="continue each line of FILE, in .jsonl its prompt or text; - for standard input, or "
        "the shell's <(COMMAND) (default: one prompt)",
    )
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="generate N of --prompts together (default: 1)"
    )
    group.add_argument(
        "-i",
        "--interactive",
        action="store_true",
        help="write a text in turns with the model: the default on a terminal, without a prompt",
    )
    group.add_argument(
        "--no-history",
        action="store_true",
        help="keep nothing of what is typed in turns for later sessions",
    )


def _add_output(group: Any) -> None:
    group.add_argument(
        "--json", action="store_true", help="print a JSON object per prompt, one a line"
    )
    group.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="print text as it is generated (default: yes for a single result)",
    )
    add_quiet(group)


def _add_lengths(group: Any) -> None:
    _add_numbers(group, _LENGTHS)
    group.add_argument(
        "--stop",
        "--stop-strings",
        action="append",
        type=unescaped,
        metavar="TEXT",
        dest="stop_strings",
        help=r"end after this text, in which \n, \t, \\ and \uXXXX are escapes; may be given "
        "several times (default: none)",
    )


def _add_sampling(group: Any) -> None:
    group.add_argument(
        "--do-sample",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sample tokens, or always take the likeliest (default: sample)",
    )
    _add_numbers(group, _SAMPLING)


def _add_penalties(group: Any) -> None:
    _add_numbers(group, _PENALTIES)
    group.add_argument(
        "--negative-prompt",
        metavar="TEXT",
        help="what --guidance-scale leads away from (default: the prompt's last token)",
    )


def _add_beams(group: Any) -> None:
    group.add_argument(
        "--beams",
        "--num-beams",
        type=int,
        metavar="N",
        dest="num_beams",
        help="search with N beams; they are sampled too, unless --no-do-sample is given (default: "
        "1, no search)",
    )
    _add_numbers(group, _BEAMS)


def _add_drafts(group: Any) -> None:
    add_draft(group)
    group.add_argument(
        "--prompt-lookup",
        "--prompt-lookup-num-tokens",
        type=int,
        nargs="?",
        const=10,
        metavar="N",
        dest="prompt_lookup_num_tokens",
        help="propose up to N tokens, 10 without N, from the text itself (default: off)",
    )
    _add_numbers(group, _DRAFTS)


def _add_forms(group: Any) -> None:
    group = group.add_mutually_exclusive_group()
    group.add_argument(
        "--json-schema",
        metavar="FILE",
        help="generate JSON of this schema; FILE may be the shell's <(COMMAND) (default: any text)",
    )
    group.add_argument(
        "--regex",
        metavar="PATTERN",
        help="generate a match of this regular expression (default: any text)",
    )
    group.add_argument(
        "--grammar",
        metavar="FILE",
        help="generate a text of this Lark grammar; FILE may be the shell's <(COMMAND) (default: "
        "any text)",
    )


# Those that may change from turn to turn of a text.
SETTINGS = (_add_lengths, _add_sampling, _add_penalties, _add_beams, _add_drafts, _add_forms)


def _add_model(group: Any) -> None:
    group.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help=f"{MODEL_HELP} (default: MODEL, or the embedded model)",
    )
    add_graph_choice(group)
    group.add_argument(
        "--mmap",
        action="store_true",
        help="leave weights of fp32 in the file, mapped into memory: starts at once, decodes one "
        "sequence about as fast, and several together two to three times as slowly",
    )
    group.add_argument(
        "--batch-invariant",
        action="store_true",
        help="make a text the same in any batch, in int8 and int4 too; one text alone takes up to "
        "a fifth longer",
    )
