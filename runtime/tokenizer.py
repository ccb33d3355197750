"""Turn text into token ids and back, with the method names of transformers' tokenizers."""

import json
import os
from pathlib import Path
from typing import Any

import tokenizers

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.models.tokenizer_files import has_tokenizer, read_tokenizer_files
from gptneo_onnx.runtime.text_encoder import TextEncoder
from gptneo_onnx.runtime.text_settings import TextSettings

# transformers' model_max_length where the files name none.
UNLIMITED = int(1e30)


class Tokenizer(TextEncoder):
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
                f"{directory} has no {TOKENIZER_FILE}: pass token ids to GPTNeoForCausalLM, or "
                f"give an export one with `gptneo-onnx set-tokenizer {directory} TOKENIZER`"
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
