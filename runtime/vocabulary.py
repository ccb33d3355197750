"""The tokens of a tokenizer: their ids, texts and bytes, and which of them are special."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.special_tokens import ADDITIONAL, NAMES
from gptneo_onnx.models.tokenizer_check.content import backend_errors
from gptneo_onnx.runtime.clean_up import clean_up_spaces
from gptneo_onnx.runtime.text_settings import TextSettings


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each of GPT-2's 256 letters.

    Printable Latin-1 letters stand for themselves, those from U+0100 on for the other bytes. The
    inverse of transformers.models.gpt2.tokenization_gpt2.bytes_to_unicode.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


_BYTE_ALPHABET = _byte_alphabet()


class Vocabulary:
    """The tokens of a tokenizer, by the names of transformers.PreTrainedTokenizerFast.

    Attributes:
        backend: the tokenizers.Tokenizer that encodes and decodes.
        settings: what the tokenizer's files say besides.
        clean_up_tokenization_spaces: what decode() does unless it is told.
    """

    is_fast = True
    bos_token: str | None
    eos_token: str | None
    unk_token: str | None
    sep_token: str | None
    pad_token: str | None
    cls_token: str | None
    mask_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    unk_token_id: int | None
    sep_token_id: int | None
    pad_token_id: int | None
    cls_token_id: int | None
    mask_token_id: int | None

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        settings: TextSettings,
        clean_up_tokenization_spaces: bool,
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self._special: dict[str, str | None] = {
            name: settings.special_tokens.get(name) for name in NAMES
        } | {**settings.extra_special_tokens}

    # Special tokens. Each of NAMES is an attribute, and NAME_id its id.

    def __getattr__(self, name: str) -> Any:
        special: dict[str, str | None] = self.__dict__.get("_special", {})
        if name in special:
            return special[name]
        if name.removesuffix("_id") in special:
            text = special[name.removesuffix("_id")]
            return None if text is None else self.backend.token_to_id(text)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in NAMES:
            self._special[name] = self._checked(name, value)
        elif name.endswith("_id") and name.removesuffix("_id") in NAMES:
            text = None if value is None else self.backend.id_to_token(int(value))
            self._special[name.removesuffix("_id")] = text
        else:
            super().__setattr__(name, value)

    def _checked(self, name: str, token: Any) -> str | None:
        text = getattr(token, "content", token)
        if text is None or (isinstance(text, str) and self.backend.token_to_id(text) is not None):
            return text
        raise InputError(
            f"{name} is {shown(text)}, which is no token of the vocabulary; name one that is, as "
            "in tokenizer.pad_token = tokenizer.eos_token"
        )

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """The texts of special tokens by name."""
        named: dict[str, Any] = {name: text for name, text in self._special.items() if text}
        others = self.additional_special_tokens
        return named | ({ADDITIONAL: others} if others else {})

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name of their own."""
        return [*self.settings.additional_special_tokens]

    @property
    def all_special_tokens(self) -> list[str]:
        """The texts of special tokens, each once."""
        named = [text for name in NAMES if (text := self._special[name])]
        extra = self.settings.extra_special_tokens.values()
        return list(dict.fromkeys((*named, *self.additional_special_tokens, *extra)))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of all_special_tokens."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    @cached_property
    def special_token_ids(self) -> frozenset[int]:
        """The ids of tokens that stand for no text, such as <|endoftext|>."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if token.special)

    # All tokens.

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens without those that were added."""
        return int(self.backend.get_vocab_size(with_added_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token."""
        return dict(self.backend.get_vocab(with_added_tokens=True))

    def get_added_vocab(self) -> dict[str, int]:
        """Return the id of each token that was added, in the order of ids."""
        added = self.backend.get_added_tokens_decoder()
        return {token.content: index for index, token in sorted(added.items())}

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the id of a token, or a list for several; unk_token_id for unknown ones."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        index = self.backend.token_to_id(tokens)
        return self.unk_token_id if index is None else index

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or a list for several; with or without all_special_tokens."""
        if not isinstance(ids, Sequence) and not hasattr(ids, "__iter__"):
            return self.backend.id_to_token(int(ids))
        special = {*self.all_special_ids} if skip_special_tokens else set()
        return [self.backend.id_to_token(int(i)) for i in ids if int(i) not in special]

    def decode(
        self,
        ids: int | Sequence[int] | NDArray[np.int64],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Return the text of ids [length], or of one id.

        Args:
            ids: token ids.
            skip_special_tokens: whether to leave out <|endoftext|> and its like.
            clean_up_tokenization_spaces: whether to remove spaces before punctuation, as
                transformers does; None does what tokenizer_config.json says, and nothing if it
                says nothing.

        Raises:
            InputError: an id is negative or has more than 32 bits, or they are not the ids of one
                text; the tokenizer fails.
        """
        try:
            tokens = [int(i) for i in np.atleast_1d(np.asarray(ids, object))]
        except (TypeError, ValueError) as error:
            raise InputError(
                f"decode() takes the ids of one text, not {shown(ids)}; batch_decode() takes "
                "several, and encode() makes ids of a text"
            ) from error
        with backend_errors(InputError, lambda: f"the tokenizer cannot decode {shown(tokens)}"):
            try:
                text = str(self.backend.decode(tokens, skip_special_tokens=skip_special_tokens))
            except OverflowError as error:  # tokenizers takes 32 bits
                wrong = next(token for token in tokens if not 0 <= token < 2**32)
                raise InputError(
                    f"token {wrong} cannot be decoded; ids from 0 to "
                    f"{max(self.vocabulary_bytes, default=-1)} are allowed"
                ) from error
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return clean_up_spaces(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self,
        batch: Sequence[Any] | NDArray[np.int64],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return the texts of ids [batch, length]."""
        return [
            self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in batch
        ]

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token adds to the text; they may start or end within a character.

        Raises:
            InputError: the vocabulary has no token of that id.
        """
        try:
            return self.vocabulary_bytes[token_id]
        except KeyError as error:
            raise InputError(
                f"token {token_id!r} is none of the tokenizer's {len(self.vocabulary_bytes)}; "
                f"ids from 0 to {max(self.vocabulary_bytes, default=-1)} are allowed"
            ) from error

    @cached_property
    def vocabulary_bytes(self) -> dict[int, bytes]:
        """The result of token_bytes() for every id.

        Tokens that were added to the vocabulary are plain text here. decode() garbles those with
        other letters than ASCII, such as "café": tokenizers' ByteLevel decoder takes their letters
        for bytes.
        """
        added = self.backend.get_added_tokens_decoder()
        return {
            index: added[index].content.encode() if index in added else _bytes_of(token)
            for token, index in self.backend.get_vocab(with_added_tokens=True).items()
        }


def _bytes_of(token: str) -> bytes:
    """Return a token's bytes; one with letters outside the byte alphabet is plain text.

    Source: tokenizers' ByteLevel decoder.
    """
    try:
        return bytes(_BYTE_ALPHABET[character] for character in token)
    except KeyError:
        return token.encode()
