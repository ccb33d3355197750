"""From the texts of a call to prompts: their tokens, limits and seeds.

A prompt's limit and seeds do not depend on how the prompts are divided into batches.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.chat_template import checked_messages
from gptneo_onnx.runtime.generation.arguments import max_new_tokens
from gptneo_onnx.runtime.generation.config import DEFAULT_NEW_TOKENS, GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import asked_length
from gptneo_onnx.runtime.generation.noise import next_seed
from gptneo_onnx.runtime.generation.token_healing import heal_prompts, text_ids
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.arguments import CallArguments
from gptneo_onnx.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Chat:
    """A chat as a prompt: the messages that an answer follows, or whose last one it continues."""

    messages: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, messages: Any) -> "Chat":
        """Check a chat's messages; raises InputError for others."""
        messages = checked_messages(messages)
        if not all("role" in each and "content" in each for each in messages):
            raise InputError("a message of a chat lacks 'role' or 'content'; give both")
        return cls(messages)

    def continues(self, argument: bool | None) -> bool:
        """Return whether the last message is continued: by default an assistant's is."""
        return self.messages[-1]["role"] == "assistant" if argument is None else argument

    def followed_by(self, text: str, continues: bool) -> list[Mapping[str, Any]]:
        """Return the messages with an answer."""
        *before, last = self.messages
        if not continues:
            return [*before, last, {"role": "assistant", "content": text}]
        if not isinstance(last["content"], str):
            raise InputError(
                "the last message of the chat has several contents, and is to be continued; pass "
                "return_full_text=False"
            )
        return [*before, {"role": last["role"], "content": last["content"] + text}]


def is_chat(value: object) -> bool:
    """Return whether a call's input is one chat: a list that begins with a message."""
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)


@dataclass(frozen=True)
class PipelinePrompt:
    """One prompt of a call.

    Attributes:
        text: the text that a full result begins with, or the chat.
        ids: the tokens of prefix and text.
        input_ids: what the model continues: `ids`, `ids` with the last token healed, or
            bos_token_id if `ids` is empty.
        max_new_tokens: the limit of this prompt, by its own tokens alone.
        seeds: one for each result; empty if nothing is sampled.
    """

    text: str | Chat
    ids: list[int]
    input_ids: list[int]
    max_new_tokens: int
    seeds: tuple[int, ...]


class PromptReader:
    """Makes the prompts of a call, batch by batch."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        arguments: CallArguments,
        config: GenerationConfig,
        is_default_length: bool,
    ) -> None:
        """
        Args:
            model: what generates.
            tokenizer: the model's.
            arguments: the pipeline's arguments of the call.
            config: how the call generates.
            is_default_length: whether nobody asked for the config's max_new_tokens: then it is
                lowered to the room that a prompt leaves in the context.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._arguments = arguments
        self._config = config
        self._is_default_length = is_default_length
        self._context = model.config.max_position_embeddings
        self._seeds = PromptSeeds(config)

    def read(self, texts: Sequence[Any]) -> list[PipelinePrompt]:
        """Make the prompts of the next batch.

        Raises:
            InputError: something that is no text, an empty text where the model has no first token,
                or one that leaves no room for the new tokens that are asked for.
        """
        prompt_ids = [self._encode(text) for text in texts]
        input_ids = [ids or [self._first_token()] for ids in prompt_ids]
        if self._config.token_healing:
            input_ids = heal_prompts(self._model.engine, input_ids, self._tokenizer)
            texts = [text.rstrip() if isinstance(text, str) else text for text in texts]
        return [
            PipelinePrompt(
                text, ids, inputs, self._max_new_tokens(inputs), self._seeds.take(inputs)
            )
            for text, ids, inputs in zip(texts, prompt_ids, input_ids, strict=True)
        ]

    def _encode(self, text: Any) -> list[int]:
        further = self._arguments.encoding
        if isinstance(text, Chat):
            ids = self._encode_chat(text, further)
        elif isinstance(text, str):
            ids = self._tokenizer.encode(self._arguments.prefix + text, **further)
        else:
            column = "; of a data set pass a column, dataset['text']"
            raise InputError(
                f"a prompt is of type {type(text).__name__}; a text is expected, or the messages "
                f"of a chat{column if isinstance(text, Mapping) else ''}"
            )
        if self._config.token_healing:
            ids = text_ids(ids, self._tokenizer)
        return self._cut(ids) if self._arguments.handle_long_generation == "hole" else ids

    def _first_token(self) -> int:
        """Return the token that an empty prompt starts with, as transformers' generate() does."""
        if self._config.bos_token_id is None:
            raise InputError(
                "the prompt is empty, and the model has no bos_token_id to start with; give at "
                f"least one character, or {self._tokenizer.eos_token or 'the end-of-text token'}"
            )
        return self._config.bos_token_id

    def _encode_chat(self, chat: Chat, further: Mapping[str, Any]) -> list[int]:
        continues = chat.continues(self._arguments.continue_final_message)
        ids: list[int] = self._tokenizer.apply_chat_template(
            chat.messages,
            add_generation_prompt=not continues,
            continue_final_message=continues,
            **{name: value for name, value in further.items() if name != "add_special_tokens"},
        )
        return ids

    def _cut(self, ids: list[int]) -> list[int]:
        """Cut a prompt on the left, so that the new tokens fit into the context."""
        if self._config.max_new_tokens is not None:
            new_tokens = self._config.max_new_tokens
        elif (max_length := asked_length(self._config)) is not None:
            new_tokens = max_length - len(ids)
        else:
            new_tokens = DEFAULT_NEW_TOKENS
        if new_tokens < 0 or new_tokens >= self._context:
            raise InputError(
                f"{new_tokens} new tokens are wanted of a context of {self._context}: no prompt "
                "can be cut to make room for them; set max_new_tokens"
            )
        return ids[-(self._context - new_tokens) :]

    def _max_new_tokens(self, ids: list[int]) -> int:
        default = self._config.max_new_tokens
        if default is None or not self._is_default_length:
            return max_new_tokens(self._config, len(ids), len(ids), self._context)
        return max(1, min(default, self._context - len(ids)))


class PromptSeeds:
    """Hands out the seeds of a call's prompts, one prompt after the other."""

    def __init__(self, config: GenerationConfig) -> None:
        self._seed = config.seed
        if config.do_sample and config.seed is None:
            self._seed = next_seed()
        # Beams of a prompt are sampled together, with one seed; other results with one each.
        seeds_per_prompt = 1 if config.num_beams > 1 else config.num_return_sequences
        self._seeds_per_prompt = seeds_per_prompt if config.do_sample else 0
        self._occurrences: Counter[tuple[int, ...]] = Counter()

    def take(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the seeds of the next prompt.

        A single seed gives each occurrence of a prompt within the call other seeds, or its results
        would be the same.

        Raises:
            InputError: a list of seeds that is too short.
        """
        occurrence = self._occurrences[tuple(ids)]
        self._occurrences[tuple(ids)] += 1
        if self._seed is not None and not isinstance(self._seed, int):
            return self._next_of(tuple(self._seed))
        # One seed for all results of the prompt: generate() distinguishes those by itself.
        return (_derived_seed(self._seed or 0, occurrence),) * self._seeds_per_prompt

    def _next_of(self, seeds: tuple[int, ...]) -> tuple[int, ...]:
        stop = self._occurrences.total() * self._seeds_per_prompt
        if stop > len(seeds):
            raise InputError(
                f"seed has {len(seeds)} numbers, and there are more results; pass one for each "
                "result, or one number for all"
            )
        return seeds[stop - self._seeds_per_prompt : stop]


def _derived_seed(seed: int, occurrence: int) -> int:
    if occurrence == 0:
        return seed
    return int(np.random.SeedSequence([seed, occurrence]).generate_state(1, np.uint64)[0])
