"""What `gptneo-onnx generate` reads: MODEL, prompts, and the files that options name."""

import argparse
import re
import shlex
import sys
from pathlib import Path

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.hub_cache import cached_snapshot, is_hub_id
from gptneo_onnx.runtime import embedded
from gptneo_onnx.runtime.files import is_directory, read_text

MAX_GRAMMAR_BYTES = 1024 * 1024
# A word that a path or a hub id may be, and that hardly anybody has continued.
_LIKE_A_MODEL = re.compile(r"[.~]?\S*[/\\]\S*|[.~]\S+|[A-Za-z0-9.]+([-_][A-Za-z0-9.]+)+")


def model_and_prompt(options: argparse.Namespace) -> tuple[Path, str | None]:
    """Return the model's directory, and the prompt unless --prompts or --interactive is given.

    Without -m and -p, two words are MODEL and PROMPT. One is MODEL if it is a directory or a hub
    id in the cache, and otherwise the prompt of the embedded model.

    Raises:
        InputError: too many words, no prompt, or a path or hub id that is not a directory.
    """
    takes_prompt = options.prompts is None and not options.interactive
    if options.prompt is not None and not takes_prompt:
        raise InputError("--prompt is one text to continue; leave out --prompts and --interactive")
    model, prompt = _from_words(options, takes_prompt)
    if prompt is None and takes_prompt:
        prompt = _standard_input()
    if model is not None:
        return Path(model), prompt
    print("using the embedded model (Jane Austen in 6 million parameters)", file=sys.stderr)
    return embedded.embedded_model(), prompt


def _from_words(options: argparse.Namespace, takes_prompt: bool) -> tuple[str | None, str | None]:
    """Return MODEL and PROMPT, each from its option or from the words; None where neither says."""
    words: list[str] = list(options.words)
    model, prompt = options.model, options.prompt
    missing = (model is None) + (takes_prompt and prompt is None)
    if len(words) > missing:
        expected = "MODEL and PROMPT" if takes_prompt else "MODEL alone"
        raise InputError(
            f"generate takes {expected}, and {len(words)} were given"
            f"{' besides -m or -p' if missing < 1 + takes_prompt else ''}; quote the prompt"
        )
    if model is None and words and _is_model(words, takes_prompt and prompt is None):
        model = words.pop(0)
    if words:
        [prompt] = words
    return model, prompt


def _is_model(words: list[str], may_be_prompt: bool) -> bool:
    """Return whether the first word is MODEL.

    Raises:
        InputError: it is the only one, and seems to be one, but is no directory.
    """
    if len(words) == 2 or not may_be_prompt or is_directory(words[0]):
        return True
    if is_hub_id(words[0], with_owner=True) and cached_snapshot(words[0]) is not None:
        return True
    if _LIKE_A_MODEL.fullmatch(words[0]):
        raise InputError(
            f"{words[0]} is not a directory; name a model with -m, or pass -p "
            f"{shlex.quote(words[0])} if that is a prompt"
        )
    return False


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
    if sys.stdin.isatty() and sys.stderr is not None:
        print("type the prompt, and end it with Ctrl-D", file=sys.stderr)
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
