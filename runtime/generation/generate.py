"""One call of generate(): from checked arguments to a strategy, and from its end to the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.chain import (
    PrefixAllowedTokens,
    Prompt,
    logits_processors,
    logits_warpers,
)
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.noise import TokenNoise, sequence_noise
from gptneo_onnx.runtime.generation.outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
    StepRecorder,
)
from gptneo_onnx.runtime.generation.processors.base import Ids, LogitsProcessorList, Scores
from gptneo_onnx.runtime.generation.stopping_criteria import (
    EosTokenCriteria,
    MaxTimeCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)
from gptneo_onnx.runtime.generation.strategies.assisted import assisted_steps
from gptneo_onnx.runtime.generation.strategies.beam_search import BeamSearch, PromptBeams
from gptneo_onnx.runtime.generation.strategies.beams import BeamsOfPrompt, Search, search_steps
from gptneo_onnx.runtime.generation.strategies.candidates import (
    Candidates,
    DraftModel,
    PromptLookup,
)
from gptneo_onnx.runtime.generation.strategies.group_beam_search import (
    GroupBeamSearch,
    PromptGroups,
)
from gptneo_onnx.runtime.generation.strategies.sample import generate_steps
from gptneo_onnx.runtime.generation.strategies.sequences import (
    CallerHooks,
    GrowingSequence,
    SequenceGroup,
    joined,
)
from gptneo_onnx.runtime.generation.strategies.slot_batch import Guidance, SlotBatch
from gptneo_onnx.runtime.generation.streamers import Streamer
from gptneo_onnx.runtime.tokenizer import Tokenizer

Output = Ids | GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput


@dataclass(frozen=True)
class GenerationCall:
    """What one call of generate() is about, checked.

    Attributes:
        config: the model's, the caller's and the arguments', combined.
        input_ids: int64 [batch, width], as given.
        prompts: one for each row of it.
        max_new_tokens: how many to generate at the most.
        vocab_size: of the model.
        own: the caller's processors and criteria.
        prefix_allowed_tokens_fn, streamer, tokenizer: generate()'s arguments.
        guidance: the negative prompts, if there are any.
        saved: prompts whose caches may be used; None if none was given.
        fingerprint: of the model, for the caches that the call makes.
        criteria: those that the config asks for.
    """

    config: GenerationConfig
    input_ids: Ids
    prompts: Sequence[Prompt]
    max_new_tokens: int
    vocab_size: int
    own: CallerHooks
    prefix_allowed_tokens_fn: PrefixAllowedTokens | None = None
    streamer: Streamer | None = None
    tokenizer: Tokenizer | None = None
    guidance: Guidance | None = None
    saved: PromptCache | None = None
    fingerprint: str = ""
    criteria: StoppingCriteriaList = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "criteria", _criteria(self.config, self.tokenizer))

    @property
    def repeats(self) -> int:
        """Rows of the batch for each prompt."""
        return max(self.config.num_beams, self.config.num_return_sequences)

    @property
    def slots(self) -> int:
        """Slots of the cache that the call takes."""
        return len(self.prompts) * self.repeats * (2 if self.guidance else 1)

    def record(self) -> StepRecorder:
        """An empty record of what the output is to hold."""
        config = self.config
        is_dict = config.return_dict_in_generate
        return StepRecorder(
            wants_scores=is_dict and config.output_scores,
            wants_logits=is_dict and config.output_logits,
            wants_cache=is_dict and self.saved is not None,
        )

    def batch(self, decoder: Decoder, prompts: Sequence[Prompt], repeats: int) -> SlotBatch:
        ids = [prompt.ids for prompt in prompts]
        return SlotBatch(decoder, ids, repeats, self.guidance, self.saved)

    def noise(self, prompts: Sequence[Prompt]) -> list[TokenNoise | None]:
        """What each prompt's tokens are drawn by; None where they are not drawn."""
        if not self.config.do_sample:
            return [None] * len(prompts)
        return [*sequence_noise(self.config.seed, [prompt.ids for prompt in prompts])]

    def chains(self, prompt: Prompt) -> tuple[LogitsProcessorList, LogitsProcessorList]:
        """The prompt's processors before and behind the caller's own.

        A processor of the caller's takes the place of ours of its class; warpers come in addition.
        """
        taken = {type(processor) for processor in self.own.processors}
        before = logits_processors(
            self.config, prompt, self.max_new_tokens, self.prefix_allowed_tokens_fn
        )
        kept = LogitsProcessorList(each for each in before if type(each) not in taken)
        return kept, logits_warpers(self.config, self.vocab_size)

    def padding(self, prompt: Prompt) -> Ids:
        """int64 [columns], what was given to the left of a prompt."""
        return self.input_ids[prompt.row, : prompt.padding]


def run(engine: Engine, call: GenerationCall, assistant: Engine | None) -> Output:
    """Generate with engines that no one else uses meanwhile."""
    is_assisted = assistant is not None or call.config.prompt_lookup_num_tokens is not None
    decoder = engine.decoder(1 if is_assisted else call.slots, call.config.prefill_chunk_size)
    if call.saved is not None:
        call.saved.check(call.fingerprint, decoder.cache, call.vocab_size)
    if is_assisted:
        return _assisted(decoder, call, assistant)
    return (_beam_search if call.config.num_beams > 1 else _sample)(decoder, call)


def _sample(decoder: Decoder, call: GenerationCall) -> Output:
    sequences = sampled_sequences(call)
    record = call.record()
    batch = call.batch(decoder, call.prompts, call.repeats)
    steps = generate_steps(batch, sequences, call.own, record)
    _stream(call.streamer, sequences[0].ids[0], ([step[0]] for step in steps if 0 in step))
    return _output(call, sequences, record)


def _assisted(decoder: Decoder, call: GenerationCall, assistant: Engine | None) -> Output:
    """One sequence after the other: a step of several tokens takes a single slot."""
    sequences, records = sampled_sequences(call), []
    for prompt, sequence in zip(call.prompts, sequences, strict=True):
        records.append(call.record())
        candidates = _candidates(call, prompt, sequence, assistant)
        batch = call.batch(decoder, [prompt], 1)
        steps = assisted_steps(batch, sequence, candidates, call.own, records[-1])
        _stream(call.streamer, sequence.ids[0], steps)
    return _output(call, sequences, StepRecorder.merged(records))


def _candidates(
    call: GenerationCall, prompt: Prompt, sequence: GrowingSequence, assistant: Engine | None
) -> Candidates:
    if assistant is None:
        return PromptLookup(call.config)
    # Chains of its own: some keep state, and the draft's ways are not the sequence's.
    return DraftModel(assistant.decoder(1), call.config, call.chains(prompt), sequence.noise)


def _beam_search(decoder: Decoder, call: GenerationCall) -> Output:
    config, own = call.config, call.own
    beams = [
        SequenceGroup(
            np.repeat(prompt.ids[None], config.num_beams, axis=0),
            call.padding(prompt),
            *call.chains(prompt),
            call.criteria,
        )
        for prompt in call.prompts
    ]
    search: Search
    if config.num_beam_groups > 1:
        groups = [PromptGroups(rows, config, call.max_new_tokens, own) for rows in beams]
        search = GroupBeamSearch(groups, config, own)
    else:
        noises = call.noise(call.prompts)
        prompts = [
            PromptBeams(rows, config, call.max_new_tokens, own, noise)
            for rows, noise in zip(beams, noises, strict=True)
        ]
        search = BeamSearch(prompts, own)
    record = call.record()
    batch = call.batch(decoder, call.prompts, call.repeats)
    for _ in search_steps(batch, search, config.num_beams, record):
        pass
    return _beam_output(call, search.prompts, record)


def sampled_sequences(call: GenerationCall) -> list[GrowingSequence]:
    """A call's sequences at their beginning, prompt by prompt."""
    prompts = [prompt for prompt in call.prompts for _ in range(call.repeats)]
    return [
        GrowingSequence(
            prompt.ids[None],
            call.padding(prompt),
            *call.chains(prompt),
            call.criteria,
            max_new_tokens=call.max_new_tokens,
            noise=noise,
        )
        for prompt, noise in zip(prompts, call.noise(prompts), strict=True)
    ]


def _criteria(config: GenerationConfig, tokenizer: Tokenizer | None) -> StoppingCriteriaList:
    criteria = StoppingCriteriaList()
    if config.max_time is not None:
        criteria.append(MaxTimeCriteria(config.max_time))
    if config.stop_strings is not None:
        if tokenizer is None:
            raise InputError(
                "stop_strings are looked for in text, and there is no tokenizer; pass tokenizer="
            )
        criteria.append(StopStringCriteria(tokenizer, config.stop_strings))
    if config.eos_token_ids:
        criteria.append(EosTokenCriteria(config.eos_token_ids))
    return criteria


def _stream(streamer: Streamer | None, prompt: Ids, steps: Iterator[list[int]]) -> None:
    """Run a strategy to its end, telling the streamer."""
    if streamer is not None:
        streamer.put(prompt.tolist())
    for tokens in steps:
        if streamer is not None:
            streamer.put(tokens)


def _output(
    call: GenerationCall, sequences: Sequence[GrowingSequence], record: StepRecorder
) -> Output:
    prompts = np.repeat(call.input_ids, call.repeats, axis=0)
    ids = joined(prompts, [sequence.generated for sequence in sequences], call.config.fill_token_id)
    if not call.config.return_dict_in_generate:
        return ids
    saved = None
    if call.saved is not None:
        kept = (record.saved[row] for row in range(len(sequences)))
        saved = PromptCache(tuple(kept), call.fingerprint)
    return GenerateDecoderOnlyOutput(ids, *_kept(record), saved)


def _beam_output(
    call: GenerationCall, searches: Sequence[BeamsOfPrompt], record: StepRecorder
) -> Output:
    config = call.config
    results = [search.results() for search in searches]
    prompts = np.repeat(call.input_ids, config.num_return_sequences, axis=0)
    found = [beam for beams in results for beam in beams]
    ids = joined(prompts, [beam.generated for beam in found], config.fill_token_id)
    if not config.return_dict_in_generate:
        return ids
    longest = max(len(beam.parents) for beam in found)
    indices = np.full((len(found), longest), -1, np.int64)
    for row, beam in enumerate(found):
        first = row // config.num_return_sequences * config.num_beams
        indices[row, : len(beam.parents)] = np.array(beam.parents) + first
    scores = np.array([beam.score for beam in found], np.float32)
    return GenerateBeamDecoderOnlyOutput(
        ids, scores if config.output_scores else None, *_kept(record), indices
    )


def _kept(record: StepRecorder) -> tuple[tuple[Scores, ...] | None, tuple[Scores, ...] | None]:
    scores: tuple[NDArray[np.float32], ...] | None = None
    logits: tuple[NDArray[np.float32], ...] | None = None
    if record.wants_scores:
        scores = tuple(record.scores)
    if record.wants_logits:
        logits = tuple(record.logits)
    return scores, logits
