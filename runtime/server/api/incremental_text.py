"""Text of tokens, as they come: what is returned in parts is what decode() returns of all."""

import codecs
import re
from typing import Protocol

from tokenizers import decoders

from gptneo_onnx.runtime.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"
_BYTE = re.compile("<0x[0-9A-F]{2}>")


class IncrementalText(Protocol):
    """Decodes the tokens of one text."""

    def add(self, token: int) -> str:
        """Take a token; return the text that is final since the last call."""

    def finish(self) -> str:
        """Return the rest of the text."""


def incremental_text(tokenizer: Tokenizer, skip_special_tokens: bool) -> IncrementalText:
    """Return what decodes a text with this tokenizer; a byte-level one takes a look-up a token."""
    if decodes_bytes(tokenizer):
        return BytesText(tokenizer, skip_special_tokens)
    return DecodedText(tokenizer, skip_special_tokens)


def decodes_bytes(tokenizer: Tokenizer) -> bool:
    """Return whether a text is the bytes of its tokens, one after the other.

    An added token with other letters than ASCII is decoded by letters that stand for bytes.
    """
    added = tokenizer.backend.get_added_tokens_decoder().values()
    return (
        isinstance(tokenizer.backend.decoder, decoders.ByteLevel)
        and not tokenizer.clean_up_tokenization_spaces
        and all(token.content.isascii() for token in added)
    )


class BytesText:
    """Decodes the bytes of tokens; the bytes of an incomplete character wait for the rest.

    Bytes that are no UTF-8 become U+FFFD, as many as in Rust's from_utf8_lossy().
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._bytes = tokenizer.vocabulary_bytes
        self._skipped = tokenizer.special_token_ids if skip_special_tokens else frozenset()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        if token in self._skipped:
            return ""
        return self._decoder.decode(self._bytes.get(token, b""))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class DecodedText:
    """Decodes all tokens again for each; ends that a later token may change are held back.

    Where tokens such as <0xC3> stand for bytes, a run of them is decoded as a whole, so its end is
    waited for. Where spaces are cleaned up, whole lines are held back.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._tokens: list[int] = []
        self._returned = 0

    def add(self, token: int) -> str:
        self._tokens.append(token)
        if _BYTE.fullmatch(self._tokenizer.backend.id_to_token(token) or ""):
            return ""
        text = self._decoded()
        final = text.rstrip(_REPLACEMENT)
        if self._tokenizer.clean_up_tokenization_spaces:
            final = final[: final.rfind("\n") + 1]
        return self._returned_up_to(final)

    def finish(self) -> str:
        return self._returned_up_to(self._decoded())

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._tokens, self._skip_special_tokens)

    def _returned_up_to(self, text: str) -> str:
        start, self._returned = self._returned, max(self._returned, len(text))
        return text[start:]
