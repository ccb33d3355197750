"""The generation settings of an interactive session: the options of `gptneo-onnx generate`."""

import argparse
import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.cli.conversation import check_call
from gptneo_onnx.runtime.cli.described_results import DescribingPipeline
from gptneo_onnx.runtime.cli.drafting import load_draft
from gptneo_onnx.runtime.generation.config import GenerationConfig

_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
# They are for several results, and a session has one.
_OF_SEVERAL = (
    "num_beams",
    "num_return_sequences",
    "num_beam_groups",
    "length_penalty",
    "diversity_penalty",
)
_DRAFTS = ("draft", "self_draft")

Words = dict[str, list[str]]


class _SettingsParser(argparse.ArgumentParser):
    """Parses options as the command line does; what is wrong is raised."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


class Settings:
    """The settings, by the names of their options, and what generate() gets of them.

    They are kept as the words of a command line. A change makes a new command line, which is parsed
    and checked as a whole.
    """

    def __init__(
        self,
        generator: DescribingPipeline,
        options: argparse.Namespace,
        add_options: Sequence[Callable[[Any], None]],
        check: Callable[[argparse.Namespace], None],
        arguments_of: Callable[[argparse.Namespace, DescribingPipeline], dict[str, Any]],
    ) -> None:
        """
        Args:
            generator: has the model's defaults, and the draft model.
            options: those that the command was called with.
            add_options: functions that add settings to an argparse parser.
            check: raises InputError for options that exclude each other.
            arguments_of: returns the arguments of generate() that options set.
        """
        self._generator = generator
        self._check, self._arguments_of = check, arguments_of
        self._parser = _SettingsParser(add_help=False, allow_abbrev=False, prog="/set")
        for add in add_options:
            add(self._parser)
        self._actions = self._parser._actions
        dests = {action.dest for action in self._actions}
        self._others = {name: value for name, value in vars(options).items() if name not in dests}
        self._others["interactive"] = True
        self._words = {
            action.dest: words
            for action in self._actions
            if (words := _words_of(action, getattr(options, action.dest)))
        }
        self._apply(self._words)

    def names(self) -> list[str]:
        """Return the name of every setting that has an effect."""
        return [_name(action) for action in self._actions if action.dest not in _OF_SEVERAL]

    def changed_names(self) -> list[str]:
        """Return the names of the settings that differ from the defaults."""
        return [_name(action) for action in self._actions if self._words.get(action.dest)]

    def help_of(self, name: str) -> str:
        """Return what the command line's help says of a setting."""
        return str(self._action(name).help)

    def needs_value(self, name: str) -> bool:
        """Return whether a setting cannot be set without a value."""
        return self._action(name).nargs not in (0, "?")

    def is_switch(self, name: str) -> bool:
        """Return whether a setting is on or off."""
        return _is_switch(self._action(name))

    def shown(self, name: str) -> str:
        """Return a setting's name and the value that the next text is generated with."""
        action = self._action(name)
        value = getattr(self._options, action.dest)
        if value is None:
            value = getattr(self.config, action.dest, None)
        return f"{_name(action)} {_shown_value(value)}"

    def set(self, name: str, value: str) -> None:
        """Change a setting.

        Args:
            name: an option of the command line, without its dashes; underscores are dashes too.
            value: one as the command line takes it. Texts in double quotes are read as JSON does:
                "\\n" is a line feed; of settings that can be given several times, several.

        Raises:
            InputError: there is no such setting, or the value is not allowed: nothing is changed.
        """
        action = self._action(name)
        words = _parsed_words(action, _option(action, name), value)
        self._apply({**self._words, action.dest: words})

    def unset(self, name: str) -> None:
        """Give a setting its default again.

        Raises:
            InputError: there is no such setting, or another one needs it.
        """
        action = self._action(name)
        self._apply({dest: words for dest, words in self._words.items() if dest != action.dest})

    @property
    def seed(self) -> int | None:
        """The seed, if one is set."""
        seed: int | None = getattr(self._options, "seed", None)
        return seed

    def _apply(self, words: Words) -> None:
        """Make of the words of a command line what generate() gets."""
        line = [word for each in words.values() for word in each]
        options = self._parser.parse_args(line, argparse.Namespace(**self._others))
        self._check(options)
        arguments = self._arguments_of(options, self._generator)
        draft = self._generator.assistant_model
        if any(words.get(name) != self._words.get(name) for name in _DRAFTS):
            draft = load_draft(options, self._generator.model)
        config, others = self._generator.config_for(**arguments)
        arguments = {**others, "assistant_model": draft}
        check_call(self._generator.model, self._generator.tokenizer, config, arguments)
        self._generator.assistant_model = draft
        self._words, self._options = words, options
        self.config: GenerationConfig = config
        self.arguments: dict[str, Any] = arguments

    def _action(self, name: str) -> argparse.Action:
        """Return the setting of a name.

        Raises:
            InputError: no setting has that name.
        """
        wanted = name.lstrip("-").replace("_", "-")
        actions = {
            option.lstrip("-"): action
            for action in self._actions
            for option in action.option_strings
        }
        if wanted in actions:
            return actions[wanted]
        close = get_close_matches(wanted, actions, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"{shown(name)} is not a setting{meant}; /help lists them")


def _option(action: argparse.Action, name: str) -> str:
    """Return the option that a name of the setting stands for."""
    wanted = name.lstrip("-").replace("_", "-")
    return next(option for option in action.option_strings if option.lstrip("-") == wanted)


def _long_options(action: argparse.Action) -> list[str]:
    return [option for option in action.option_strings if option.startswith("--")]


def _name(action: argparse.Action) -> str:
    return _long_options(action)[0].removeprefix("--")


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0


def _words_of(action: argparse.Action, value: Any) -> list[str]:
    """Return the words of a command line that give a setting this value."""
    if value == action.default:
        return []
    option = _long_options(action)[0]
    if _is_switch(action):
        return [option if value else f"--no-{option.removeprefix('--')}"]
    values = value if isinstance(value, list) else [value]
    return [f"{option}={each}" for each in values]


def _parsed_words(action: argparse.Action, option: str, value: str) -> list[str]:
    """Return the words of a command line for what was typed after /set NAME."""
    if _is_switch(action):
        return _words_of(action, _switched(option, value))
    values = _texts(value)
    if not values and action.nargs == "?":
        return [option]
    if len(values) > 1 and not isinstance(action, argparse._AppendAction):
        raise InputError(f"{_name(action)} takes one value, and {len(values)} were given")
    long_option = _long_options(action)[0]
    return [f"{long_option}={each}" for each in values] or [long_option]


def _switched(option: str, value: str) -> bool:
    if value and value.lower() not in _SWITCH:
        raise InputError(f"{option.removeprefix('--')} is {shown(value)}; on or off is allowed")
    is_on = _SWITCH[value.lower()] if value else True
    return is_on != option.startswith("--no-")


def _texts(value: str) -> list[str]:
    """Return the JSON texts that a value holds; without quotes it is one text itself."""
    if not value.startswith('"'):
        return [value] if value else []
    texts: list[str] = []
    rest = value
    while rest:
        try:
            text, end = json.JSONDecoder().raw_decode(rest)
        except ValueError as error:
            raise InputError(
                f'{shown(value)} cannot be read; texts in double quotes, as "\\n" "The end", are '
                "allowed"
            ) from error
        texts.append(str(text))
        rest = rest[end:].lstrip()
    return texts


def _shown_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "(not set)"
    if isinstance(value, list | tuple):
        return " ".join(json.dumps(each, ensure_ascii=False) for each in value)
    return json.dumps(value, ensure_ascii=False) if value != str(value).strip() else str(value)
