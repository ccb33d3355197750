"""Turn text into token ids and back, with the method names of transformers' tokenizers."""

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.manifest import TOKENIZER_FILE
from gptneo_onnx.models.tokenizer_files import has_tokenizer, read_tokenizer_files
from gptneo_onnx.runtime.text_settings import TextSettings

# transformers.PreTrainedTokenizerBase.clean_up_tokenization, in its order.
_CLEAN_UPS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def clean_up_spaces(text: str) -> str:
    """Return a text without the spaces before punctuation and contractions."""
    for spaced, cleaned in _CLEAN_UPS:
        text = text.replace(spaced, cleaned)
    return text


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


class Tokenizer:
    """The tokenizer of an exported model."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        eos_token: str | None,
        clean_up_tokenization_spaces: bool = False,
        settings: TextSettings | None = None,
    ) -> None:
        """
        Args:
            tokenizer: what encodes and decodes.
            eos_token: the text of the end token; None without one.
            clean_up_tokenization_spaces: what decode() does unless it is told.
            settings: how texts are cut and arranged.
        """
        self.settings = settings or TextSettings()
        self.backend = tokenizer
        self.eos_token = eos_token
        self.eos_token_id = None if eos_token is None else tokenizer.token_to_id(eos_token)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "Tokenizer":
        """Read the tokenizer of an export, a checkpoint, or any directory with its files.

        They are tokenizer.json, or vocab.json and merges.txt, and those beside them that
        transformers reads: tokenizer_config.json, special_tokens_map.json, added_tokens.json.

        Raises:
            ModelFileError: the directory has no tokenizer, or one of the files is damaged.
        """
        path = Path(directory)
        if not has_tokenizer(path):
            raise ModelFileError(
                f"{directory} has no {TOKENIZER_FILE}: pass token ids to GPTNeoForCausalLM, or "
                "export a checkpoint that has a tokenizer"
            )
        files = read_tokenizer_files(path)
        backend = _backend(path, json.dumps(files.content))
        backend.encode_special_tokens = files.split_special_tokens
        settings = TextSettings.of(files.config, files.special_tokens)
        return cls(backend, files.eos_token, files.clean_up_tokenization_spaces, settings)

    @classmethod
    def coerce(cls, tokenizer: Any) -> "Tokenizer":
        """Return a tokenizer of this class for one that is named or made in another way.

        Args:
            tokenizer: one of this class; a directory; or a fast tokenizer of transformers, whose
                text and end token it takes over.

        Raises:
            InputError: something else, or a directory that is not there.
            ModelFileError: the directory has no tokenizer, or a damaged one.
        """
        if isinstance(tokenizer, cls):
            return tokenizer
        if isinstance(tokenizer, str | Path):
            # os.path because Path's methods raise for names that are too long.
            if not os.path.isdir(tokenizer):  # noqa: PTH112
                raise InputError(
                    f"tokenizer is {shown(str(tokenizer))}, which is not a directory; pass one "
                    "with tokenizer.json, or with vocab.json and merges.txt"
                )
            return cls.from_pretrained(tokenizer)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, tokenizers.Tokenizer):
            raise InputError(
                f"tokenizer is of type {type(tokenizer).__name__}; a directory, a "
                "gptneo_onnx.runtime.Tokenizer, or a fast tokenizer of transformers "
                "(AutoTokenizer.from_pretrained) is allowed"
            )
        # A copy, since transformers changes its own with every call.
        copied = _without_limits(tokenizers.Tokenizer.from_str(backend.to_str()))
        copied.encode_special_tokens = backend.encode_special_tokens
        settings = TextSettings.of(vars(tokenizer), tokenizer.special_tokens_map)
        cleans_up = bool(tokenizer.clean_up_tokenization_spaces)
        return cls(copied, tokenizer.eos_token, cleans_up, settings)

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: bool | str = True,
        return_tensors: str = "np",
    ) -> dict[str, Any]:
        """Return input_ids and attention_mask, int64 [texts, length], padded on the left.

        A single text makes a batch of one. `padding` and `return_tensors` exist so that calls of
        transformers' tokenizers work; they change nothing.

        Raises:
            InputError: another padding or another kind of tensors is asked for, or a text cannot be
                encoded.
        """
        if padding not in (True, "longest", "left") or return_tensors != "np":
            raise InputError(
                f"padding is {padding!r} and return_tensors {return_tensors!r}; "
                "True and 'np' are allowed: texts are padded on the left, to numpy arrays"
            )
        if isinstance(texts, str):
            texts = [texts]
        return self.pad([self.encode(text) for text in texts])

    def pad(self, encoded: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Return input_ids and attention_mask, int64 [texts, length], of encoded texts."""
        width = max(map(len, encoded), default=0)
        fill = self.eos_token_id or 0
        input_ids = np.full((len(encoded), width), fill, np.int64)
        attention_mask = np.zeros((len(encoded), width), np.int64)
        for row, ids in enumerate(encoded):
            input_ids[row, width - len(ids) :] = ids
            attention_mask[row, width - len(ids) :] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the ids of a text.

        Args:
            text: what to encode.
            add_special_tokens: whether to put the tokens around it that the tokenizer has for that,
                as with add_bos_token; GPT-Neo's has none.

        Raises:
            InputError: it is not a text, or has lone surrogates, which UTF-8 cannot encode.
        """
        return list(self.encoding(text, add_special_tokens=add_special_tokens).ids)

    def encoding(
        self, text: str, pair: str | None = None, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Return the tokens of a text, or of two, with their places in it.

        Raises:
            InputError: as encode().
        """
        for each in (text, pair):
            if not isinstance(each, str | None) or text is None:
                raise InputError(f"a prompt is of type {type(each).__name__}; a text is expected")
        try:
            return self.backend.encode(text, pair, add_special_tokens=bool(add_special_tokens))
        except (UnicodeEncodeError, TypeError) as error:
            shown_text = f"{text}{pair or ''}"[:40]
            raise InputError(f"the text {shown_text!a} cannot be encoded as UTF-8") from error

    def token_id(self, name: str) -> int | None:
        """Return the id of a special token by its name, such as unk_token; None without one."""
        text = self.settings.special_tokens.get(name)
        index: int | None = None if text is None else self.backend.token_to_id(text)
        return index

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
            InputError: an id is negative or has more than 32 bits.
        """
        tokens = [int(i) for i in np.atleast_1d(np.asarray(ids, object))]
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

    @cached_property
    def special_token_ids(self) -> frozenset[int]:
        """The ids of tokens that stand for no text, such as <|endoftext|>."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if token.special)


def _bytes_of(token: str) -> bytes:
    """Return a token's bytes; one with letters outside the byte alphabet is plain text.

    Source: tokenizers' ByteLevel decoder.
    """
    try:
        return bytes(_BYTE_ALPHABET[character] for character in token)
    except KeyError:
        return token.encode()


def _backend(directory: Path, content: str) -> tokenizers.Tokenizer:
    """Make the tokenizer of what a tokenizer.json holds."""
    try:
        backend = tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # tokenizers raises bare Exceptions
        path = directory / TOKENIZER_FILE
        what = f"{path} is" if path.is_file() else f"{directory}: vocab.json and merges.txt are"
        raise ModelFileError(f"{what} not a tokenizer: {error}") from error
    return _without_limits(backend)


def _without_limits(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.no_padding()
    backend.no_truncation()
    return backend
