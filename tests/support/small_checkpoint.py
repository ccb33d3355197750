"""Writes a checkpoint of a few kilobytes that has a tokenizer: one token for each byte."""

import json
from pathlib import Path

import numpy as np
from checkpoints import Shape, write_checkpoint
from task_checkpoints import write_task_checkpoint
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from gptneo_onnx.models.tasks import Head

END_OF_TEXT = "<|endoftext|>"
SHAPE = Shape(vocab_size=257)


def write_small_checkpoint(
    directory: Path, random: np.random.Generator, head: Head | None = None
) -> Path:
    """Write it, with a head if one is named."""
    if head is None:
        write_checkpoint(directory, SHAPE, random)
    else:
        write_task_checkpoint(directory, head, SHAPE, random)
    write_byte_tokenizer(directory)
    return directory


def write_byte_tokenizer(directory: Path) -> None:
    """Write a tokenizer with one token per byte, which can encode any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: token for token, text in enumerate([END_OF_TEXT, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": END_OF_TEXT}))
