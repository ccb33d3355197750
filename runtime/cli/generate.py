"""The command `gptneo-onnx generate`: continues a prompt, several, or a text written in turns."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.drafting import check_draft, load_draft
from gptneo_onnx.runtime.cli.generate_inputs import (
    MAX_GRAMMAR_BYTES,
    model_and_prompt,
    read_prompts,
    read_text_file,
)
from gptneo_onnx.runtime.cli.generate_options import NUMBERS, OTHER_ARGUMENTS, add_options
from gptneo_onnx.runtime.cli.options import chosen_graph, load_with_tokenizer
from gptneo_onnx.runtime.cli.terminal import is_terminal

if TYPE_CHECKING:
    from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
    from gptneo_onnx.runtime.tokenizer import Tokenizer


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "generate",
        usage="%(prog)s [MODEL] [PROMPT] [OPTIONS]",
        help="continue a prompt",
        description="Continue a prompt, each of several, or a text written in turns.",
    )
    add_options(command)
    command.set_defaults(run=run_generate)


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

    graph = chosen_graph(directory, options)
    loaded = load_with_tokenizer(directory, options, graph, options.mmap, options.batch_invariant)
    return TextGenerationPipeline(
        loaded.model,
        loaded.tokenizer,
        loaded.task_specific_params,
        load_draft(options, loaded.model),
    )


def _arguments(options: argparse.Namespace, tokenizer: "Tokenizer") -> dict[str, Any]:
    """Return the arguments of generate() that the options set."""
    names = (*(number.name for number in NUMBERS), *OTHER_ARGUMENTS)
    values = {name: getattr(options, name) for name in names}
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
    shows_count = not options.quiet and is_terminal(sys.stderr) and not is_terminal(sys.stdout)
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
