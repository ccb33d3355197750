"""The special and added tokens that the files beside a tokenizer's vocabulary name.

Source: transformers.PreTrainedTokenizerBase._from_pretrained, and what the classes do with its
result, in version 4.57.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptneo_onnx.models.added_tokens import AddedToken, checked_id
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE

SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
# The order in which tokens that are missing from the vocabulary get their ids.
NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
ADDITIONAL = "additional_special_tokens"

# A token that is named by its text alone has the flags that it has where it was added.
NamedToken = str | AddedToken


def text_of(token: NamedToken) -> str:
    """Return the text of a token."""
    return token if isinstance(token, str) else token.content


@dataclass
class TokenSettings:
    """The tokens that a directory's files name.

    Attributes:
        config: tokenizer_config.json; empty if it is missing.
        added: added tokens by the id that the files give them.
        special: special tokens by name; None for one that is switched off.
        additional: further special tokens.
        extra: those that the config names extra_special_tokens.
    """

    config: dict[str, Any]
    added: dict[int, AddedToken] = field(default_factory=dict)
    special: dict[str, NamedToken | None] = field(default_factory=dict)
    additional: list[NamedToken] = field(default_factory=list)
    extra: list[NamedToken] = field(default_factory=list)

    def in_order(self) -> list[NamedToken]:
        """Return the special tokens in the order in which they get ids.

        A text occurs once, or only among the additional ones.
        """
        tokens: list[NamedToken] = []
        named = [[token] for token in map(self.special.get, NAMES) if token]
        for group in (*named, self.additional, *([token] for token in self.extra)):
            seen = {text_of(token) for token in tokens}
            tokens += [token for token in group if text_of(token) not in seen]
        return tokens

    @property
    def texts(self) -> dict[str, str | None]:
        """The texts of the special tokens by name; None for one that is switched off."""
        named = ((name, self.special[name]) for name in NAMES if name in self.special)
        return {name: token if token is None else text_of(token) for name, token in named}

    def to_add(self, present: set[str]) -> list[AddedToken]:
        """Return what transformers.PreTrainedTokenizerFast adds to the tokenizer, in order.

        Args:
            present: the texts of the tokenizer's added tokens.
        """
        tokens: list[NamedToken] = [token for _, token in sorted(self.added.items())]
        known = {*present, *map(text_of, tokens)}
        special = self.in_order()
        tokens += [token for token in special if token not in known and token not in tokens]
        texts = {text_of(token) for token in special}
        return [_added(token, texts) for token in tokens]


def _added(token: NamedToken, special: set[str]) -> AddedToken:
    if isinstance(token, str):
        return AddedToken.special_text(token)
    return replace(token, special=token.special or token.content in special)


def read_token_settings(
    directory: Path,
    stored: Mapping[int, AddedToken],
    changes: Mapping[str, Any] | None = None,
) -> TokenSettings:
    """Read tokenizer_config.json, special_tokens_map.json and added_tokens.json.

    The last two count only where tokenizer_config.json has no added_tokens_decoder: so it is in
    files that were saved before transformers 4.34.

    Args:
        directory: where they are; each may be missing.
        stored: the added tokens of tokenizer.json.
        changes: take the place of what the files say.

    Raises:
        ModelFileError: one of them is damaged, or names something that is no token.
    """
    source = directory / TOKENIZER_CONFIG_FILE
    config = read_json_object(source) if source.is_file() else {}
    settings = TokenSettings(config | dict(changes or {}))
    _take_special(settings, settings.config, source)
    extra = settings.config.get("extra_special_tokens")
    if isinstance(extra, dict):
        settings.extra = [_named_token(value, source) for value in extra.values()]
    if "added_tokens_decoder" in settings.config:
        settings.added = _added_tokens(settings.config["added_tokens_decoder"], source)
        by_text = {token.content: token for token in settings.added.values()}
    else:
        by_text = _read_older_files(settings, directory, changes or {})
        settings.added |= stored
        by_text |= {token.content: token for token in stored.values()}
    for name, token in settings.special.items():
        if token is not None:
            settings.special[name] = by_text.get(text_of(token), token)
    return settings


def _read_older_files(
    settings: TokenSettings, directory: Path, changes: Mapping[str, Any]
) -> dict[str, AddedToken]:
    """Take what special_tokens_map.json and added_tokens.json name.

    Returns:
        What replaces special tokens, by their text. By a mistake of transformers it is one token:
        the last of added_tokens.json replaces the last additional special token.
    """
    source, last = directory / SPECIAL_TOKENS_FILE, ""
    if source.is_file():
        values = read_json_object(source)
        values = {name: value for name, value in values.items() if not changes.get(name)}
        _take_special(settings, values, source)
        if values.get(ADDITIONAL):
            last = text_of(_named_token(values[ADDITIONAL][-1], source))
    source = directory / ADDED_TOKENS_FILE
    if not source.is_file():
        return {}
    special = {text_of(token) for token in settings.in_order()}
    by_text = {}
    for text, index in read_json_object(source).items():
        token = AddedToken(text, normalized=text not in special, special=text in special)
        settings.added[checked_id(index, source)] = token
        by_text[last] = token
    return by_text


def _take_special(settings: TokenSettings, values: Mapping[str, Any], source: Path) -> None:
    """Take the special tokens that a file names, over those that are there already."""
    for name in NAMES:
        if name in values:
            value = values[name]
            settings.special[name] = None if value is None else _named_token(value, source)
    listed = values.get(ADDITIONAL) or []
    if not isinstance(listed, list):
        raise ModelFileError(f"{source}: {ADDITIONAL} is {shown(listed)}; a list is expected")
    for value in listed:
        token = _named_token(value, source)
        if token not in settings.additional:
            settings.additional.append(token)


def _named_token(value: Any, source: Path) -> NamedToken:
    if isinstance(value, str):
        return value
    token = AddedToken.of(value, source)
    is_map = source.name == SPECIAL_TOKENS_FILE
    return replace(token, special=True) if is_map else token


def _added_tokens(values: Any, source: Path) -> dict[int, AddedToken]:
    if not isinstance(values, dict):
        raise ModelFileError(
            f"{source}: added_tokens_decoder is {shown(values)}; an object is expected"
        )
    return {checked_id(key, source): AddedToken.of(value, source) for key, value in values.items()}
