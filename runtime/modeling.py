"""GPTNeoForCausalLM: an exported model with the interface that transformers' has."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import GraphContract
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.runtime.cache import SlotCache
from gptneo_onnx.runtime.decoder import PREFILL_CHUNK, Decoder
from gptneo_onnx.runtime.device import Device
from gptneo_onnx.runtime.generation.generation_config import DEFAULT_NEW_TOKENS, GenerationConfig
from gptneo_onnx.runtime.generation.logits_process import logits_processors
from gptneo_onnx.runtime.generation.loop import Sequence, generate_steps
from gptneo_onnx.runtime.generation.sampling import sequence_generators
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.inputs import PaddedInputs
from gptneo_onnx.runtime.model_directory import open_model_directory
from gptneo_onnx.runtime.session import Session, create_session


@dataclass(frozen=True)
class CausalLMOutput:
    """logits: float32 [batch, sequence, vocab]; zeros at padded positions."""

    logits: NDArray[np.float32]


class GPTNeoForCausalLM:
    """transformers.GPTNeoForCausalLM on ONNX Runtime; one call at a time, others are refused.

    Attributes:
        config: what the model is.
        generation_config: the model's own defaults for generate().
        prefill_chunk: tokens of a prompt that one step takes.
        device: where it runs.
    """

    def __init__(
        self,
        session: Session,
        contract: GraphContract,
        config: GPTNeoConfig,
        generation_config: GenerationConfig | None = None,
        slots: int = 1,
        prefill_chunk: int = PREFILL_CHUNK,
    ) -> None:
        if type(slots) is not int or slots < 1:
            raise InputError(f"slots is {slots!r}; a whole number of at least 1 is allowed")
        self.config = config
        self.generation_config = generation_config or GenerationConfig()
        self.prefill_chunk = prefill_chunk
        self._session = session
        self._contract = contract
        self._decoder = self._make_decoder(slots)
        self._busy = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        device: str = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
    ) -> "GPTNeoForCausalLM":
        """Load an exported directory.

        Args:
            directory: made by `gptneo-onnx export`.
            device: auto (CUDA if it can be had, else the CPU), cpu, cuda or cuda:N.
            slots: sequences to make room for at once; a larger batch makes more when it comes.
            num_threads: of one operator; None takes one per physical core.
            provider_options: for ONNX Runtime's execution provider.

        Raises:
            InputError: an argument out of range, or a directory that was not exported.
            ModelFileError: the model is damaged or was changed since its export.
            DeviceError: the device was asked for by name and cannot be had.
        """
        opened = open_model_directory(directory)
        try:
            session = create_session(
                opened.graph, opened.manifest.precision, device, num_threads, provider_options
            )
        finally:
            opened.verification.finish()
        generation_config = (
            GenerationConfig.from_pretrained(opened.path)
            if (opened.path / GENERATION_CONFIG_FILE).is_file()
            else None
        )
        return cls(session, opened.contract, opened.config, generation_config, slots)

    @property
    def device(self) -> Device:
        return self._session.device

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cache at its present number of slots."""
        return self._decoder.cache.nbytes

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
    ) -> CausalLMOutput:
        """Logits behind every token.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on either side.
            position_ids: int [batch, sequence]; by default the columns' numbers, padding included,
                as in transformers. generate() counts from each sequence's first token instead.

        Raises:
            InputError: ids out of range, a mask with holes, a sequence longer than the context.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        positions = inputs.positions(position_ids, self.config)
        logits = np.zeros((*inputs.input_ids.shape, self.config.vocab_size), np.float32)
        with self._alone():
            decoder = self.decoder(slots=1)
            for row, columns in enumerate(inputs.columns):
                decoder.cache.clear(0)
                decoder.prefill_all_logits(
                    0, inputs.input_ids[row, columns], positions[row, columns], logits[row, columns]
                )
        return CausalLMOutput(logits)

    def generate(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Streamer | None = None,
        **kwargs: Any,
    ) -> NDArray[np.int64]:
        """Continue each sequence.

        Args:
            input_ids: int [batch, sequence].
            attention_mask: int [batch, sequence], 1 for tokens, 0 for padding on the left. Without
                one, tokens equal to a pad_token_id that is no end token are padding.
            generation_config: over the model's own, wherever it sets anything.
            streamer: given each token as it comes; for a batch of one.
            kwargs: fields of GenerationConfig, over both.

        Returns:
            int64 [batch * num_return_sequences, length], prompts included, finished sequences
            filled up with the pad token. Lengths count columns, padding included, as transformers
            counts them.

        Raises:
            InputError: an argument, id or mask that cannot be used.
        """
        config = (generation_config or GenerationConfig()).over(self.generation_config)
        config = config.update(**kwargs)
        config.check_supported()
        if attention_mask is None:
            attention_mask = _mask_of_padding(input_ids, config)
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config, side="left")
        sequences = self._sequences(inputs, config)
        if streamer is not None and len(sequences) > 1:
            raise InputError(f"a streamer takes one sequence, and there are {len(sequences)}")
        with self._alone():
            self._run(sequences, streamer)
        prompts = np.repeat(inputs.input_ids, config.num_return_sequences, axis=0)
        return _joined(prompts, sequences, config.fill_token_id)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two calls at once, from threads or from a streamer, would write into the same cache."""
        if not self._busy.acquire(blocking=False):
            raise InputError("this model is at work in another call; wait for it, or load a second")
        try:
            yield
        finally:
            self._busy.release()

    def _run(self, sequences: list[Sequence], streamer: Streamer | None) -> None:
        decoder = self.decoder(len(sequences))
        if streamer is None:
            for _ in generate_steps(decoder, sequences):
                pass
            return
        try:
            streamer.put(sequences[0].ids.tolist())
            for tokens in generate_steps(decoder, sequences):
                streamer.put([tokens[0]])
        finally:
            streamer.end()  # also when interrupted: the next call starts a text of its own

    def _sequences(self, inputs: PaddedInputs, config: GenerationConfig) -> list[Sequence]:
        width = inputs.input_ids.shape[1]
        max_new_tokens = self._max_new_tokens(config, width, inputs.longest)
        prompts = [
            inputs.input_ids[row, columns]
            for row, columns in enumerate(inputs.columns)
            for _ in range(config.num_return_sequences)
        ]
        if config.num_return_sequences > 1 and not config.do_sample:
            raise InputError(
                f"num_return_sequences is {config.num_return_sequences}, but greedy decoding has "
                "one result per prompt; pass do_sample=True"
            )
        generators = sequence_generators(config.seed, prompts) if config.do_sample else []
        return [
            Sequence(
                ids=prompt,
                max_new_tokens=max_new_tokens,
                processors=logits_processors(config, self._min_length(config, width, len(prompt))),
                eos_token_ids=config.eos_token_ids,
                generator=generators[index] if generators else None,
            )
            for index, prompt in enumerate(prompts)
        ]

    def _max_new_tokens(self, config: GenerationConfig, width: int, longest: int) -> int:
        """How many tokens fit: explicit lengths must, the default is cut to what does."""
        room = self.config.max_position_embeddings - longest
        if room < 1:
            raise InputError(
                f"the prompt has {longest} tokens and the model's context is "
                f"{self.config.max_position_embeddings}: none can be added; shorten the prompt"
            )
        if config.max_new_tokens is not None:
            wanted, said = config.max_new_tokens, f"max_new_tokens is {config.max_new_tokens}"
        elif config.max_length is not None:
            wanted, said = config.max_length - width, f"max_length is {config.max_length}"
        else:
            return min(DEFAULT_NEW_TOKENS, room)
        if wanted < 1:
            padding = ", padding included" if width > longest else ""
            raise InputError(f"{said}, but the prompt alone has {width} tokens{padding}; raise it")
        if wanted > room:
            raise InputError(
                f"{said} and the prompt has {longest} tokens, more than the context of "
                f"{self.config.max_position_embeddings}; at most {room} can be generated"
            )
        return wanted

    @staticmethod
    def _min_length(config: GenerationConfig, width: int, length: int) -> int:
        """In the sequence's own tokens; min_length counts columns, padding included."""
        if config.min_new_tokens is not None:
            return length + config.min_new_tokens
        return config.min_length - (width - length)

    def decoder(self, slots: int) -> Decoder:
        """The steps below generate(), with room for that many sequences; shared with it."""
        if slots > self._decoder.cache.slots:
            self._decoder = self._make_decoder(slots)
        self._decoder.prefill_chunk = self.prefill_chunk
        return self._decoder

    def _make_decoder(self, slots: int) -> Decoder:
        cache = SlotCache(
            self._contract, slots, self.config.max_position_embeddings, self._session.device
        )
        return Decoder(self._session, self._contract, cache, self.prefill_chunk)


def _mask_of_padding(input_ids: ArrayLike, config: GenerationConfig) -> NDArray[np.bool_] | None:
    """As transformers infers it (GenerationMixin._prepare_attention_mask_for_generation)."""
    pad = config.pad_token_id
    if pad is None or pad in config.eos_token_ids or not isinstance(input_ids, np.ndarray | list):
        return None
    is_padding = [[token == pad for token in row] for row in input_ids if np.ndim(row) == 1]
    return ~np.array(is_padding) if any(map(any, is_padding)) else None


def _joined(prompts: NDArray[np.int64], sequences: list[Sequence], fill: int) -> NDArray[np.int64]:
    """[sequences, width + most generated]: each prompt as it was given, then its tokens."""
    width = prompts.shape[1]
    longest = max(len(sequence.generated) for sequence in sequences)
    joined = np.full((len(sequences), width + longest), fill, np.int64)
    joined[:, :width] = prompts
    for row, sequence in enumerate(sequences):
        joined[row, width : width + len(sequence.generated)] = sequence.generated
    return joined
