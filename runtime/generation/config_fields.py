"""The kinds of fields that GenerationConfig has, and the arguments that it has no field for.

A field is declared with its default, the values that it allows and its meaning:

    temperature: float = number(1.0, 1e-6, 1e6, "number that scores are divided by")

Numbers and tokens may also be None, which update() replaces by the default.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.generation_settings import METADATA

MAX_RETURN_SEQUENCES = 1024
MAX_TOKEN = 2**63 - 1  # ids are int64

T = TypeVar("T")
# Called with a field's name and value; raises InputError.
Check = Callable[[str, Any], None]

# transformers' arguments that this runtime has no use for, with the values that ask for nothing:
# config files contain them, and callers pass them by habit. Any other value raises an error.
INAPPLICABLE: Mapping[str, tuple[Any, ...]] = {
    # generate() returns neither (calling the model returns hidden states).
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "return_legacy_cache": (None, False),
    "inputs_embeds": (None,),
    # In transformers 4.57 these are code on the hub, not in the package.
    "penalty_alpha": (None, 0),
    "constraints": (None,),
    "force_words_ids": (None,),
    "dola_layers": (None,),
    "custom_generate": (None,),
    "trust_remote_code": (None, False),
    # From newer and older releases, for encoder-decoders, for torch.
    "top_h": (None,),
    "decoder_start_token_id": (None,),
    "is_assistant": (False,),
    "assistant_early_exit": (None,),
    "assistant_tokenizer": (None,),
    "assistant_lookbehind": (10, None),
    "target_lookbehind": (10, None),
    "use_model_defaults": (None, True),
}
# transformers' arguments that say how to compute: no result depends on them.
PASSED_OVER = (
    "use_cache",
    "cache_implementation",
    "cache_config",
    "low_memory",
    "synced_gpus",
    "disable_compile",
    "compile_config",
)


def declare(default: T, check: Check, meaning: str) -> T:
    """Declare a dataclass field; its metadata are the check of its values and its meaning."""
    return field(default=default, metadata={"check": check, "meaning": meaning})


def integer(default: T, least: int, meaning: str, most: int | None = None) -> T:
    """Declare a field of a whole number."""
    return declare(default, Integer(least, most), meaning)


def number(default: T, least: float, most: float, meaning: str) -> T:
    """Declare a field of a number. 1e-6 and 1e6 as bounds keep float32 scores from overflowing."""
    return declare(default, Number(least, most), meaning)


def token(default: T, meaning: str) -> T:
    """Declare a field of a token id."""
    return declare(default, Integer(0, MAX_TOKEN), meaning)


def tokens(default: T, meaning: str) -> T:
    """Declare a field of a token id or a tuple of them."""
    return declare(default, OneOrSeveral(Integer(0, MAX_TOKEN)), meaning)


def flag(default: bool, meaning: str) -> bool:
    """Declare a field of True or False."""
    return declare(default, check_flag, meaning)


def choice(default: T, choices: Sequence[Any], meaning: str) -> T:
    """Declare a field of one of several values."""
    return declare(default, Choice(choices), meaning)


def unchecked(default: T, meaning: str) -> T:
    """Declare a field whose values are checked where they are used."""
    return declare(default, lambda name, value: None, meaning)


@dataclass(frozen=True)
class Integer:
    """Allows a whole number from `least` to `most`."""

    least: int
    most: int | None = None

    def __call__(self, name: str, value: Any) -> None:
        if value is None:
            return
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        is_above = is_integer and self.most is not None and value > self.most
        if is_integer and value >= self.least and not is_above:
            return
        # That ids are int64 only concerns callers who exceed it.
        hides_most = self.most is None or (self.most == MAX_TOKEN and not is_above)
        at_most = "" if hides_most else f" and at most {self.most}"
        raise InputError(
            f"{name} is {shown(value)}; a whole number of at least {self.least}{at_most} is allowed"
        )


@dataclass(frozen=True)
class Number:
    """Allows a number from `least` to `most`."""

    least: float
    most: float

    def __call__(self, name: str, value: Any) -> None:
        if value is None:
            return
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not self.least <= value <= self.most:
            raise InputError(
                f"{name} is {shown(value)}; a number from {self.least:g} to {self.most:g} is "
                "allowed"
            )


@dataclass(frozen=True)
class OneOrSeveral:
    """Allows what `check` allows, or a tuple of such values."""

    check: Check

    def __call__(self, name: str, value: Any) -> None:
        if not isinstance(value, tuple):
            self.check(name, value)
            return
        for item in value:
            if item is None:  # a field may be None, but not a value of several
                raise InputError(f"{name} holds None; leave it out, or pass {name}=None")
            self.check(name, item)


@dataclass(frozen=True)
class Choice:
    """Allows one of `choices`; 1 and 0 do not count as True and False."""

    choices: Sequence[Any]

    def __call__(self, name: str, value: Any) -> None:
        if any(isinstance(value, type(each)) and value == each for each in self.choices):
            return
        *others, last = map(repr, self.choices)
        raise InputError(f"{name} is {shown(value)}; {', '.join(others)} or {last} is allowed")


def check_flag(name: str, value: Any) -> None:
    """Check for True or False."""
    if type(value) is not bool:
        raise InputError(f"{name} is {shown(value)}; True or False is allowed")


def check_stop_string(name: str, value: Any) -> None:
    """Check for a text of at least one character."""
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(
            f"{name} holds {shown(value)}; texts of at least one character are allowed"
        )


def check_decay(name: str, value: Any) -> None:
    """Check for (start, factor)."""
    if value is None:
        return
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(f"{name} is {shown(value)}; (start, factor) is allowed")
    start, factor = value
    if isinstance(start, float) and start.is_integer():  # a numpy array holds floats only
        start = int(start)
    Integer(0)(f"{name}'s start", start)
    Number(1e-6, 1e6)(f"{name}'s factor", factor)


def known_values(
    values: Mapping[str, Any], defaults: Mapping[str, Any], off_by_none: Sequence[str]
) -> dict[str, Any]:
    """Return the values of names that have a field; None becomes its default, unless it means off.

    Raises:
        InputError: a name has no field, and its value asks for something.
    """
    known = {}
    for name, value in values.items():
        if name not in defaults:
            _check_unknown(name, value, defaults)
        else:
            known[name] = defaults[name] if value is None and name not in off_by_none else value
    return known


def _check_unknown(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise InputError for an argument that has no field, unless its value asks for nothing.

    `known` are the names of the fields.
    """
    if asks_for_nothing(name, value):
        return
    if name in INAPPLICABLE:
        raise InputError(
            f"{name}={value!r} is not supported; leave it at {INAPPLICABLE[name][0]!r}"
        )
    close = get_close_matches(name, known, n=3)
    names = ", ".join(close) or "those of GenerationConfig (docs/generation.md)"
    raise InputError(f"generate() has no argument {name!r}; it has {names}")


def asks_for_nothing(name: str, value: Any) -> bool:
    """Tell whether a value of an argument that has no field can be ignored."""
    if name in METADATA or name in PASSED_OVER:
        return True
    for neutral in INAPPLICABLE.get(name, ()):
        if value is neutral:
            return True
        # 1 equals 1.0, but True and False must not equal numbers, as they do in Python.
        if isinstance(value, bool) or isinstance(neutral, bool):
            continue
        if isinstance(value, int | float | str) and value == neutral:
            return True
    return False


def check_fields(declared: Iterable[Field[Any]], values: Mapping[str, Any]) -> None:
    """Check every field, and the combinations of several.

    Raises:
        InputError: a value that is not allowed; the first one is named.
    """
    for each in declared:
        is_greedy = values["do_sample"] is not True
        if each.name == "temperature" and is_greedy and values["temperature"] == 0:
            continue  # greedy decoding uses no temperature, and some callers ask for it with 0
        each.metadata["check"](each.name, values[each.name])
    _check_beams(values)


def _check_beams(values: Mapping[str, Any]) -> None:
    if values["num_beams"] % values["num_beam_groups"]:
        raise InputError(
            f"num_beams is {values['num_beams']} and num_beam_groups {values['num_beam_groups']}; "
            "num_beams must be a multiple of it"
        )
    if values["num_beam_groups"] > 1 and values["do_sample"]:
        raise InputError("num_beam_groups is above 1 and do_sample True; groups are not sampled")
    if (values["diversity_penalty"] > 0) != (values["num_beam_groups"] > 1):
        raise InputError(
            f"diversity_penalty is {values['diversity_penalty']} and num_beam_groups "
            f"{values['num_beam_groups']}; they only work together: set both or neither"
        )
    if 1 < values["num_beams"] < values["num_return_sequences"]:
        raise InputError(
            f"num_return_sequences is {values['num_return_sequences']}, and there are only "
            f"{values['num_beams']} beams; raise num_beams"
        )


def attributes_section(declared: Iterable[Field[Any]]) -> str:
    """Return the "Attributes" section of a docstring, from the meaning of every field."""
    lines = ["Attributes:"]
    for each in declared:
        lines += textwrap.wrap(
            f"{each.name}: {each.metadata['meaning']}.",
            width=100,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
        )
    return "\n".join(lines)
