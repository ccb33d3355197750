"""What `gptneo-onnx generate` prints: a text as it comes, whole results, or JSON."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.messages import notice
from gptneo_onnx.runtime.cli.options import model_values
from gptneo_onnx.runtime.cli.progress import with_progress
from gptneo_onnx.runtime.cli.prompt_file import PromptLine
from gptneo_onnx.runtime.cli.terminal import is_terminal
from gptneo_onnx.runtime.cli.terminal_text import print_text

if TYPE_CHECKING:
    from gptneo_onnx.runtime.cli.described_results import DescribingPipeline
    from gptneo_onnx.runtime.generation.streamers import TextStreamer
    from gptneo_onnx.runtime.tokenizer import Tokenizer

EXIT_INCOMPLETE = 3


def continue_one(
    generator: "DescribingPipeline",
    prompt: str,
    options: argparse.Namespace,
    arguments: dict[str, Any],
) -> int:
    """Print the results of one prompt: a single text as it is generated, unless told otherwise.

    Returns:
        The exit status: EXIT_INCOMPLETE if a text is not whole by its form.
    """
    config, _ = generator.config_for(**arguments)
    is_single = config.num_return_sequences == config.num_beams == 1
    if options.stream and not is_single:
        raise InputError(
            f"--stream prints one text as it comes, and there are {config.num_return_sequences} "
            f"results of {config.num_beams} beams; leave it out"
        )
    streams = options.stream or (options.stream is None and is_single and not options.json)
    if streams:
        results = generator(prompt, streamer=_streamer(generator.tokenizer), **arguments)
    else:
        results = generator(prompt, **arguments)
        _print_results(generator, 0, PromptLine(prompt), results, options.json)
    return _status("the text", results)


def _streamer(tokenizer: "Tokenizer") -> "TextStreamer":
    """Return what prints a text: wrapped on a terminal, and elsewhere its bytes."""
    if is_terminal(sys.stdout):
        from gptneo_onnx.runtime.cli.terminal_streamer import TerminalStreamer

        return TerminalStreamer(tokenizer)
    from gptneo_onnx.runtime.generation.streamers import TextStreamer

    return TextStreamer(tokenizer, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def continue_all(
    generator: "DescribingPipeline",
    prompts: Sequence[PromptLine],
    options: argparse.Namespace,
    arguments: dict[str, Any],
) -> int:
    """Print the results of each prompt; return the exit status, as continue_one()."""
    texts = iter([prompt.text for prompt in prompts])
    results: Iterator[list[dict[str, Any]]] = generator(
        texts, batch_size=options.batch_size, **arguments
    )
    status = 0
    shown = with_progress(results, len(prompts), "prompts", options)
    for index, (prompt, of_prompt) in enumerate(zip(prompts, shown, strict=True)):
        _print_results(generator, index, prompt, of_prompt, options.json)
        status = max(status, _status(f"the text of prompt {index}", of_prompt))
    return status


def _status(what: str, results: list[dict[str, Any]]) -> int:
    """Return the exit status for a prompt's results; say on standard error which are cut short."""
    cut = [result for result in results if not result.get("complete", True)]
    for result in cut:
        is_length = result["finish_reason"] == "length"
        limit = "the limit of " if is_length else ""
        notice(
            f"{what} is not complete: it ended at {limit}{result['new_tokens']} new tokens, within "
            f"its form{'; raise --max-new-tokens' if is_length else ''}"
        )
    return EXIT_INCOMPLETE if cut else 0


def _print_results(
    generator: "DescribingPipeline",
    index: int,
    prompt: PromptLine,
    results: list[dict[str, Any]],
    as_json: bool,
) -> None:
    if as_json:
        print(json.dumps(_values(generator, index, prompt, results)), flush=True)
        return
    for number, result in enumerate(results, 1):
        heading = f"--- {number}\n" if len(results) > 1 else ""
        print_text(f"{heading}{result['generated_text']}", sys.stdout)


def _values(
    generator: "DescribingPipeline",
    index: int,
    prompt: PromptLine,
    results: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the JSON object of a prompt: its line's other entries, and what came of it."""
    from gptneo_onnx.runtime.cli.described_results import OF_PROMPT

    return {
        **prompt.others,
        "index": index,
        "prompt": prompt.text,
        "results": [
            {name: value for name, value in result.items() if name not in OF_PROMPT}
            for result in results
        ],
        **{name: results[0][name] for name in OF_PROMPT},
        **model_values(generator.model),
    }
