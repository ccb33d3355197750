"""Writes the pages that are made from the code: docs/reference.md, docs/command-line-reference.md.

    .venv/bin/python docs/site/write_pages.py

tests/test_written_pages.py fails where a page is not what this writes. Both are the same at any
width of the terminal, and by any version of Python.
"""

import argparse
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from gptneo_onnx.runtime.cli.main import build_parser

DOCS = Path(__file__).parent.parent
REFERENCE, COMMANDS = "reference.md", "command-line-reference.md"
PACKAGE, EXPORT, ERRORS = "gptneo_onnx", "gptneo_onnx.export", "gptneo_onnx.models.errors"
GENERATION = "gptneo_onnx.runtime.generation"
# The sections of docs/reference.md: title, the module to import from, names. What is public in
# PACKAGE or GENERATION and stands in no other section is in the last one of that module.
SECTIONS: list[tuple[str, str, list[str]]] = [
    (
        "Pipelines",
        PACKAGE,
        [
            "pipeline",
            "TextGenerationPipeline",
            "FeatureExtractionPipeline",
            "TextClassificationPipeline",
            "TokenClassificationPipeline",
            "QuestionAnsweringPipeline",
        ],
    ),
    (
        "Models",
        PACKAGE,
        [
            "GPTNeoForCausalLM",
            "GPTNeoModel",
            "GPTNeoForSequenceClassification",
            "GPTNeoForTokenClassification",
            "GPTNeoForQuestionAnswering",
            "Engine",
            "PromptCache",
        ],
    ),
    ("Tokenizer", PACKAGE, ["Tokenizer"]),
    (
        "Generation",
        PACKAGE,
        [
            "GenerationConfig",
            "GenerationMode",
            "set_seed",
            "LogitsProcessorList",
            "StoppingCriteriaList",
            "StructuredOutput",
            "WatermarkingConfig",
            "SynthIDTextWatermarkingConfig",
        ],
    ),
    (
        "Streamers",
        PACKAGE,
        ["Streamer", "TextStreamer", "TextIteratorStreamer", "AsyncTextIteratorStreamer"],
    ),
    ("Exporting", EXPORT, ["export_model", "check_export", "set_tokenizer"]),
    (
        "Errors",
        ERRORS,
        [
            "GPTNeoOnnxError",
            "InputError",
            "ModelFileError",
            "ExportError",
            "DeviceError",
            "MissingDependencyError",
        ],
    ),
    ("Outputs and others", PACKAGE, []),
    ("Processors and criteria", GENERATION, []),
]
_REFERENCE_INTRODUCTION = """\
# Python reference

<!-- Made by docs/site/write_pages.py from docstrings: change those, and run `make pages`. -->

Every public name. `make docs` makes a site in `build/site` that has each one's arguments, results
and errors; `help(gptneo_onnx.GPTNeoForCausalLM)` shows the same.

`gptneo_onnx` also has transformers' names for some classes: `AutoModel`, `AutoModelForCausalLM`,
`AutoModelForSequenceClassification`, `AutoModelForTokenClassification`,
`AutoModelForQuestionAnswering` and `AutoTokenizer`. `gptneo_onnx.__version__` is the version.
"""
_COMMANDS_INTRODUCTION = """\
# Every option of every command

<!-- Made by docs/site/write_pages.py from the parsers: change those, and run `make pages`. -->

[command-line.md](command-line.md) shows what the commands are for, with examples.
`gptneo-onnx COMMAND --help` prints what stands here.
"""


def reference_page() -> str:
    """Return docs/reference.md: every public name, with the first sentence of its docstring."""
    lines = _REFERENCE_INTRODUCTION.splitlines()
    for title, module, names in sections():
        lines += ["", f"## {title}", "", f"From `{module}`.", "", "| name | |", "|---|---|"]
        lines += [f"| `{name}` | {_summary(module, name)} |" for name in names]
    return "\n".join([*lines, "", *_fields()]) + "\n"


def _fields() -> list[str]:
    """Return the section with the arguments of generate(), which a config has as fields."""
    from gptneo_onnx.runtime.generation.generation_fields import FIELDS

    lines = ["## Arguments of generate()", "", "Fields of `GenerationConfig`.", ""]
    lines += ["| name | default | |", "|---|---|---|"]
    kept = []
    for field in FIELDS:
        if field.metadata:
            meaning = _cell(field.metadata["meaning"])
            lines.append(f"| `{field.name}` | `{field.default!r}` | {meaning} |")
        else:
            kept.append(f"`{field.name}`")
    names = f"Kept for `transformers`, and without effect here: {', '.join(kept)}."
    return [*lines, "", names]


def sections() -> list[tuple[str, str, list[str]]]:
    """Return SECTIONS with all public names.

    Names that PACKAGE has too are not listed again from GENERATION; nor are other names of
    transformers for the same class.
    """
    listed = {name for _, _, names in SECTIONS for name in names}
    found = []
    for title, module, names in SECTIONS:
        if not names:
            public = importlib.import_module(module).__all__
            names = [name for name in public if name not in listed and _is_own(module, name)]
            listed.update(names)
        found.append((title, module, names))
    return found


def _is_own(module: str, name: str) -> bool:
    value = getattr(importlib.import_module(module), name)
    return not name.startswith("__") and value.__name__ == name


def _summary(module: str, name: str) -> str:
    text = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.replace("|", "\\|")


def commands_page() -> str:
    """Return docs/command-line-reference.md: every option of every command."""
    lines = _COMMANDS_INTRODUCTION.splitlines()
    for name, summary, command in _commands():
        lines += ["", f"## {name}", "", _usage(command), ""]
        lines += _text(command.description, command) or [_sentence(summary or "")]
        for group in command._action_groups:
            actions = [each for each in group._group_actions if each.help != argparse.SUPPRESS]
            actions = [each for each in actions if not isinstance(each, argparse._HelpAction)]
            if not actions:
                continue
            title = (group.title or "options").capitalize()
            lines += ["", f"**{title}**", ""]
            if group.description:
                lines += [*_text(group.description, command), ""]
            lines += ["| | |", "|---|---|"]
            lines += [f"| {_names(each)} | {_meaning(each, command)} |" for each in actions]
        if command.epilog:
            lines += ["", *_text(command.epilog, command)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _commands() -> Iterator[tuple[str, str | None, argparse.ArgumentParser]]:
    """Yield (name, what it does in a line, its parser) of each command, and of its commands."""

    def within(
        parser: argparse.ArgumentParser, prefix: str
    ) -> Iterator[tuple[str, str | None, argparse.ArgumentParser]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                helps = {each.dest: each.help for each in action._choices_actions}
                seen = set()
                for name, command in action.choices.items():
                    if id(command) not in seen and helps.get(name) != argparse.SUPPRESS:
                        seen.add(id(command))
                        yield f"{prefix}{name}", helps.get(name), command
                        yield from within(command, f"{prefix}{name} ")

    return within(build_parser(), "")


def _sentence(text: str) -> str:
    return f"{_capital(text).rstrip('.')}." if text else ""


def _usage(command: argparse.ArgumentParser) -> str:
    """Return the command with its positional arguments and the options that it needs."""
    words = [command.prog]
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            words.append("COMMAND")
        elif action.required and action.option_strings:
            words.append(f"{action.option_strings[-1]} {_value(action)}".strip())
        elif not action.option_strings and action.help != argparse.SUPPRESS:
            value = _value(action)
            words.append(value if action.required else f"[{value}]")
    return f"`{' '.join([*words, '[options]'])}`"


def _names(action: argparse.Action) -> str:
    """Return the names of an option with its value, or of an argument, as a cell of a table."""
    value = _value(action)
    if not action.option_strings:
        return f"`{_cell(value)}`"
    return ", ".join(f"`{_cell(f'{name} {value}'.strip())}`" for name in action.option_strings)


def _value(action: argparse.Action) -> str:
    """Return what stands for an action's values: N, {a,b}, FILE ..., or nothing for a switch."""
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        names = [action.metavar] if isinstance(action.metavar, str) else [*action.metavar]
    elif action.choices is not None:
        names = ["{" + ",".join(map(str, action.choices)) + "}"]
    else:
        names = [action.dest.upper() if action.option_strings else action.dest]
    text = " ".join(names * action.nargs if isinstance(action.nargs, int) else names)
    return f"{text} ..." if action.nargs in ("+", "*", argparse.REMAINDER) else text


def _meaning(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    """Return an action's help, with its values filled in."""
    text = action.help or ""
    if isinstance(action, argparse.BooleanOptionalAction):
        text = text.removesuffix(" (default: %(default)s)")  # Python before 3.13 adds it
    values = {**vars(action), "prog": command.prog}
    if action.choices is not None:
        values["choices"] = ", ".join(map(str, action.choices))
    return _cell(" ".join((text % values).split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str | None, command: argparse.ArgumentParser) -> list[str]:
    """Return a parser's text: its paragraphs joined, its indented lines as a block of code."""
    text = text or ""
    if "%(prog)" in text:
        text = text % {"prog": command.prog}
    lines: list[str] = []
    for line in textwrap.dedent(text).strip().splitlines():
        is_code = line.startswith(" ")
        follows = bool(lines) and bool(lines[-1]) and lines[-1].startswith(" ") == is_code
        if is_code:
            lines += ([] if follows or not lines else [""]) + [f"    {line.strip()}"]
        elif follows and line:
            lines[-1] += f" {line.strip()}"
        else:
            lines += ([""] if lines and lines[-1] else []) + ([_capital(line)] if line else [])
    return lines


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


if __name__ == "__main__":
    (DOCS / REFERENCE).write_text(reference_page(), encoding="utf-8")
    (DOCS / COMMANDS).write_text(commands_page(), encoding="utf-8")
