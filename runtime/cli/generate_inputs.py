"""What `gptneo-onnx generate` reads: MODEL, prompts, and the files that options name."""

import argparse
import sys
from pathlib import Path

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import embedded
from gptneo_onnx.runtime.files import is_directory, read_text

MAX_GRAMMAR_BYTES = 1024 * 1024


def model_and_prompt(options: argparse.Namespace) -> tuple[Path, str | None]:
    """Return the model's directory, and the prompt unless --prompts or --interactive is given.

    One word is MODEL if it is a directory, and otherwise the prompt of the embedded model.
    """
    words: list[str] = options.words
    takes_prompt = options.prompts is None and not options.interactive
    if len(words) > (2 if takes_prompt else 1):
        expected = "MODEL and PROMPT" if takes_prompt else "MODEL alone"
        raise InputError(
            f"generate takes {expected}, and {len(words)} were given; quote the prompt"
        )
    if len(words) == 2:
        return Path(words[0]), words[1]
    if words and (is_directory(words[0]) or not takes_prompt):
        return Path(words[0]), _standard_input() if takes_prompt else None
    prompt = None
    if takes_prompt:
        prompt = words[0] if words else _standard_input()
    print("using the embedded model (Jane Austen in 6 million parameters)", file=sys.stderr)
    return embedded.embedded_model(), prompt


def read_prompts(source: str) -> list[str]:
    """Return the lines of a file, or of standard input if it is "-", without empty lines."""
    text = _standard_input() if source == "-" else read_text_file(source)
    # Not splitlines(): prompts may contain other characters that it splits at.
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


def read_text_file(file: str, max_bytes: int | None = None) -> str:
    """Return the text of a file, with the line ends that standard input has: line feeds.

    Raises:
        InputError: it cannot be read, is not UTF-8, or has more than `max_bytes`.
    """
    return read_text(file, max_bytes).replace("\r\n", "\n").replace("\r", "\n")
