"""Added tokens: found in a text before a tokenizer's vocabulary is applied to the rest."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError, shown

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class AddedToken:
    """A token that is found whole, whatever the vocabulary would make of its text.

    Attributes:
        content: its text.
        single_word: whether it is found only where no letter touches it.
        lstrip: whether white space before it belongs to it.
        rstrip: whether white space after it belongs to it.
        normalized: whether it is looked for in the normalized text.
        special: whether it stands for no text.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False

    @classmethod
    def of(cls, value: Any, source: Path) -> "AddedToken":
        """Read a token's JSON object.

        Raises:
            ModelFileError: it is something else.
        """
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise ModelFileError(
                f"{source} has the token {shown(value)}; a text, or an object with content is "
                "expected"
            )
        flags = {name: value[name] for name in _FLAGS if value.get(name) is not None}
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise ModelFileError(
                f"{source} has the token {shown(value)}; true or false is expected for "
                f"{', '.join(flags)}"
            )
        flags.setdefault("normalized", not flags.get("special", False))
        return cls(value["content"], **flags)

    @classmethod
    def special_text(cls, text: str) -> "AddedToken":
        """Return the special token of a text."""
        return cls(text, normalized=False, special=True)


def checked_id(value: Any, source: Path) -> int:
    """Return a token's id, which may be written as a text.

    Raises:
        ModelFileError: it is no id.
    """
    try:
        index = int(value) if isinstance(value, str) else value
    except ValueError:
        index = None
    if type(index) is not int or not 0 <= index < 2**32:
        raise ModelFileError(f"{source} has the id {shown(value)}; 0 to {2**32 - 1} are allowed")
    return index


class AddedVocabulary:
    """The added tokens of a tokenizer.json, with the ids that the tokenizers package gives them."""

    def __init__(self, content: dict[str, Any], source: Path) -> None:
        """
        Args:
            content: of tokenizer.json.
            source: its file, for messages.

        Raises:
            ModelFileError: its added tokens are damaged.
        """
        model = content.get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        self._source = source
        self._model: dict[str, Any] = vocabulary if isinstance(vocabulary, dict) else {}
        self._size = len(vocabulary) if isinstance(vocabulary, dict | list) else 0
        self._ids: dict[str, int] = {}
        self._tokens: dict[str, AddedToken] = {}
        entries = content.get("added_tokens") or []
        if not isinstance(entries, list):
            raise ModelFileError(f"{source}: added_tokens is {shown(entries)}; a list is expected")
        self.stored: dict[int, AddedToken] = {}
        for entry in entries:
            token = AddedToken.of(entry, source)
            self.stored[checked_id(entry.get("id"), source)] = token
        self.add(self.stored.values())

    def __contains__(self, text: str) -> bool:
        return self.id_of(text) is not None

    def id_of(self, text: str) -> int | None:
        """Return the id of a token of the whole vocabulary; None if it is missing."""
        known: int | None = self._ids.get(text, self._model.get(text))
        return known

    @property
    def texts(self) -> set[str]:
        """The texts of the added tokens."""
        return {*self._tokens}

    def add(self, tokens: Iterable[AddedToken]) -> None:
        """Add tokens: those of the vocabulary keep their ids, others get the next ones.

        Flags of a token that is there already are replaced, but it stays special. Source:
        AddedVocabulary::add_tokens of the tokenizers package.

        Raises:
            ModelFileError: the vocabulary gives one of them what is no id.
        """
        for token in tokens:
            text, there = token.content, self._tokens.get(token.content)
            if not text:
                continue
            if there is not None and there.special:
                token = replace(token, special=True)
            if text not in self._ids:
                known = self._model.get(text)
                own_id = None if known is None else checked_id(known, self._source)
                self._ids[text] = self._next_id() if own_id is None else own_id
            self._tokens[text] = token

    def _next_id(self) -> int:
        return max(self._size, max(self._ids.values(), default=-1) + 1)

    def discard_last(self, text: str) -> None:
        """Remove a token if it is the last one, so that no other gets another id."""
        if text in self._ids and self._ids[text] == max(self._ids.values()):
            del self._ids[text], self._tokens[text]

    def entries(self) -> list[dict[str, Any]]:
        """Return the tokens as tokenizer.json lists them."""
        ordered = sorted(self._ids.items(), key=lambda item: item[1])
        return [{"id": index, **asdict(self._tokens[text])} for text, index in ordered]
