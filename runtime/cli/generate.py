"""The command `gptneo-onnx generate`: continues a prompt, several, or a text written in turns."""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.drafting import check_draft, load_draft
from gptneo_onnx.runtime.cli.generate_inputs import form_of, model_and_prompt
from gptneo_onnx.runtime.cli.generate_options import (
    NUMBERS,
    OTHER_ARGUMENTS,
    SETTINGS,
    add_options,
)
from gptneo_onnx.runtime.cli.generate_results import continue_all, continue_one
from gptneo_onnx.runtime.cli.loading_notice import loading_notice
from gptneo_onnx.runtime.cli.options import chosen_graph, load_with_tokenizer
from gptneo_onnx.runtime.cli.prompt_file import read_prompts

if TYPE_CHECKING:
    from gptneo_onnx.runtime.cli.described_results import DescribingPipeline
    from gptneo_onnx.runtime.cli.interactive_settings import Settings


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


def run_generate(options: argparse.Namespace) -> int:
    """Continue what the options name, and print it.

    Returns:
        The exit status: 3 if a text was cut before it was whole by its form.

    Raises:
        InputError: options that exclude each other or have no effect, and what generate() refuses.
    """
    _check(options)
    directory, prompt = model_and_prompt(options)
    prompts = None if options.prompts is None else read_prompts(options.prompts)
    name = directory.resolve().name
    with contextlib.nullcontext() if options.quiet else loading_notice(name):
        generator = _load_generator(options, directory)
    if prompts is None and prompt is None:
        _converse(generator, options)
        return 0
    arguments = _arguments(options, generator)
    if prompts is not None:
        return continue_all(generator, prompts, options, arguments)
    return continue_one(generator, prompt or "", options, arguments)


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


def _load_generator(options: argparse.Namespace, directory: Path) -> "DescribingPipeline":
    from gptneo_onnx.runtime.cli.described_results import DescribingPipeline

    directory, graph = chosen_graph(directory, options, (Head.CAUSAL_LM,))
    loaded = load_with_tokenizer(directory, options, graph, options.mmap, options.batch_invariant)
    return DescribingPipeline(
        loaded.model,
        loaded.tokenizer,
        loaded.task_specific_params,
        load_draft(options, loaded.model),
    )


def _arguments(options: argparse.Namespace, generator: "DescribingPipeline") -> dict[str, Any]:
    """Return the arguments of generate() that the options set; tell the generator the form."""
    from gptneo_onnx.runtime.generation.noise import next_seed

    tokenizer = generator.tokenizer
    names = (*(number.name for number in NUMBERS), *OTHER_ARGUMENTS)
    values = {name: getattr(options, name) for name in names}
    arguments = {name: value for name, value in values.items() if value is not None}
    if options.self_draft:
        arguments["self_draft"] = True
    if options.negative_prompt is not None:
        arguments["negative_prompt_ids"] = [tokenizer.encode(options.negative_prompt)]
    generator.form = form_of(options, tokenizer)
    if generator.form is not None:
        arguments["logits_processor"] = [generator.form]
    if options.json and options.seed is None:
        config, _ = generator.config_for(**arguments)
        if config.do_sample and config.seed is None:
            # A number that every reader of JSON keeps exactly.
            arguments["seed"] = next_seed() % 2**32
    return arguments


def session_settings(generator: "DescribingPipeline", options: argparse.Namespace) -> "Settings":
    """Return the settings that a text in turns begins with: those of the options."""
    from gptneo_onnx.runtime.cli.interactive_settings import Settings

    return Settings(generator, options, SETTINGS, _check, _arguments)


def _converse(generator: "DescribingPipeline", options: argparse.Namespace) -> None:
    from gptneo_onnx.runtime.cli.interactive import converse

    converse(generator, session_settings(generator, options), keeps_history=not options.no_history)
