"""The command `gptneo-onnx generate`: from its options to what it prints."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.device_options import load_model
from gptneo_onnx.runtime.cli.generate_options import NUMBERS, WHOLE_NUMBERS, check_options

if TYPE_CHECKING:
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
    from gptneo_onnx.runtime.tokenizer import Tokenizer

_MAX_GRAMMAR_BYTES = 1024 * 1024


def run_generate(options: argparse.Namespace) -> None:
    """Continue what the options ask for, and print it.

    Raises:
        InputError: options that exclude each other, or would do nothing; and what generate() does.
    """
    check_options(options)
    directory, prompt = _model_and_prompt(options)
    generator = _generator(options, directory)
    arguments = _arguments(options, generator.tokenizer)
    if options.interactive:
        from gptneo_onnx.runtime.cli.interactive import Conversation, converse

        config, others = generator.config_for(**arguments)
        others["assistant_model"] = generator.assistant_model
        converse(Conversation(generator.model, generator.tokenizer, config, **others))
    elif options.prompts is not None:
        prompts = _prompts(options.prompts)
        for text, results in _each(generator, prompts, options.batch_size, arguments):
            _print_results(text, results, options.json)
    elif prompt is not None:
        _continue(generator, prompt, options, arguments)


def _continue(
    generator: "TextGenerationPipeline",
    prompt: str,
    options: argparse.Namespace,
    arguments: dict[str, Any],
) -> None:
    from gptneo_onnx.runtime.generation.streamers import TextStreamer

    config, _ = generator.config_for(**arguments)
    is_single = config.num_return_sequences == config.num_beams == 1
    if options.stream and not is_single:
        raise InputError(
            f"--stream prints one text as it comes, and there are {config.num_return_sequences} "
            f"results of {config.num_beams} beams; leave it out"
        )
    if options.stream is False or options.json or (options.stream is None and not is_single):
        _print_results(prompt, generator(prompt, **arguments), options.json)
        return
    streamer = TextStreamer(generator.tokenizer, skip_special_tokens=True)
    generator(prompt, streamer=streamer, **arguments)


def _generator(options: argparse.Namespace, directory: Path) -> "TextGenerationPipeline":
    from gptneo_onnx.runtime.pipelines.pipeline import task_specific_params
    from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
    from gptneo_onnx.runtime.tokenizer import Tokenizer

    draft = None if options.draft is None else load_model(options.draft, options)
    return TextGenerationPipeline(
        load_model(directory, options, options.file_name),
        Tokenizer.from_pretrained(directory),
        task_specific_params(directory),
        draft,
    )


def _arguments(options: argparse.Namespace, tokenizer: "Tokenizer") -> dict[str, Any]:
    """Those of generate() that were given."""
    names = [name.replace("-", "_") for name in (*WHOLE_NUMBERS, *NUMBERS)]
    names += ["do_sample", "num_beams", "stop_strings", "prompt_lookup_num_tokens"]
    given = {name: getattr(options, name) for name in names}
    arguments = {name: value for name, value in given.items() if value is not None}
    if options.negative_prompt is not None:
        arguments["negative_prompt_ids"] = [tokenizer.encode(options.negative_prompt)]
    form = _form(options, tokenizer)
    if form is not None:
        arguments["logits_processor"] = [form]
    return arguments


def _form(options: argparse.Namespace, tokenizer: "Tokenizer") -> Any:
    """What --json-schema, --regex or --grammar keeps the text within."""
    from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput

    if options.json_schema is not None:
        # Small models write white space without end where they may.
        schema = _text_of(options.json_schema)
        return StructuredOutput.from_json_schema(tokenizer, schema, whitespace=False)
    if options.regex is not None:
        return StructuredOutput.from_regex(tokenizer, options.regex)
    if options.grammar is not None:
        return StructuredOutput.from_grammar(tokenizer, _text_of(options.grammar))
    return None


def _print_results(prompt: str, results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"prompt": prompt, "results": results}), flush=True)
        return
    for number, result in enumerate(results, 1):
        heading = f"--- {number}\n" if len(results) > 1 else ""
        print(f"{heading}{result['generated_text']}", flush=True)


def _each(
    generator: "TextGenerationPipeline",
    prompts: list[str],
    batch_size: int | None,
    arguments: dict[str, Any],
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each prompt with its results, counted on a terminal."""
    results = generator(iter(prompts), batch_size=batch_size, **arguments)
    shows_count = sys.stderr is not None and sys.stderr.isatty() and not sys.stdout.isatty()
    for number, (prompt, result) in enumerate(zip(prompts, results, strict=True), 1):
        yield prompt, result
        if shows_count:
            end = "\n" if number == len(prompts) else ""
            print(f"\r{number} of {len(prompts)} prompts", end=end, file=sys.stderr, flush=True)


def _model_and_prompt(options: argparse.Namespace) -> tuple[Path, str | None]:
    """The model's directory, and the prompt unless prompts come otherwise."""
    from gptneo_onnx.runtime.files import is_directory

    words = options.words
    takes_prompt = options.prompts is None and not options.interactive
    most = 2 if takes_prompt else 1
    if len(words) > most:
        expected = "MODEL and PROMPT" if takes_prompt else "MODEL alone"
        raise InputError(
            f"generate takes {expected}, and {len(words)} were given; quote the prompt"
        )
    if len(words) == 2:
        return Path(words[0]), words[1]
    if words and (is_directory(words[0]) or not takes_prompt):
        return Path(words[0]), _standard_input() if takes_prompt else None
    from gptneo_onnx.runtime.embedded import embedded_model

    prompt = None
    if takes_prompt:
        prompt = words[0] if words else _standard_input()
    print("using the embedded model (Jane Austen in 6 million parameters)", file=sys.stderr)
    return embedded_model(), prompt


def _prompts(source: str) -> list[str]:
    """The lines of a file, or of standard input; empty ones are passed over."""
    text = _standard_input() if source == "-" else _text_of(source, most=None)
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    prompts = [line for line in lines if line]
    if not prompts:
        raise InputError(f"--prompts {source} holds no prompt; write one a line")
    return prompts


def _standard_input() -> str:
    if sys.stdin is None:
        raise InputError("there is no prompt, and standard input is closed; pass the prompt")
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InputError("the prompt on standard input is not UTF-8") from error


def _text_of(file: str, most: int | None = _MAX_GRAMMAR_BYTES) -> str:
    try:
        path = Path(file)
        if most is not None and path.stat().st_size > most:
            raise InputError(f"{file} has {path.stat().st_size} bytes; at most {most} are read")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; name another file") from error
