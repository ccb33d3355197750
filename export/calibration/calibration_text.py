"""The text of --calibrate, as windows of token ids."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.named_file import TooLargeError, read_file
from gptneo_onnx.models.tokenizer_check.content import read_backend, text_errors

MAX_BYTES = 256 * 1024 * 1024
WINDOWS = 32
# Tokens of each: twice the window of local layers in EleutherAI's models.
LENGTH = 512


def calibration_windows(
    text: Path, tokenizer: Path, vocab_size: int, context: int
) -> NDArray[np.int64]:
    """Read a text as windows of ids [windows, length], spread evenly over it.

    Args:
        text: a file in UTF-8.
        tokenizer: the checkpoint's tokenizer.json.
        vocab_size: the model's.
        context: the model's longest sequence, in tokens.

    Raises:
        InputError: there is no tokenizer, it has other ids than the model, or the text cannot be
            read or is too short.
    """
    if not tokenizer.is_file():
        raise InputError(
            "the checkpoint has no tokenizer, and calibrating reads a text; add its "
            "tokenizer.json, name one by --tokenizer, or export without --calibrate"
        )
    content = read_json_object(tokenizer) | {"truncation": None, "padding": None}
    backend, words = read_backend(Tokenizer.from_str, content, f"{tokenizer} is"), _read(text)
    with text_errors(words):
        encoded = backend.encode(words, add_special_tokens=False)
    ids = np.array(encoded.ids, np.int64)
    length = min(LENGTH, context)
    if len(ids) < length:
        raise InputError(
            f"{text} has {len(ids)} tokens; calibrating needs at least {length}, and makes use of "
            f"{WINDOWS * length}"
        )
    if ids.max() >= vocab_size:
        raise InputError(
            f"the tokenizer gives the id {ids.max()}, and the model has {vocab_size}; use the "
            "tokenizer that was saved with the checkpoint"
        )
    starts = np.linspace(0, len(ids) - length, min(WINDOWS, len(ids) // length)).astype(np.int64)
    windows: NDArray[np.int64] = ids[starts[:, None] + np.arange(length)]
    return windows


def _read(text: Path) -> str:
    try:
        content = read_file(text, MAX_BYTES).decode("utf-8-sig")
        return content.replace("\r\n", "\n").replace("\r", "\n")
    except TooLargeError as error:
        raise InputError(f"{text} {error}; {WINDOWS * LENGTH} tokens are enough") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{text} is not UTF-8 (byte {error.start}); calibrating reads plain text"
        ) from error
    except OSError as error:
        raise InputError(f"{text} cannot be read: {error.strerror}") from error
