"""From the texts that a pipeline is given to prompts that do not depend on how they are batched."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.config import DEFAULT_NEW_TOKENS, GenerationConfig
from gptneo_onnx.runtime.generation.noise import next_seed
from gptneo_onnx.runtime.generation.token_healing import heal_prompts, text_ids
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.arguments import CallArguments
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class PipelinePrompt:
    """One of the prompts of a call.

    Attributes:
        text: what a full result begins with.
        ids: the tokens of prefix and text.
        given: what the model continues: the same, or with its last token healed.
        max_new_tokens: the most that may follow; None where the config says so.
        seeds: one for each result; empty if nothing is drawn.
    """

    text: str
    ids: list[int]
    given: list[int]
    max_new_tokens: int | None
    seeds: tuple[int, ...]


class PromptReader:
    """Makes a call's prompts, batch after batch."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        arguments: CallArguments,
        config: GenerationConfig,
        is_default_length: bool,
    ) -> None:
        """`is_default_length`: max_new_tokens is nobody's wish, and is cut to the context."""
        self._model = model
        self._tokenizer = tokenizer
        self._arguments = arguments
        self._config = config
        self._is_default_length = is_default_length
        self._context = model.config.max_position_embeddings
        self._seeds = PromptSeeds(config)

    def read(self, texts: Sequence[Any]) -> list[PipelinePrompt]:
        """The next prompts.

        Raises:
            InputError: no text, an empty one, or one that leaves no room even when it is cut.
        """
        prompts = [self._ids(text) for text in texts]
        given = prompts
        if self._config.token_healing:
            given = heal_prompts(self._model.engine, prompts, self._tokenizer)
            texts = [text.rstrip() for text in texts]
        return [
            PipelinePrompt(text, ids, own, self._limit(own), self._seeds.take(ids))
            for text, ids, own in zip(texts, prompts, given, strict=True)
        ]

    def _ids(self, text: Any) -> list[int]:
        if not isinstance(text, str):
            raise InputError(f"a prompt is of type {type(text).__name__}; a text is expected")
        ids = self._tokenizer.encode(self._arguments.prefix + text)
        if self._config.token_healing:
            ids = text_ids(ids, self._tokenizer)
        if not ids:
            raise InputError(
                f"the prompt is empty; give at least one character, or "
                f"{self._tokenizer.eos_token or 'the end-of-text token'} to start from nothing"
            )
        return self._with_hole(ids) if self._arguments.handle_long_generation == "hole" else ids

    def _with_hole(self, ids: list[int]) -> list[int]:
        """The end of a prompt, so much of it that the tokens that are to follow fit."""
        if self._config.max_new_tokens is not None:
            wanted = self._config.max_new_tokens
        elif self._config.max_length is not None:
            wanted = self._config.max_length - len(ids)
        else:
            wanted = DEFAULT_NEW_TOKENS
        if wanted < 0 or wanted >= self._context:
            raise InputError(
                f"{wanted} new tokens are wanted of a context of {self._context}: no prompt can be "
                "cut to make room for them; set max_new_tokens"
            )
        return ids[-(self._context - wanted) :]

    def _limit(self, ids: list[int]) -> int | None:
        wanted = self._config.max_new_tokens
        if wanted is None or not self._is_default_length:
            return None
        return max(1, min(wanted, self._context - len(ids)))


class PromptSeeds:
    """The seeds of a call's prompts, however they are divided into batches."""

    def __init__(self, config: GenerationConfig) -> None:
        self._seed = config.seed
        if config.do_sample and config.seed is None:
            self._seed = next_seed()
        # Beams are drawn together; other results each by a seed of its own.
        results = 1 if config.num_beams > 1 else config.num_return_sequences
        self._results = results if config.do_sample else 0
        self._seen: Counter[tuple[int, ...]] = Counter()

    def take(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The next prompt's; a prompt that came before in the call has other seeds than then.

        Raises:
            InputError: a list of seeds that is too short.
        """
        occurrence = self._seen[tuple(ids)]
        self._seen[tuple(ids)] += 1
        if isinstance(self._seed, tuple):
            return self._part_of(self._seed)
        # Equal seeds for the results of one prompt: generate() tells those apart.
        return (_derived(self._seed or 0, occurrence),) * self._results

    def _part_of(self, seeds: tuple[int, ...]) -> tuple[int, ...]:
        stop = self._seen.total() * self._results
        if stop > len(seeds):
            raise InputError(
                f"seed has {len(seeds)} numbers, and there are more results; pass one for each "
                "result, or one number for all"
            )
        return seeds[stop - self._results : stop]


def _derived(seed: int, occurrence: int) -> int:
    if occurrence == 0:
        return seed
    return int(np.random.SeedSequence([seed, occurrence]).generate_state(1, np.uint64)[0])
