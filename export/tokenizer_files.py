"""Writes an export's tokenizer: always a tokenizer.json, whichever form the checkpoint has."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.hub import local_tokenizer
from gptneo_onnx.models.errors import InputError, printable, shown
from gptneo_onnx.models.gpt2_vocabulary import MERGES_FILE, VOCABULARY_FILE
from gptneo_onnx.models.json_file import read_json_bytes
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from gptneo_onnx.models.tokenizer_check.content import read_backend
from gptneo_onnx.models.tokenizer_files import (
    TokenizerFiles,
    check_same_ids,
    has_tokenizer,
    read_tokenizer_files,
)

# The class of one that consists of a tokenizer.json alone.
_PLAIN_CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}


@dataclass(frozen=True)
class TokenizerSource:
    """A directory to read a tokenizer from, and what messages call it."""

    directory: Path
    name: str

    @classmethod
    def of(cls, directory: Path) -> "TokenizerSource":
        return cls(directory, str(directory))


def check_tokenizer(value: object) -> None:
    """Raise InputError unless a value may name a tokenizer, or is one whose files can be saved."""
    saves = not isinstance(value, type) and hasattr(value, "convert_tokens_to_ids")
    if not saves and not isinstance(value, str | os.PathLike | Tokenizer):
        raise InputError(
            f"tokenizer is of type {type(value).__name__}; a directory, a hub id, the path of a "
            "tokenizer.json, or a tokenizer is allowed"
        )


@contextmanager
def tokenizer_source(tokenizer: Any, revision: str | None = None) -> Iterator[TokenizerSource]:
    """Give a directory with the files of a tokenizer, for as long as the block runs.

    Args:
        tokenizer: a directory, a hub id, the path of a tokenizer.json, which is read alone, or a
            tokenizer of transformers, tokenizers or gptneo_onnx.runtime, as it is now.
        revision: the branch, tag or commit of a hub id.

    Raises:
        InputError: there is no such directory or hub id, or it has no tokenizer.
        MissingDependencyError: it is a hub id, and huggingface_hub is not installed.
    """
    check_tokenizer(tokenizer)
    is_name = isinstance(tokenizer, str | os.PathLike)
    if is_name and not os.path.isfile(tokenizer):  # noqa: PTH113 (Path's methods raise)
        yield TokenizerSource.of(_directory(os.fspath(tokenizer), revision))
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        if is_name:
            shutil.copyfile(tokenizer, directory / TOKENIZER_FILE)
        elif isinstance(tokenizer, Tokenizer):
            tokenizer.save(str(directory / TOKENIZER_FILE))
        else:
            tokenizer.save_pretrained(folder)
            made = _backend(directory, read_tokenizer_files(directory))
            check_same_ids(tokenizer, made.get_vocab(with_added_tokens=True))
        if not (directory / TOKENIZER_CONFIG_FILE).exists():
            (directory / TOKENIZER_CONFIG_FILE).write_text(json.dumps(_PLAIN_CLASS))
        yield TokenizerSource(directory, str(tokenizer) if is_name else _of_type(tokenizer))


def tokenizer_of_export(
    tokenizer: Any, source: Checkpoint
) -> AbstractContextManager[TokenizerSource]:
    """Give the tokenizer that was asked for, or that of the adapter, or else the checkpoint's.

    Raises:
        InputError: as tokenizer_source().
    """
    if tokenizer is not None:
        return tokenizer_source(tokenizer)
    adapter = source.adapter
    directory = adapter if adapter and has_tokenizer(adapter) else source.directory
    return nullcontext(TokenizerSource.of(directory))


def _of_type(tokenizer: object) -> str:
    return f"type {type(tokenizer).__name__} that was passed"


def _directory(tokenizer: str, revision: str | None) -> Path:
    directory = local_tokenizer(tokenizer, revision)
    if not has_tokenizer(directory):
        raise InputError(
            f"tokenizer is {shown(tokenizer)}, which has neither {TOKENIZER_FILE} nor "
            "vocab.json and merges.txt; name a directory or a hub id with one of them"
        )
    return directory


def ids_beyond(tokenizer: Tokenizer, source: TokenizerSource, vocab_size: int) -> str | None:
    """Return a line on the ids of a tokenizer that the model has not; None without any."""
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    if size <= vocab_size:
        return None
    return (
        f"the tokenizer of {source.name} has {size} ids, and the model's vocabulary {vocab_size}: "
        "texts with tokens beyond are refused"
    )


def check_fits(tokenizer: Tokenizer, source: TokenizerSource, vocab_size: int) -> None:
    """Raise InputError if a tokenizer that was asked for has ids that the model has not."""
    if beyond := ids_beyond(tokenizer, source, vocab_size):
        raise InputError(f"{beyond}; name the tokenizer that the model was trained with")


def write_tokenizer(
    source: Path, out: Path, report: Callable[[str], object] | None = None
) -> Tokenizer | None:
    """Write tokenizer.json and tokenizer_config.json of the tokenizer that a directory has.

    tokenizer.json is copied where it holds the whole tokenizer. Otherwise, as where vocab.json and
    merges.txt take its place, it is made of all files that say something about the tokenizer.

    Args:
        source: the directory.
        out: where to write.
        report: called with a line about a tokenizer that transformers may read in another way.

    Returns:
        The tokenizer; None if the directory has none.

    Raises:
        ModelFileError: the directory's files are not a tokenizer.
    """
    if not has_tokenizer(source):
        return None
    files = read_tokenizer_files(source)
    tokenizer = _backend(source, files)
    if files.is_stored:
        (out / TOKENIZER_FILE).write_bytes(read_json_bytes(source / TOKENIZER_FILE))
    else:
        (out / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    # transformers.js removes spaces unless the file says that it must not.
    config = dict(files.config)
    config.setdefault("clean_up_tokenization_spaces", files.clean_up_tokenization_spaces)
    (out / TOKENIZER_CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    if files.unknown_class is not None and report is not None:
        report(
            f"{source} has the tokenizer of a {printable(files.unknown_class, 80)}: "
            f"{TOKENIZER_FILE} is taken as it is, and transformers may change it"
        )
    return tokenizer


def _backend(source: Path, files: TokenizerFiles) -> Tokenizer:
    path = source / TOKENIZER_FILE
    are = f"{source}: {VOCABULARY_FILE} and {MERGES_FILE} are"
    name = f"{path} is" if path.is_file() else are
    return read_backend(Tokenizer.from_str, files.content, name)
