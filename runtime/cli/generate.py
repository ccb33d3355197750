"""The command `gptneo-onnx generate`: continues a prompt, several, or a text written in turns."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.drafting import add_draft, check_draft, load_draft
from gptneo_onnx.runtime.cli.generate_inputs import (
    MAX_GRAMMAR_BYTES,
    model_and_prompt,
    read_prompts,
    read_text_file,
)
from gptneo_onnx.runtime.cli.options import (
    MODEL_HELP,
    add_device,
    add_graph_choice,
    chosen_graph,
    load_with_tokenizer,
)

if TYPE_CHECKING:
    from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
    from gptneo_onnx.runtime.tokenizer import Tokenizer

# Arguments of generate() that are numbers, with their help.
_INTEGERS = {
    "max-new-tokens": "generate at most N tokens (default: 256)",
    "max-length": "end when the text, prompt included, has N tokens",
    "min-new-tokens": "generate at least N tokens",
    "min-length": "generate until the text, prompt included, has N tokens",
    "top-k": "sample from the N likeliest tokens (default: 50); 0 samples from all",
    "no-repeat-ngram-size": "never repeat N tokens in a row",
    "num-return-sequences": "return N results for each prompt",
    "num-beam-groups": "divide beams into N groups, which --diversity-penalty keeps apart",
    "num-assistant-tokens": "have a draft model propose at most N tokens at once (default: 20)",
    "seed": "sample the same text again for the same N",
}
# What other programs call them.
_SYNONYMS = {"max-new-tokens": ("--max-tokens", "-n")}
_FLOATS = {
    "temperature": "above 1 sample more evenly, below 1 prefer likely tokens (default: 0.7)",
    "top-p": "sample from the likeliest tokens that together have this probability",
    "min-p": "sample from tokens at least this likely, relative to the likeliest",
    "typical-p": "sample from the most typical tokens that together have this probability",
    "repetition-penalty": "above 1 make tokens that occurred before less likely",
    "length-penalty": "with beams: above 0 prefer long texts, below 0 short ones",
    "diversity-penalty": "make tokens less likely that another group of beams just chose",
    "guidance-scale": "weight the prompt against --negative-prompt",
    "max-time": "begin no token after this many seconds",
}
# Other options that are passed to generate() unless they are None.
_OTHER_ARGUMENTS = ("do_sample", "num_beams", "stop_strings", "prompt_lookup_num_tokens")


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "generate",
        help="continue a prompt",
        description="Continue a prompt. A single word is MODEL if it is a directory or a hub id "
        "in the cache, and the prompt is read from standard input; a text is a prompt for the "
        "embedded model. -m and -p say which is which.",
    )
    command.add_argument(
        "words",
        nargs="*",
        metavar="[MODEL] [PROMPT]",
        help=f"{MODEL_HELP}; and the text to continue",
    )
    command.add_argument("-m", "--model", metavar="MODEL", help=MODEL_HELP)
    _add_prompts(command.add_argument_group("prompts and results"))
    _add_generation(command.add_argument_group("generation"))
    _add_forms(command.add_argument_group("form of the text (needs the structured extra)"))
    add_graph_choice(command)
    add_device(command)
    command.add_argument(
        "--mmap",
        action="store_true",
        help="leave weights of fp32 in the file, mapped into memory: starts at once, decodes one "
        "sequence about as fast, and several together two to three times as slowly",
    )
    command.add_argument(
        "--batch-invariant",
        action="store_true",
        help="make a text the same in any batch, in int8 and int4 too; one text alone takes up to "
        "a fifth longer",
    )
    command.set_defaults(run=run_generate)


def _add_prompts(group: Any) -> None:
    group.add_argument("-p", "--prompt", metavar="TEXT", help="the text to continue")
    group.add_argument(
        "--prompts", metavar="FILE", help="continue each line of FILE; - for standard input"
    )
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="generate N of --prompts together (default: 1)"
    )
    group.add_argument(
        "--interactive", action="store_true", help="write a text in turns with the model"
    )
    group.add_argument(
        "--json", action="store_true", help="print a JSON object per prompt, one a line"
    )
    group.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="print text as it is generated: the default for a single result",
    )


def _add_generation(group: Any) -> None:
    group.add_argument(
        "--do-sample",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sample tokens (the default unless the model's config says otherwise), or always "
        "take the likeliest",
    )
    for name, meaning in _INTEGERS.items():
        flags = (f"--{name}", *_SYNONYMS.get(name, ()))
        group.add_argument(*flags, type=int, metavar="N", dest=name.replace("-", "_"), help=meaning)
    for name, meaning in _FLOATS.items():
        group.add_argument(f"--{name}", type=float, metavar="X", help=meaning)
    group.add_argument(
        "--beams",
        "--num-beams",
        type=int,
        metavar="N",
        dest="num_beams",
        help="search with N beams; they are sampled too, unless --no-do-sample is given",
    )
    group.add_argument(
        "--stop",
        "--stop-strings",
        action="append",
        metavar="TEXT",
        dest="stop_strings",
        help="end after this text; may be given several times",
    )
    group.add_argument(
        "--negative-prompt", metavar="TEXT", help="what --guidance-scale leads away from"
    )
    add_draft(group)
    group.add_argument(
        "--prompt-lookup",
        "--prompt-lookup-num-tokens",
        type=int,
        nargs="?",
        const=10,
        metavar="N",
        dest="prompt_lookup_num_tokens",
        help="propose up to N tokens (default: 10) from the text itself: the same text, sooner",
    )


def _add_forms(group: Any) -> None:
    group = group.add_mutually_exclusive_group()
    group.add_argument("--json-schema", metavar="FILE", help="generate JSON of this schema")
    group.add_argument(
        "--regex", metavar="PATTERN", help="generate a match of this regular expression"
    )
    group.add_argument("--grammar", metavar="FILE", help="generate a text of this Lark grammar")


def run_generate(options: argparse.Namespace) -> None:
    """Continue what the options name, and print it.

    Raises:
        InputError: options that exclude each other or have no effect, and what generate() refuses.
    """
    _check(options)
    directory, prompt = model_and_prompt(options)
    generator = _load_generator(options, directory)
    arguments = _arguments(options, generator.tokenizer)
    if options.interactive:
        _converse(generator, arguments)
    elif options.prompts is not None:
        _continue_all(generator, read_prompts(options.prompts), options, arguments)
    elif prompt is not None:
        _continue_one(generator, prompt, options, arguments)


def _check(options: argparse.Namespace) -> None:
    """Refuse options that exclude each other, or have no effect without another."""
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
    check_draft(options)


def _load_generator(options: argparse.Namespace, directory: Path) -> "TextGenerationPipeline":
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline

    directory, graph = chosen_graph(directory, options, (Head.CAUSAL_LM,))
    loaded = load_with_tokenizer(directory, options, graph, options.mmap, options.batch_invariant)
    return TextGenerationPipeline(
        loaded.model,
        loaded.tokenizer,
        loaded.task_specific_params,
        load_draft(options, loaded.model),
    )


def _arguments(options: argparse.Namespace, tokenizer: "Tokenizer") -> dict[str, Any]:
    """Return the arguments of generate() that the options set."""
    names = [name.replace("-", "_") for name in (*_INTEGERS, *_FLOATS)]
    values = {name: getattr(options, name) for name in (*names, *_OTHER_ARGUMENTS)}
    arguments = {name: value for name, value in values.items() if value is not None}
    if options.self_draft:
        arguments["self_draft"] = True
    if options.negative_prompt is not None:
        arguments["negative_prompt_ids"] = [tokenizer.encode(options.negative_prompt)]
    form = _form(options, tokenizer)
    if form is not None:
        arguments["logits_processor"] = [form]
    return arguments


def _form(options: argparse.Namespace, tokenizer: "Tokenizer") -> "StructuredOutput | None":
    """Return what --json-schema, --regex or --grammar restricts the text to."""
    from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

    if options.json_schema is not None:
        schema = read_text_file(options.json_schema, MAX_GRAMMAR_BYTES)
        # Without whitespace: small models write it without end where it is allowed.
        return StructuredOutput.from_json_schema(tokenizer, schema, whitespace=False)
    if options.regex is not None:
        return StructuredOutput.from_regex(tokenizer, options.regex)
    if options.grammar is not None:
        grammar = read_text_file(options.grammar, MAX_GRAMMAR_BYTES)
        return StructuredOutput.from_grammar(tokenizer, grammar)
    return None


def _converse(generator: "TextGenerationPipeline", arguments: dict[str, Any]) -> None:
    from gptneo_onnx.runtime.cli.interactive import Conversation, converse

    config, others = generator.config_for(**arguments)
    others["assistant_model"] = generator.assistant_model
    converse(Conversation(generator.model, generator.tokenizer, config, **others))


def _continue_one(
    generator: "TextGenerationPipeline",
    prompt: str,
    options: argparse.Namespace,
    arguments: dict[str, Any],
) -> None:
    """Print the results of one prompt: a single text as it is generated, unless told otherwise."""
    from gptneo_onnx.runtime.generation.streamers import TextStreamer

    config, _ = generator.config_for(**arguments)
    is_single = config.num_return_sequences == config.num_beams == 1
    if options.stream and not is_single:
        raise InputError(
            f"--stream prints one text as it comes, and there are {config.num_return_sequences} "
            f"results of {config.num_beams} beams; leave it out"
        )
    streams = options.stream or (options.stream is None and is_single and not options.json)
    if streams:
        streamer = TextStreamer(
            generator.tokenizer, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        generator(prompt, streamer=streamer, **arguments)
    else:
        _print_results(prompt, generator(prompt, **arguments), options.json)


def _continue_all(
    generator: "TextGenerationPipeline",
    prompts: list[str],
    options: argparse.Namespace,
    arguments: dict[str, Any],
) -> None:
    """Print the results of each prompt; count prompts on the terminal if results go elsewhere."""
    shows_count = sys.stderr is not None and sys.stderr.isatty() and not sys.stdout.isatty()
    results: Iterator[list[dict[str, Any]]] = generator(
        iter(prompts), batch_size=options.batch_size, **arguments
    )
    for number, (prompt, prompt_results) in enumerate(zip(prompts, results, strict=True), 1):
        _print_results(prompt, prompt_results, options.json)
        if shows_count:
            end = "\n" if number == len(prompts) else ""
            print(f"\r{number} of {len(prompts)} prompts", end=end, file=sys.stderr, flush=True)


def _print_results(prompt: str, results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"prompt": prompt, "results": results}), flush=True)
        return
    for number, result in enumerate(results, 1):
        heading = f"--- {number}\n" if len(results) > 1 else ""
        print(f"{heading}{result['generated_text']}", flush=True)
