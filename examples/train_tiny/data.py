"""The training text, its tokenizer, and batches of windows of its tokens."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CORPUS = Path(__file__).parent / "corpus"
TRAINING = ("emma", "mansfield_park", "pride_and_prejudice", "sense_and_sensibility")
HELD_OUT = "persuasion"
END_OF_TEXT = "<|endoftext|>"


def read_novel(name: str) -> str:
    return (CORPUS / f"{name}.txt").read_text(encoding="utf-8")


def train_tokenizer(vocab_size: int) -> Tokenizer:
    """Train GPT-2's byte-level BPE on the training novels."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((read_novel(name) for name in TRAINING), trainer)
    return tokenizer


def training_tokens(tokenizer: Tokenizer, bpe_dropout: float, seed: int) -> NDArray[np.int64]:
    """Encode all training novels as one stream [tokens], an end-of-text token before each.

    BPE dropout (Provilkov et al. 2020, arXiv:1910.13267) splits words differently in every epoch,
    which keeps the model from memorizing its 3 MB of text.
    """
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    tokenizer.model.dropout = bpe_dropout or None
    order = np.random.default_rng(seed).permutation(len(TRAINING))
    stream: list[int] = []
    for index in order:
        stream += [end_of_text, *tokenizer.encode(read_novel(TRAINING[index])).ids]
    tokenizer.model.dropout = None
    return np.array(stream, dtype=np.int64)


def epoch_batches(
    stream: NDArray[np.int64], batch: int, length: int, seed: int
) -> Iterator[torch.Tensor]:
    """Yield shuffled batches [batch, length + 1] that cover the stream from a random offset."""
    random = np.random.default_rng(seed)
    offset = int(random.integers(length))
    starts = np.arange(offset, len(stream) - length - 1, length)
    random.shuffle(starts)
    for row in range(0, len(starts) - batch + 1, batch):
        windows = [stream[start : start + length + 1] for start in starts[row : row + batch]]
        yield torch.from_numpy(np.stack(windows))
