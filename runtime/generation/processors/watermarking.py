"""Watermarks: the two kinds of watermarking_config, and the green-list processor.

Names, defaults and results are transformers' on a CPU, so that its detectors find these watermarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Mask, Scores
from gptneo_onnx.runtime.generation.processors.best_tokens import best_tokens
from gptneo_onnx.runtime.generation.processors.checks import (
    check_cpu,
    check_number,
    check_whole_number,
)
from gptneo_onnx.runtime.generation.processors.conversions import number, set_fields, whole
from gptneo_onnx.runtime.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor
from gptneo_onnx.runtime.generation.processors.torch_random import randperm, randperm_start
from gptneo_onnx.runtime.generation.tensors import takes_scores

SEEDING_SCHEMES = ("lefthash", "selfhash")
_TABLE_SIZE = 1_000_003
# selfhash tries this many of the best tokens, as the paper's authors do.
_CANDIDATES = 40
_MAX_SEED = 2**64 - 1
Config = TypeVar("Config", "WatermarkingConfig", "SynthIDTextWatermarkingConfig")


@dataclass(frozen=True)
class WatermarkLogitsProcessor:
    """Raises the scores of a green list of tokens, drawn for each context (arXiv:2306.04634).

    Args:
        vocab_size: number of tokens that the lists are drawn from.
        device: "cpu"; PyTorch's generators of other devices draw other lists.
        greenlist_ratio: the part of the vocabulary that is in a list.
        bias: number that is added to the scores of green tokens.
        hashing_key: the secret key, which a detector needs.
        seeding_scheme: "lefthash" draws by the last token; "selfhash" by the candidate itself and
            the tokens before it, and raises only candidates that are in their own list.
        context_width: number of tokens that a list depends on; a shorter text gets no watermark.
    """

    vocab_size: int
    device: object = "cpu"
    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        check_cpu(self.device)
        converted = {
            "vocab_size": whole("vocab_size", self.vocab_size, least=1),
            "greenlist_ratio": number("greenlist_ratio", self.greenlist_ratio),
            "bias": number("bias", self.bias),
            "hashing_key": whole("hashing_key", self.hashing_key),
            "context_width": whole("context_width", self.context_width, least=1),
        }
        check_number("greenlist_ratio", converted["greenlist_ratio"], above=0, below=1)
        check_whole_number("hashing_key", converted["hashing_key"], least=0, most=2**63 - 1)
        set_fields(self, **converted)
        scheme = self.seeding_scheme
        if not isinstance(scheme, str) or scheme not in SEEDING_SCHEMES:
            raise InputError(
                f"seeding_scheme is {shown(self.seeding_scheme)}; "
                f"{' or '.join(SEEDING_SCHEMES)} is allowed"
            )

    @takes_scores
    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        if scores.shape[-1] < self.vocab_size:
            raise InputError(
                f"vocab_size is {self.vocab_size}, and there are scores of {scores.shape[-1]} "
                "tokens; at most as many are allowed"
            )
        if input_ids.shape[-1] < self.context_width:
            return scores
        is_lefthash = self.seeding_scheme == "lefthash"
        green_tokens = self._green_by_last_token if is_lefthash else self._green_by_candidate
        processed = scores.copy()
        for row, tokens in enumerate(input_ids):
            processed[row, green_tokens(tokens, scores[row])] += np.float32(self.bias)
        return processed

    def _green_by_last_token(self, tokens: Ids, row: Scores) -> Ids:
        """Return the green tokens after `tokens` [length], whatever their scores."""
        return np.flatnonzero(self.greenlist(self.hashing_key * int(tokens[-1])))

    def _green_by_candidate(self, tokens: Ids, row: Scores) -> Ids:
        """Return those of the best tokens of `row` [vocab] that are in their own list."""
        candidates = np.flatnonzero(best_tokens(row, _CANDIDATES, lower_ids_first=True))
        seeds = self._seeds(tokens, candidates)
        return np.array(
            [
                token
                for token, seed in zip(candidates.tolist(), seeds.tolist(), strict=True)
                if token < self.vocab_size and self.greenlist(seed)[token]
            ],
            np.int64,
        )

    def _seeds(self, tokens: Ids, candidates: Ids) -> Ids:
        """Return for each candidate the least product of its hash with one of its context's."""
        table = _hash_table(self.hashing_key)
        hashes = table[candidates % _TABLE_SIZE] + 1
        hashes_before = table[tokens[len(tokens) - self.context_width + 1 :] % _TABLE_SIZE] + 1
        # [candidates, context_width]
        context = np.column_stack([np.tile(hashes_before, (len(hashes), 1)), hashes])
        # int64 wraps around, as torch's does.
        return np.asarray((np.int64(self.hashing_key) * context * hashes[:, None]).min(-1))

    def is_green(self, tokens: Ids, token: int) -> bool:
        """Tell whether a token that follows `tokens` [at least context_width] is in their list."""
        if self.seeding_scheme == "lefthash":
            seed = self.hashing_key * int(tokens[-1])
        else:
            (seed,) = self._seeds(tokens, np.array([token])).tolist()
        return token < self.vocab_size and bool(self.greenlist(seed)[token])

    def greenlist(self, seed: int) -> Mask:
        """Mark the green tokens of a seed, [vocab]."""
        count = int(self.vocab_size * self.greenlist_ratio)
        return randperm_start(seed % _MAX_SEED, self.vocab_size, count)


@lru_cache(maxsize=4)
def _hash_table(hashing_key: int) -> Ids:
    """Return the permutation that hashes token ids; shuffling it takes half a second."""
    return randperm(hashing_key, _TABLE_SIZE)


@dataclass(frozen=True)
class WatermarkingConfig:
    """Asks for a green-list watermark; the fields are WatermarkLogitsProcessor's."""

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        self.construct_processor(vocab_size=1)  # the processor checks the fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WatermarkingConfig":
        """Make a config from a dict; InputError for an unknown name or a value out of range."""
        return _from_dict(cls, values)

    def construct_processor(
        self, vocab_size: int, device: object = "cpu"
    ) -> WatermarkLogitsProcessor:
        """Make the processor for a model with a vocabulary of that size."""
        return WatermarkLogitsProcessor(
            vocab_size,
            device,
            self.greenlist_ratio,
            self.bias,
            self.hashing_key,
            self.seeding_scheme,
            self.context_width,
        )


@dataclass(frozen=True)
class SynthIDTextWatermarkingConfig:
    """Asks for a SynthID watermark; the fields are SynthIDTextWatermarkLogitsProcessor's."""

    ngram_len: int
    keys: Sequence[int]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    def __post_init__(self) -> None:
        self.construct_processor(vocab_size=1)  # the processor checks the fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SynthIDTextWatermarkingConfig":
        """Make a config from a dict; InputError for an unknown or missing name or a bad value."""
        return _from_dict(cls, values)

    def construct_processor(
        self, vocab_size: int, device: object = "cpu"
    ) -> SynthIDTextWatermarkLogitsProcessor:
        """Make a processor for one batch; it takes the vocabulary's size from the scores."""
        return SynthIDTextWatermarkLogitsProcessor(
            self.ngram_len,
            self.keys,
            self.sampling_table_size,
            self.sampling_table_seed,
            self.context_history_size,
            device,
            self.skip_first_ngram_calls,
            self.debug_mode,
        )


def coerce_watermark(value: Any) -> WatermarkingConfig | SynthIDTextWatermarkingConfig | None:
    """Return a watermarking_config as an object; a dict's keys tell which of the two it is.

    Raises:
        InputError: neither of the two, nor a dict of the fields of one.
    """
    if value is None or isinstance(value, WatermarkingConfig | SynthIDTextWatermarkingConfig):
        return value
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):  # transformers' own
        value = to_dict()
    if not isinstance(value, Mapping):
        raise InputError(
            f"watermarking_config is of type {type(value).__name__}; a WatermarkingConfig, a "
            "SynthIDTextWatermarkingConfig or a dict of one's fields is allowed"
        )
    kind = SynthIDTextWatermarkingConfig if "ngram_len" in value else WatermarkingConfig
    return kind.from_dict(dict(value))


def _from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    names = [field.name for field in fields(cls)]
    for name in values:
        if name not in names:
            raise InputError(
                f"watermarking_config has {shown(name)}; {', '.join(names)} are allowed"
            )
    for field in fields(cls):
        if field.default is MISSING and field.name not in values:
            raise InputError(
                f"watermarking_config lacks {field.name}; {', '.join(names)} are allowed"
            )
    return cls(**values)
