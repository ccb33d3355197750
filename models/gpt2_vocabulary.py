"""GPT-2's byte-level BPE from vocab.json and merges.txt, as the contents of a tokenizer.json.

Source: transformers.models.gpt2.tokenization_gpt2.GPT2Tokenizer, and GPT2Converter of
transformers.convert_slow_tokenizer, in version 4.57.6.
"""

import stat
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.json_file import MAX_BYTES, read_json_object
from gptneo_onnx.models.post_processor import TokenId, tokens_around
from gptneo_onnx.models.special_tokens import TokenSettings

VOCABULARY_FILE = "vocab.json"
MERGES_FILE = "merges.txt"


def read_gpt2_vocabulary(directory: Path, settings: TokenSettings) -> dict[str, Any]:
    """Return the contents of a tokenizer.json, without added tokens.

    Args:
        directory: has vocab.json and merges.txt.
        settings: add_bos_token and add_prefix_space of its config count.

    Raises:
        ModelFileError: a file is damaged, or there is no token to begin texts with.
    """
    vocabulary = read_json_object(directory / VOCABULARY_FILE)
    merges = _read_merges(directory / MERGES_FILE)
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    after = {**byte_level, "trim_offsets": False}
    if settings.config.get("add_bos_token"):
        after = tokens_around(_bos_token(directory, vocabulary, settings), joins_pairs=True)
    add_prefix_space = bool(settings.config.get("add_prefix_space", False))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            **byte_level,
            "add_prefix_space": add_prefix_space,
            "trim_offsets": True,
        },
        "post_processor": after,
        "decoder": {**byte_level, "trim_offsets": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def _bos_token(directory: Path, vocabulary: dict[str, Any], settings: TokenSettings) -> TokenId:
    """Return the first token of every text.

    Its id is that of GPT2Tokenizer: where a file names an id for it that the converted tokenizer
    does not give it, transformers puts that one there all the same.
    """
    text = settings.texts.get("bos_token")
    if text is None:
        raise ModelFileError(
            f"{directory}: add_bos_token is true and there is no bos_token; name one in "
            "tokenizer_config.json, or set add_bos_token to false"
        )
    ids = vocabulary | {token.content: index for index, token in settings.added.items()}
    return text, ids.get(text, len(ids))


def _read_merges(path: Path) -> list[list[str]]:
    """Return the pairs of merges.txt.

    As in transformers, the first line counts as a heading whatever it holds, and what follows the
    last line break is left out.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
            raise ModelFileError(f"{path} is not a regular file; a text file is expected")
        if status.st_size > MAX_BYTES:
            raise ModelFileError(f"{path} has {status.st_size} bytes; at most {MAX_BYTES} are read")
        lines = path.read_text(encoding="utf-8-sig").split("\n")[1:-1]
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"{path.parent}: {VOCABULARY_FILE} and {MERGES_FILE} are not a tokenizer: "
            f"{MERGES_FILE} is not UTF-8 (byte {error.start})"
        ) from error
    pairs = dict.fromkeys(tuple(line.split()) for line in lines)
    return [[*pair] for pair in pairs]
