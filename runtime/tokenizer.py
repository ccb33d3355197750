"""Turn text into token ids and back, with the method names of transformers' tokenizers."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import tokenizers

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.models.tokenizer_files import has_tokenizer, read_tokenizer_files
from gptneo_onnx.runtime.batch_encoding import (
    BatchEncoding,
    Limits,
    as_columns,
    as_tensors,
    padded,
    refuse_others,
)
from gptneo_onnx.runtime.text_settings import TextSettings
from gptneo_onnx.runtime.vocabulary import Vocabulary

# transformers' model_max_length where the files name none, and the least that it takes for none.
UNLIMITED, LARGEST_LENGTH = int(1e30), int(1e20)


class Tokenizer(Vocabulary):
    """The tokenizer of an exported model."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        eos_token: str | None,
        clean_up_tokenization_spaces: bool = False,
        settings: TextSettings | None = None,
        name_or_path: str = "",
    ) -> None:
        """
        Args:
            tokenizer: what encodes and decodes.
            eos_token: the text of the end token; None without one.
            clean_up_tokenization_spaces: what decode() does unless it is told.
            settings: how texts are cut and arranged.
            name_or_path: where it was read from.
        """
        super().__init__(tokenizer, settings or TextSettings(), clean_up_tokenization_spaces)
        self._special["eos_token"] = eos_token
        self.name_or_path = name_or_path
        self.model_max_length = self.settings.model_max_length or UNLIMITED
        self.padding_side = self.settings.padding_side
        self.truncation_side = self.settings.truncation_side

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
                f"{directory} has no {TOKENIZER_FILE}: pass token ids to GPTNeoForCausalLM, or give "
                "an export one with `gptneo-onnx set-tokenizer {directory} TOKENIZER`"
            )
        files = read_tokenizer_files(path)
        backend = _backend(path, json.dumps(files.content))
        backend.encode_special_tokens = files.split_special_tokens
        settings = TextSettings.of(files.config, files.special_tokens)
        cleans_up = files.clean_up_tokenization_spaces
        return cls(backend, files.eos_token, cleans_up, settings, str(directory))

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
        name = str(tokenizer.name_or_path)
        return cls(copied, tokenizer.eos_token, cleans_up, settings, name)

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = True,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **others: Any,
    ) -> BatchEncoding:
        """Encode a text, or several, as transformers' tokenizers do.

        Args:
            text: a text, or a list of texts.
            text_pair: not supported: GPT-Neo reads one text.
            add_special_tokens: as in encode().
            padding: True or "longest" makes texts as long as the longest, "max_length" as
                max_length; False leaves their lengths.
            truncation: True cuts texts with more than max_length tokens. A max_length alone cuts
                too.
            max_length: tokens; None takes model_max_length.
            pad_to_multiple_of: makes padded texts a multiple of it long.
            padding_side, truncation_side: left or right; None takes the tokenizer's.
            return_tensors: None returns lists, "np" int64 arrays [texts, length], "pt" tensors of
                torch, if that has been imported.
            return_attention_mask, return_offsets_mapping, return_special_tokens_mask,
                return_length: what is returned besides input_ids.
            verbose: changes nothing.

        Raises:
            InputError: an argument out of range, or one that is not supported; a text that cannot
                be encoded; no token to pad with; arrays of texts of different lengths.
        """
        refuse_others(others | ({} if text_pair is None else {"text_pair": text_pair}))
        limits = Limits.of(
            padding,
            truncation,
            max_length,
            pad_to_multiple_of,
            self.model_max_length if self.model_max_length < LARGEST_LENGTH else None,
            padding_side or self.padding_side,
            truncation_side or self.truncation_side,
        )
        texts = [text] if isinstance(text, str) else text
        encodings = [self._encoding_within(each, add_special_tokens, limits) for each in texts]
        columns: dict[str, Any] = {"input_ids": [each.ids for each in encodings]}
        if return_attention_mask or return_attention_mask is None:
            columns["attention_mask"] = [each.attention_mask for each in encodings]
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [each.special_tokens_mask for each in encodings]
        if return_offsets_mapping:
            columns["offset_mapping"] = [each.offsets for each in encodings]
        columns = dict(padded(columns, limits, self.pad_token_id))
        if return_length:
            columns["length"] = [len(ids) for ids in columns["input_ids"]]
        if isinstance(text, str) and return_tensors is None:
            # The length stays a list, as in transformers.
            columns = {k: v[0] if isinstance(v[0], list) else v for k, v in columns.items()}
        return as_tensors(columns, return_tensors)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
    ) -> BatchEncoding:
        """Pad what calls of the tokenizer returned: lists by name, or a list of such.

        Raises:
            InputError: as __call__().
        """
        side, cut = padding_side or self.padding_side, self.truncation_side
        limits = Limits.of(padding, False, max_length, pad_to_multiple_of, None, side, cut)
        columns = as_columns(encoded_inputs)
        if return_attention_mask is not False:
            columns.setdefault("attention_mask", [[1] * len(row) for row in columns["input_ids"]])
        return as_tensors(padded(columns, limits, self.pad_token_id), return_tensors)

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write tokenizer.json and tokenizer_config.json; return their paths."""
        directory = Path(save_directory)
        directory.mkdir(parents=True, exist_ok=True)
        path, config = directory / TOKENIZER_FILE, directory / TOKENIZER_CONFIG_FILE
        self.backend.save(str(path))
        values = self.special_tokens_map | {
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        return str(path), str(config)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )

    def _encoding_within(
        self, text: str, add_special_tokens: bool, limits: Limits
    ) -> tokenizers.Encoding:
        """Encode a text; of one that is too long, keep the tokens that the limits allow."""
        encoding = self.encoding(text, add_special_tokens=add_special_tokens)
        if limits.longest is None or len(encoding.ids) <= limits.longest:
            return encoding
        special = self.backend.num_special_tokens_to_add(False) if add_special_tokens else 0
        encoding = self.encoding(text, add_special_tokens=False)
        encoding.truncate(max(0, limits.longest - special), direction=limits.truncation_side)
        return self.backend.post_process(encoding, None, bool(add_special_tokens))

    def tokenize(self, text: str, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of a text, in the letters of the vocabulary."""
        return list(self.encoding(text, add_special_tokens=add_special_tokens).tokens)

    @overload
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...

    @overload
    def encode(self, text: str, add_special_tokens: bool = True, **arguments: Any) -> Any: ...

    def encode(self, text: str, add_special_tokens: bool = True, **arguments: Any) -> Any:
        """Return the ids of a text: a list, unless return_tensors asks for an array.

        Args:
            text: what to encode.
            add_special_tokens: whether to put the tokens around it that the tokenizer has for that,
                as with add_bos_token; GPT-Neo's has none.
            arguments: others of __call__().

        Raises:
            InputError: it is not a text, or has lone surrogates, which UTF-8 cannot encode.
        """
        if not arguments:
            return list(self.encoding(text, add_special_tokens=add_special_tokens).ids)
        return self(text, add_special_tokens=add_special_tokens, **arguments)["input_ids"]

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
