"""The file of `gptneo-onnx generate --prompts`: a prompt a line, as text or as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.json_file import parse_json
from gptneo_onnx.runtime.cli.generate_inputs import read_standard_input, read_text_file

# The keys of a JSON line that hold the prompt, the first one that there is.
_KEYS = ("prompt", "text")
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class PromptLine:
    """A prompt, and what else its line holds, which is carried through to the result."""

    text: str
    others: Mapping[str, Any] = field(default_factory=dict)


def read_prompts(source: str) -> list[PromptLine]:
    """Return the prompts of a file, or of standard input if it is "-"; empty lines hold none.

    Each line is a prompt; that of a file whose name ends in .jsonl is a text in JSON, or an object
    with "prompt" or "text".

    Raises:
        InputError: the file cannot be read, has no prompt, or has a line of another form.
    """
    text = read_standard_input() if source == "-" else read_text_file(source)
    # Not splitlines(): prompts may contain other characters that it splits at.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if Path(source).suffix.lower() == _SUFFIX:
        prompts = list(_from_json(source, lines))
    else:
        prompts = [PromptLine(line) for line in lines if line]
    if not prompts:
        raise InputError(f"--prompts {source} holds no prompt; write one a line")
    return prompts


def _from_json(source: str, lines: list[str]) -> Iterator[PromptLine]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}, line {number}"
        try:
            value = parse_json(line, is_finite=True)
        except ValueError as error:
            raise InputError(f"{place} is not JSON: {error}") from error
        yield _prompt_of(place, value)


def _prompt_of(place: str, value: Any) -> PromptLine:
    if isinstance(value, str):
        return PromptLine(_checked(place, "prompt", value))
    if not isinstance(value, dict):
        raise InputError(
            f"{place} is {shown(value)}; a text, or an object with {' or '.join(_KEYS)}, is allowed"
        )
    for key in _KEYS:
        if key in value:
            others = {name: other for name, other in value.items() if name != key}
            return PromptLine(_checked(place, key, value[key]), others)
    raise InputError(
        f"{place} has neither {' nor '.join(_KEYS)} (it has {shown(', '.join(value))})"
    )


def _checked(place: str, key: str, text: Any) -> str:
    if not isinstance(text, str):
        raise InputError(f"{place}: its {key} is {shown(text)}; a text is expected")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place} has a lone surrogate, which no UTF-8 text can hold") from error
    return text
