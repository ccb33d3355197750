"""What `gptneo-onnx generate` reads: MODEL, prompts, and the files that options name."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.hub_cache import cached_snapshot, is_hub_id
from gptneo_onnx.runtime import embedded
from gptneo_onnx.runtime.cli.terminal import is_terminal
from gptneo_onnx.runtime.files import MAX_STREAM_BYTES, MAX_TEXT_BYTES, is_directory, read_text

if TYPE_CHECKING:
    from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
    from gptneo_onnx.runtime.tokenizer import Tokenizer

MAX_GRAMMAR_BYTES = 1024 * 1024
_STANDARD_INPUT = "-"
_TRUTH_VALUES = ("true", "false")
# A word that a path or a hub id may be, and that hardly anybody has continued.
_LIKE_A_MODEL = re.compile(r"[.~]?\S*[/\\]\S*|[.~]\S+|[A-Za-z0-9.]+([-_][A-Za-z0-9.]+)+")


def model_and_prompt(options: argparse.Namespace) -> tuple[Path, str | None]:
    """Return the model's directory, and the prompt: None for --prompts and for a text in turns.

    A text is written in turns with --interactive, and on a terminal where no prompt is given.

    Without -m and -p, two words are MODEL and PROMPT. One is MODEL if it is a directory or a hub
    id in the cache, and otherwise the prompt of the embedded model.

    Raises:
        InputError: too many words, no prompt, or a path or hub id that is not a directory.
    """
    takes_prompt = options.prompts is None and not options.interactive
    if options.prompt is not None and not takes_prompt:
        raise InputError("--prompt is one text to continue; leave out --prompts and --interactive")
    model, prompt = _from_words(options, takes_prompt)
    if prompt is None and takes_prompt and not _may_take_turns(options):
        prompt = read_standard_input()
    if model is not None:
        return Path(model), prompt
    if not options.quiet:
        print("using the embedded model (Jane Austen in 6 million parameters)", file=sys.stderr)
    return embedded.embedded_model(), prompt


def _may_take_turns(options: argparse.Namespace) -> bool:
    """Return whether a user is at a terminal, and no option asks for whole results."""
    results = max(options.num_beams or 1, options.num_return_sequences or 1)
    is_whole = options.json or options.stream is False or results > 1
    return not is_whole and is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _from_words(options: argparse.Namespace, takes_prompt: bool) -> tuple[str | None, str | None]:
    """Return MODEL and PROMPT, each from its option or from the words; None where neither says."""
    words: list[str] = list(options.words)
    model, prompt = options.model, options.prompt
    missing = (model is None) + (takes_prompt and prompt is None)
    if len(words) > missing:
        if value := next((word for word in words if word.lower() in _TRUTH_VALUES), None):
            raise InputError(
                f"{value} is the value of no option: those that switch take none; write "
                "--do-sample or --no-do-sample, for example"
            )
        expected = "MODEL and PROMPT" if takes_prompt else "MODEL alone"
        raise InputError(
            f"generate takes {expected}, and {len(words)} were given"
            f"{' besides -m or -p' if missing < 1 + takes_prompt else ''}; quote the prompt"
        )
    if model is None and words and _is_model(words, takes_prompt and prompt is None):
        model = words.pop(0)
        if words and is_directory(words[0]) and not is_directory(model) and not is_hub_id(model):
            raise InputError(
                f"MODEL comes first: {shown(model)} is not a directory, and {words[0]} is one; "
                "change their order, or name them with -m and -p"
            )
    if words:
        [prompt] = words
        if prompt == _STANDARD_INPUT:
            prompt = read_standard_input()
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


def read_standard_input() -> str:
    """Return the text of standard input without its last line feed; say so on a terminal.

    Raises:
        InputError: it is closed, not UTF-8, or longer than MAX_STREAM_BYTES.
    """
    if sys.stdin is None:
        raise InputError("there is no prompt, and standard input is closed; pass the prompt")
    if sys.stdin.isatty() and sys.stderr is not None:
        print("type the prompt, and end it with Ctrl-D", file=sys.stderr)
    try:
        text = sys.stdin.read(MAX_STREAM_BYTES)
    except UnicodeDecodeError as error:
        raise InputError("the prompt on standard input is not UTF-8") from error
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror}") from error
    if len(text) == MAX_STREAM_BYTES:
        raise InputError(f"standard input has {MAX_STREAM_BYTES} characters or more; shorten it")
    return text.removesuffix("\n")


def read_text_file(file: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a file, with the line ends that standard input has: line feeds.

    Raises:
        InputError: it cannot be read, is not UTF-8, or has more than `max_bytes`; see read_text().
    """
    return read_text(file, max_bytes).replace("\r\n", "\n").replace("\r", "\n")


def form_of(options: argparse.Namespace, tokenizer: "Tokenizer") -> "StructuredOutput | None":
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
