"""What a tokenizer is made of: a directory's files, one file, or a tokenizer of another package."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from gptneo_onnx.models.chat_template import ChatTemplate
from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import TOKENIZER_FILE
from gptneo_onnx.models.special_tokens import ADDITIONAL, NAMES
from gptneo_onnx.models.tokenizer_check.content import backend_errors, read_backend
from gptneo_onnx.models.tokenizer_files import check_same_ids, read_tokenizer_files
from gptneo_onnx.runtime.companion_files import check_tokenizer_links
from gptneo_onnx.runtime.text_settings import TextSettings

# Entries of tokenizer_config.json that from_pretrained() takes as arguments, as transformers' does.
_CHANGES = (
    *NAMES,
    ADDITIONAL,
    "extra_special_tokens",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "chat_template",
)
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


@dataclass(frozen=True)
class TokenizerParts:
    """What a Tokenizer is made of; see its arguments."""

    tokenizer: tokenizers.Tokenizer
    eos_token: str | None
    clean_up_tokenization_spaces: bool
    settings: TextSettings
    name_or_path: str
    chat_template: ChatTemplate | None = None


def parts_of_directory(
    directory: Path, name: str, changes: Mapping[str, Any] | None = None
) -> TokenizerParts:
    """Read the tokenizer of a directory that has one.

    Args:
        directory: has its files.
        name: what the caller calls it.
        changes: take the place of entries of its tokenizer_config.json.

    Raises:
        InputError: there are no such entries.
        ModelFileError: a file is damaged, or links out of a directory with a graph.
    """
    check_tokenizer_links(directory)
    files = read_tokenizer_files(directory, _checked_changes(changes or {}))
    backend = _backend(directory, files.content)
    backend.encode_special_tokens = files.split_special_tokens
    return TokenizerParts(
        backend,
        files.eos_token,
        files.clean_up_tokenization_spaces,
        TextSettings.of(files.config, files.special_tokens),
        name,
        files.chat_template,
    )


def parts_of_file(path: Path) -> TokenizerParts:
    """Read a tokenizer.json alone, as transformers' PreTrainedTokenizerFast(tokenizer_file=...).

    Raises:
        ModelFileError: it is damaged.
    """
    from_str = tokenizers.Tokenizer.from_str
    return parts_of_backend(read_backend(from_str, read_json_object(path), f"{path} is"), str(path))


def parts_of_backend(backend: tokenizers.Tokenizer, name: str = "") -> TokenizerParts:
    """Take over a tokenizer of the tokenizers package: it names no special tokens but for padding.

    As PreTrainedTokenizerFast(tokenizer_object=...) of transformers.
    """
    padding, truncation = backend.padding or {}, backend.truncation or {}
    config = {
        "padding_side": padding.get("direction"),
        "truncation_side": truncation.get("direction"),
    }
    special = {"pad_token": padding["pad_token"]} if "pad_token" in padding else {}
    copied = _copied(backend)
    return TokenizerParts(copied, None, False, TextSettings.of(config, special), name)


def parts_of_transformers(tokenizer: Any) -> TokenizerParts:
    """Take over a tokenizer of transformers, fast or slow, as it is now.

    Raises:
        InputError: the object is not a tokenizer, or is a slow one of a class other than GPT-2's.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, tokenizers.Tokenizer):
        # A copy, since transformers changes its own with every call.
        copied = _copied(backend)
    elif not isinstance(tokenizer, type) and hasattr(tokenizer, "convert_tokens_to_ids"):
        copied = _of_slow(tokenizer)
    else:
        raise InputError(
            f"tokenizer is of type {type(tokenizer).__name__}; a directory, a hub id, a path of a "
            "tokenizer.json, a gptneo_onnx.runtime.Tokenizer, or a tokenizer of transformers or "
            "tokenizers is allowed"
        )
    return TokenizerParts(
        copied,
        tokenizer.eos_token,
        bool(tokenizer.clean_up_tokenization_spaces),
        TextSettings.of(vars(tokenizer), tokenizer.special_tokens_map),
        str(tokenizer.name_or_path),
        getattr(tokenizer, "chat_template", None),
    )


def _of_slow(tokenizer: Any) -> tokenizers.Tokenizer:
    """Make a backend of the files that a slow tokenizer saves."""
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save_pretrained(name)
        try:
            backend = parts_of_directory(Path(name), "").tokenizer
        except ModelFileError as error:
            raise InputError(
                f"tokenizer is a {type(tokenizer).__name__}, whose files are not GPT-2's; take a "
                "fast one, of AutoTokenizer.from_pretrained"
            ) from error
    check_same_ids(tokenizer, backend.get_vocab(with_added_tokens=True))
    backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
    return backend


def _copied(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    with backend_errors(InputError, lambda: "the tokenizer cannot be copied"):
        copied = _without_limits(tokenizers.Tokenizer.from_str(backend.to_str()))
    copied.encode_special_tokens = backend.encode_special_tokens
    return copied


def _checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes as the file has them; raise InputError for an unknown one."""
    for name in changes:
        if name not in _CHANGES:
            raise InputError(
                f"from_pretrained has no argument {shown(name)}; those that say where the files "
                f"are, and {', '.join(_CHANGES)} are allowed"
            )
    return {name: _as_entry(value) for name, value in changes.items()}


def _as_entry(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_entry(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _as_entry(each) for name, each in value.items()}
    if not hasattr(value, "content"):
        return value
    return {"content": value.content, **{name: getattr(value, name) for name in _FLAGS}}


def _backend(directory: Path, content: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Make the tokenizer of what a tokenizer.json holds."""
    path = directory / TOKENIZER_FILE
    source = f"{path} is" if path.is_file() else f"{directory}: vocab.json and merges.txt are"
    return _without_limits(read_backend(tokenizers.Tokenizer.from_str, content, source))


def _without_limits(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.no_padding()
    backend.no_truncation()
    return backend
