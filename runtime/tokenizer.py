"""Turn text into token ids and back, with the method names of transformers' tokenizers."""

import json
import os
from pathlib import Path
from typing import Any

import tokenizers

from gptneo_onnx.models.chat_template import ChatTemplate, as_config_value
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, record_files
from gptneo_onnx.models.tokenizer_files import has_tokenizer
from gptneo_onnx.runtime.chat_tokenizer import ChatTokenizer
from gptneo_onnx.runtime.hub import HubArguments, tokenizer_directory
from gptneo_onnx.runtime.text_settings import TextSettings
from gptneo_onnx.runtime.tokenizer_sources import (
    TokenizerParts,
    parts_of_backend,
    parts_of_directory,
    parts_of_file,
    parts_of_transformers,
)

# transformers' model_max_length where the files name none.
UNLIMITED = int(1e30)


class Tokenizer(ChatTokenizer):
    """The tokenizer of an exported model."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        eos_token: str | None,
        clean_up_tokenization_spaces: bool = False,
        settings: TextSettings | None = None,
        name_or_path: str = "",
        chat_template: ChatTemplate | None = None,
    ) -> None:
        """
        Args:
            tokenizer: what encodes and decodes.
            eos_token: the text of the end token; None without one.
            clean_up_tokenization_spaces: what decode() does unless it is told.
            settings: how texts are cut and arranged.
            name_or_path: where it was read from.
            chat_template: a template of jinja for chats, or several by name.
        """
        super().__init__(tokenizer, settings or TextSettings(), clean_up_tokenization_spaces)
        self._special["eos_token"] = eos_token
        self.name_or_path = name_or_path
        self.chat_template = chat_template
        self.model_max_length = self.settings.model_max_length or UNLIMITED
        self.padding_side = self.settings.padding_side
        self.truncation_side = self.settings.truncation_side

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        subfolder: str | None = None,
        token: str | bool | None = None,
        force_download: bool = False,
        use_fast: bool = True,
        trust_remote_code: bool | None = False,
        **kwargs: Any,
    ) -> "Tokenizer":
        """Read the tokenizer of an export, a checkpoint, or any directory with its files.

        They are tokenizer.json, or vocab.json and merges.txt, and those beside them that
        transformers reads: tokenizer_config.json, special_tokens_map.json, added_tokens.json, and
        chat_template.jinja.

        Args:
            pretrained_model_name_or_path: the directory; a hub id, whose files are read from
                Hugging Face's cache, or fetched where huggingface_hub is installed; or the path of
                a tokenizer.json, which is read alone.
            revision: the branch, tag or commit of a hub id.
            cache_dir: where a hub id is looked up and fetched to; by default Hugging Face's cache.
            local_files_only: whether nothing is fetched.
            subfolder: the folder of a hub id that has the files.
            token: for private hub ids; None takes the one that huggingface_hub has stored.
            force_download: whether to fetch what is in the cache too.
            use_fast: changes nothing: every tokenizer is a fast one.
            trust_remote_code: changes nothing: no code is run.
            kwargs: take the place of entries of tokenizer_config.json, such as padding_side,
                pad_token and model_max_length.

        Raises:
            InputError: neither a directory nor a hub id that can be had; an unknown argument.
            MissingDependencyError: a hub id that is not in the cache, and huggingface_hub is not
                installed.
            ModelFileError: the directory has no tokenizer, or one of the files is damaged.
        """
        name = pretrained_model_name_or_path
        if not isinstance(name, str | os.PathLike):
            raise InputError(
                f"the tokenizer is of type {type(name).__name__}; a directory or a hub id is "
                "expected"
            )
        if os.path.isfile(name):  # noqa: PTH113 (Path's methods raise for names too long)
            return cls._of(parts_of_file(Path(name)))
        hub = HubArguments(
            revision,
            cache_dir,
            local_files_only,
            subfolder,
            token,
            force_download,
            use_fast,
            trust_remote_code,
        )
        path = tokenizer_directory(name, hub)
        if not has_tokenizer(path):
            raise ModelFileError(
                f"{name} has no {TOKENIZER_FILE}: pass token ids to GPTNeoForCausalLM, or "
                f"give an export one with `gptneo-onnx set-tokenizer {name} TOKENIZER`"
            )
        return cls._of(parts_of_directory(path, str(name), kwargs))

    @classmethod
    def _of(cls, parts: TokenizerParts) -> "Tokenizer":
        return cls(
            parts.tokenizer,
            parts.eos_token,
            parts.clean_up_tokenization_spaces,
            parts.settings,
            parts.name_or_path,
            parts.chat_template,
        )

    @classmethod
    def coerce(cls, tokenizer: Any, **arguments: Any) -> "Tokenizer":
        """Return a tokenizer of this class for one that is named or made in another way.

        Args:
            tokenizer: one of this class; what from_pretrained() takes, alone or in a pair with its
                arguments; a tokenizer of transformers, slow or fast, or of the tokenizers package,
                whose text and special tokens it takes over.
            arguments: of from_pretrained(), for one that is named.

        Raises:
            InputError: something else, or a name under which there is nothing.
            ModelFileError: the directory has no tokenizer, or a damaged one.
        """
        if isinstance(tokenizer, cls):
            return tokenizer
        if isinstance(tokenizer, tuple) and len(tokenizer) == 2 and isinstance(tokenizer[1], dict):
            tokenizer, arguments = tokenizer[0], arguments | tokenizer[1]
        if isinstance(tokenizer, str | os.PathLike):
            return cls.from_pretrained(os.fspath(tokenizer), **arguments)
        if isinstance(tokenizer, tokenizers.Tokenizer):
            return cls._of(parts_of_backend(tokenizer))
        return cls._of(parts_of_transformers(tokenizer))

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Write tokenizer.json and tokenizer_config.json; return their paths.

        In an exported directory they take the place of the export's own.
        """
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
        if self.chat_template is not None:
            values["chat_template"] = as_config_value(self.chat_template)
        config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        record_files(directory, path.name, config.name)
        return str(path), str(config)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )
