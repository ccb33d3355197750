"""Checks the parts of a tokenizer.json: each part's type, and what the parts may do together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gptneo_onnx.models.errors import shown
from gptneo_onnx.models.tokenizer_check.charsmap import check_charsmap
from gptneo_onnx.models.tokenizer_check.growth import Budget, BudgetError
from gptneo_onnx.models.tokenizer_check.pattern_cost import check_pattern
from gptneo_onnx.models.tokenizer_check.pattern_parser import MAX_LENGTH, PatternError

# A part costs time with every text, whatever it does.
MAX_PARTS = 1000
_MAX_ADDED = 256
_MAX_TEXT = 1000

Part = Mapping[str, Any]
Check = Callable[["Pipeline", Part], None]


class PartError(ValueError):
    """A part that is not accepted; its text says what it is, why, and what is allowed."""


@dataclass
class Pipeline:
    """The normalizer and pre-tokenizer of a tokenizer, or its decoder, while they are checked.

    Attributes:
        budget: what they may still do.
        parts: how many were seen.
        was_composed: whether one of them has a table of rules.
        added: how many tokens they add.
    """

    budget: Budget = field(default_factory=Budget)
    parts: int = 0
    was_composed: bool = False
    added: int = 0

    def add_tokens(self, count: int) -> None:
        """Note that tokens are added to every text; raise ValueError if they are too many."""
        self.added += count
        if self.added > _MAX_ADDED:
            raise ValueError(f"more than {_MAX_ADDED} tokens would be added to every text")

    def check(self, kind: str, value: object) -> None:
        """Check a part of a kind (normalizer, pre_tokenizer, decoder, post_processor), or None.

        Raises:
            PartError: it is not accepted.
        """
        if value is None:
            return
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise PartError(f"{kind} has more than {MAX_PARTS} parts")
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str):
            raise PartError(f"{kind} has {shown(value)}; an object with a type is expected")
        if name == "Sequence":
            self._check_sequence(kind, value)
            return
        check = PARTS[kind].get(name)
        if check is None:
            allowed = ", ".join(["Sequence", *PARTS[kind]])
            raise PartError(f"{kind} has the type {shown(name)}; {allowed} are allowed")
        try:
            check(self, value)
        except BudgetError as error:
            raise PartError(f"{kind} has {shown(value)}, which {error}") from error
        except PatternError as error:
            pattern = shown(_pattern_of(value)[0])
            raise PartError(
                f"{kind} has the regular expression {pattern}, which may take too long, or is not "
                f"understood here: {error}; a simpler one is needed"
            ) from error
        except (TypeError, ValueError) as error:
            raise PartError(f"{kind} has {shown(value)}: {error}") from error

    def _check_sequence(self, kind: str, value: Part) -> None:
        parts = value.get(_LISTS[kind])
        if not isinstance(parts, list):
            raise PartError(f"{kind} has {shown(value)}; a list {_LISTS[kind]} is expected")
        for part in parts:
            self.check(kind, part)


def _pattern_of(part: Part) -> tuple[str, bool]:
    """Return the pattern of Split or Replace, and whether it is a regular expression."""
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and len(pattern) == 1:
        [(kind, text)] = pattern.items()
        if kind in ("String", "Regex") and isinstance(text, str):
            return text, kind == "Regex"
    raise ValueError("its pattern is neither a String nor a Regex")


def _text(part: Part, name: str, longest: int = _MAX_TEXT) -> str:
    value = part.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"a text of at most {longest} characters is expected for {name}")
    return value


def _anything(pipeline: Pipeline, part: Part) -> None:
    """Accept a part that has nothing to go wrong: the tokenizers package checks its types."""


def _growing(factor: float) -> Check:
    def check(pipeline: Pipeline, part: Part) -> None:
        pipeline.budget.grow(factor)

    return check


def _replace(pipeline: Pipeline, part: Part) -> None:
    pattern, is_regex = _pattern_of(part)
    content = part.get("content")
    if not isinstance(content, str):
        raise ValueError("a text is expected for content")
    if not is_regex:
        if not 0 < len(pattern) <= MAX_LENGTH:
            raise ValueError(f"the text to replace has 1 to {MAX_LENGTH} characters")
        pipeline.budget.replace(pattern, len(pattern), content)
        return
    cost = check_pattern(pattern)
    pipeline.budget.spend_pattern(cost.weight)
    pipeline.budget.replace(None, cost.least, content, content.count("$"))


def _prepend(pipeline: Pipeline, part: Part) -> None:
    _text(part, "prepend", _MAX_ADDED)


def _precompiled(pipeline: Pipeline, part: Part) -> None:
    try:
        longest = check_charsmap(part.get("precompiled_charsmap"))
    except ValueError as error:
        raise ValueError(f"its precompiled_charsmap is damaged: {error}") from error
    # The rules that everyone has are Unicode's, which are counted already.
    pipeline.budget.grow(max(1, longest / 18) if not pipeline.was_composed else longest)
    pipeline.was_composed = True


def _bert(pipeline: Pipeline, part: Part) -> None:
    pipeline.budget.grow(3 if part.get("handle_chinese_chars") else 1)


def _split(pipeline: Pipeline, part: Part) -> None:
    pattern, is_regex = _pattern_of(part)
    if is_regex:
        pipeline.budget.spend_pattern(check_pattern(pattern).weight)
    elif len(pattern) > MAX_LENGTH:
        raise ValueError(f"a text to split at has at most {MAX_LENGTH} characters")


def _byte_level(pipeline: Pipeline, part: Part) -> None:
    # A byte becomes a character of one or two bytes; a space may be added to each piece.
    pipeline.budget.grow(2 * (1 + bool(part.get("add_prefix_space"))))


def _fixed_length(pipeline: Pipeline, part: Part) -> None:
    length = part.get("length", 1)
    if type(length) is not int or not 1 <= length < 2**32:
        raise ValueError("a length of at least 1 is expected")


def _strip_ends(pipeline: Pipeline, part: Part) -> None:
    # The package looks for the end of shorter tokens before their start.
    start, stop = part.get("start", 0), part.get("stop", 0)
    if stop and (start, stop) != (0, 1):
        raise ValueError("stop 0, or stop 1 with start 0, is allowed")


def _special_pair(*names: str) -> Check:
    def check(pipeline: Pipeline, part: Part) -> None:
        for name in names:
            pair = part.get(name)
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError(f"a token with its id is expected for {name}")

    return check


def _template(pipeline: Pipeline, part: Part) -> None:
    tokens = part.get("special_tokens")
    if not isinstance(tokens, dict):
        raise ValueError("an object is expected for special_tokens")
    sizes = {name: _size_of_special(name, token) for name, token in tokens.items()}
    for name, allowed in (("single", ["A"]), ("pair", ["A", "B"])):
        pieces = part.get(name)
        if not isinstance(pieces, list):
            raise ValueError(f"a list is expected for {name}")
        texts = _ids_of(pieces, "Sequence")
        if len({*texts}) < len(texts) or not {*texts} <= {*allowed}:
            raise ValueError(f"{name} may have {' and '.join(allowed)}, once")
        special = _ids_of(pieces, "SpecialToken")
        for token in special:
            if token not in sizes:
                raise ValueError(f"{name} has {shown(token)}, which is none of special_tokens")
        pipeline.add_tokens(sum(sizes[token] for token in special))


def _ids_of(pieces: list[Any], kind: str) -> list[str]:
    """Return the ids of a template's pieces of a kind."""
    found = [piece[kind] for piece in pieces if isinstance(piece, dict) and kind in piece]
    ids = [piece.get("id") if isinstance(piece, dict) else None for piece in found]
    texts = [index for index in ids if isinstance(index, str)]
    if len(texts) < len(ids):
        raise ValueError(f"a text is expected for the id of each {kind}")
    return texts


def _size_of_special(name: str, token: Any) -> int:
    ids, texts = (token.get(key) if isinstance(token, dict) else None for key in ("ids", "tokens"))
    if not isinstance(ids, list) or not isinstance(texts, list) or len(ids) != len(texts):
        raise ValueError(f"the special token {shown(name)} needs as many ids as tokens")
    return len(ids)


_LISTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "decoder": "decoders",
    "post_processor": "processors",
}
PARTS: dict[str, dict[str, Check]] = {
    "normalizer": {
        "BertNormalizer": _bert,
        "ByteLevel": _growing(2),
        "Lowercase": _anything,
        "NFC": _anything,
        "NFD": _anything,
        "NFKC": _anything,
        "NFKD": _anything,
        "Nmt": _anything,
        "Precompiled": _precompiled,
        "Prepend": _prepend,
        "Replace": _replace,
        "Strip": _anything,
        "StripAccents": _anything,
    },
    "pre_tokenizer": {
        "BertPreTokenizer": _anything,
        "ByteLevel": _byte_level,
        "CharDelimiterSplit": _anything,
        "Digits": _anything,
        "FixedLength": _fixed_length,
        "Metaspace": _growing(2),
        "Punctuation": _anything,
        "Split": _split,
        "UnicodeScripts": _anything,
        "Whitespace": _anything,
        "WhitespaceSplit": _anything,
    },
    "decoder": {
        "BPEDecoder": _anything,
        "ByteFallback": _anything,
        "ByteLevel": _anything,
        "CTC": _anything,
        "Fuse": _anything,
        "Metaspace": _anything,
        "Replace": _replace,
        "Strip": _strip_ends,
        "WordPiece": _anything,
    },
    "post_processor": {
        "BertProcessing": _special_pair("sep", "cls"),
        "ByteLevel": _anything,
        "RobertaProcessing": _special_pair("sep", "cls"),
        "TemplateProcessing": _template,
    },
}
