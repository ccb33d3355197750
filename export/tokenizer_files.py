"""Writes an export's tokenizer: always a tokenizer.json, whichever form the checkpoint has."""

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.json_file import MAX_BYTES, read_json_object
from gptneo_onnx.models.manifest import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE

VOCABULARY_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
END_OF_TEXT = "<|endoftext|>"


def write_tokenizer(checkpoint: Path, out: Path) -> bool:
    """Copy tokenizer.json, or make it from vocab.json and merges.txt; write tokenizer_config.json.

    Returns:
        Whether the checkpoint has a tokenizer in either form.

    Raises:
        ModelFileError: the checkpoint's files are not a tokenizer.
    """
    if (checkpoint / TOKENIZER_FILE).is_file():
        _copy_tokenizer(checkpoint / TOKENIZER_FILE, out / TOKENIZER_FILE)
    elif (checkpoint / VOCABULARY_FILE).is_file() and (checkpoint / MERGES_FILE).is_file():
        content = _tokenizer_from_vocabulary(checkpoint).to_str(pretty=True)
        (out / TOKENIZER_FILE).write_text(content, encoding="utf-8")
    else:
        return False
    config = _tokenizer_config(checkpoint)
    (out / TOKENIZER_CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    return True


def _copy_tokenizer(source: Path, target: Path) -> None:
    read_json_object(source)
    try:
        Tokenizer.from_file(str(source))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelFileError(f"{source} is not a tokenizer: {error}") from error
    shutil.copyfile(source, target)


def _tokenizer_from_vocabulary(checkpoint: Path) -> Tokenizer:
    """Make GPT-2's byte-level BPE as transformers.convert_slow_tokenizer.GPT2Converter does."""
    vocabulary = read_json_object(checkpoint / VOCABULARY_FILE)
    merges_bytes = (checkpoint / MERGES_FILE).stat().st_size
    if merges_bytes > MAX_BYTES:
        raise ModelFileError(
            f"{checkpoint / MERGES_FILE} has {merges_bytes} bytes; at most {MAX_BYTES} are read"
        )
    try:
        model = models.BPE.from_file(
            str(checkpoint / VOCABULARY_FILE), str(checkpoint / MERGES_FILE)
        )
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelFileError(
            f"{checkpoint}: {VOCABULARY_FILE} and {MERGES_FILE} are not a tokenizer: {error}"
        ) from error
    tokenizer = Tokenizer(model)
    add_prefix_space = bool(_tokenizer_config(checkpoint).get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if END_OF_TEXT in vocabulary:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=True, special=True)])
    return tokenizer


def _tokenizer_config(checkpoint: Path) -> dict[str, Any]:
    """Return the checkpoint's tokenizer_config.json, or by default one for GPT-2's tokenizer."""
    path = checkpoint / TOKENIZER_CONFIG_FILE
    if path.is_file():
        return read_json_object(path)
    special_tokens = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return {"tokenizer_class": "GPT2TokenizerFast", **special_tokens}
