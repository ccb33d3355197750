"""How many tokens texts may have, as the arguments of a tokenizer's call say it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gptneo_onnx.models.errors import InputError, shown

LEFT, RIGHT = "left", "right"
LONGEST_FIRST, ONLY_FIRST, ONLY_SECOND = "longest_first", "only_first", "only_second"
_PADDINGS = {True: "longest", False: None, "do_not_pad": None, None: None}
_TRUNCATIONS: dict[Any, str | None] = {
    None: None,
    False: None,
    "do_not_truncate": None,
    True: LONGEST_FIRST,
    LONGEST_FIRST: LONGEST_FIRST,
    ONLY_FIRST: ONLY_FIRST,
    ONLY_SECOND: ONLY_SECOND,
}


@dataclass(frozen=True)
class Limits:
    """How many tokens a text, or a pair of texts, may have, and how many it is padded to.

    Attributes:
        longest: those with more tokens are cut; None for no limit.
        strategy: which text of a pair is cut: longest_first, only_first or only_second.
        stride: tokens of a part that the next part repeats.
        padding: None, "longest" or "max_length".
        width: the tokens that texts have at least, with "max_length".
        multiple: texts are padded to a multiple of it.
        padding_side, truncation_side: where.
    """

    longest: int | None
    strategy: str
    stride: int
    padding: str | None
    width: int
    multiple: int
    padding_side: str
    truncation_side: str

    @classmethod
    def of(
        cls,
        padding: Any,
        truncation: Any,
        max_length: Any,
        pad_to_multiple_of: Any,
        model_max_length: int | None,
        padding_side: Any,
        truncation_side: Any,
        stride: Any = 0,
    ) -> "Limits":
        """Read the arguments as transformers does: a max_length alone cuts too.

        Raises:
            InputError: an argument out of range, or two that exclude each other.
        """
        padding, truncation = _name(padding), _name(truncation)
        if padding not in (*_PADDINGS, "longest", "max_length"):
            raise InputError(
                f"padding is {shown(padding)}; True, False, 'longest', 'max_length' or "
                "'do_not_pad' is allowed"
            )
        if truncation not in _TRUNCATIONS:
            raise InputError(
                f"truncation is {shown(truncation)}; True, False, 'longest_first', 'only_first', "
                "'only_second' or 'do_not_truncate' is allowed"
            )
        for name, value, least in (
            ("max_length", max_length, 1),
            ("pad_to_multiple_of", pad_to_multiple_of, 1),
            ("stride", stride, 0),
        ):
            if value is not None and (type(value) is not int or value < least):
                raise InputError(
                    f"{name} is {shown(value)}; a whole number of at least {least} is allowed"
                )
        for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
            if side not in (LEFT, RIGHT):
                raise InputError(f"{name} is {shown(side)}; left or right is allowed")
        strategy = _TRUNCATIONS[truncation]
        if truncation is None and padding in (False, None) and max_length is not None:
            strategy = LONGEST_FIRST
        limit = max_length or model_max_length
        width = _PADDINGS.get(padding, padding)
        if width == "max_length" and limit is None:
            width = None  # as in transformers, where the model has no greatest length
        if strategy and width and limit and limit % (pad_to_multiple_of or 1):
            raise InputError(
                f"max_length is {limit}, where texts are cut, and pad_to_multiple_of "
                f"{pad_to_multiple_of}; pass a max_length that is a multiple of it"
            )
        return cls(
            limit if strategy else None,
            strategy or LONGEST_FIRST,
            stride or 0,
            width,
            limit or 0,
            pad_to_multiple_of or 1,
            padding_side,
            truncation_side,
        )

    def padded_width(self, lengths: Iterable[int]) -> int:
        """Return how many tokens texts of these lengths are padded to."""
        width = self.width if self.padding == "max_length" else max(lengths, default=0)
        return -(-width // self.multiple) * self.multiple

    def check_parts(self, lengths: tuple[int, ...], special: int) -> None:
        """Check that the texts of an input can be cut as the limits say.

        Args:
            lengths: the tokens of the text, or of both of a pair.
            special: the tokens around them.

        Raises:
            InputError: the text to cut is missing or too short, or a part is all repetition.
        """
        assert self.longest is not None
        room = self.longest - special
        excess = sum(lengths) - room
        if room <= 0 or excess <= 0:
            return
        if self.strategy == LONGEST_FIRST:
            kept = _longest_first(lengths, room)
        else:
            place = 0 if self.strategy == ONLY_FIRST else 1
            if place >= len(lengths):
                raise InputError(
                    "truncation is 'only_second', and there is no second text; pass text_pair"
                )
            if lengths[place] <= excess:
                raise InputError(
                    f"truncation is {self.strategy!r}, and that text has {lengths[place]} tokens "
                    f"where {excess} are too many; raise max_length, or pass 'longest_first'"
                )
            kept = tuple(n - excess if i == place else n for i, n in enumerate(lengths))
        for length, all_of_it in zip(kept, lengths, strict=True):
            if 0 < length < all_of_it and self.stride >= length:
                raise InputError(
                    f"stride is {self.stride}, and a part has room for {length} tokens of a text; "
                    "pass a smaller one"
                )


def _longest_first(lengths: tuple[int, ...], room: int) -> tuple[int, ...]:
    """Return the tokens of each text that are kept (tokenizers' truncate_encodings)."""
    if len(lengths) == 1:
        return (room,)
    shorter, longer = sorted(lengths)
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    return (longer, shorter) if lengths[0] > lengths[1] else (shorter, longer)


def _name(value: object) -> Any:
    """Return the name of a strategy that may be a member of transformers' enumerations."""
    value = getattr(value, "value", value)
    return value if value is None or isinstance(value, bool | str) else repr(value)


# Arguments of transformers' tokenizers that are passed over where they ask for nothing.
_NEUTRAL = {
    "is_split_into_words": (False,),
    "text_target": (None,),
    "text_pair_target": (None,),
    "return_input_ids": (None, True),
}


# Those that have an effect, for names that are misspelt.
_SUPPORTED = (
    "add_special_tokens",
    "max_length",
    "pad_to_multiple_of",
    "padding",
    "padding_side",
    "return_attention_mask",
    "return_tensors",
    "stride",
    "text_pair",
    "truncation",
    "truncation_side",
)


def refuse_others(arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that is not supported, unless it asks for nothing."""
    for name, value in arguments.items():
        if name not in _NEUTRAL or value not in _NEUTRAL[name]:
            close = get_close_matches(name, _SUPPORTED, n=2)
            if close and name not in _NEUTRAL:
                raise InputError(
                    f"tokenizers here have no argument {name}; they have {', '.join(close)}"
                )
            raise InputError(
                f"tokenizers here have no argument {name} ({shown(value)}); leave it out: GPT-Neo "
                "reads texts, as a sequence of token ids"
            )
