"""A call of generate(), from its first step to its result.

generate_steps() is the main path: forward, choose and append are visible in the strategies that it
runs (strategies/sample.py, strategies/assisted.py).
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.engine.several_engines import exclusive
from gptneo_onnx.runtime.generation.arguments import check_streamer
from gptneo_onnx.runtime.generation.call import GenerationCall, prepare_call
from gptneo_onnx.runtime.generation.chain import Prompt
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
    StepRecorder,
)
from gptneo_onnx.runtime.generation.strategies.assisted import assisted_tokens
from gptneo_onnx.runtime.generation.strategies.beam_search import BeamSearch, PromptBeams
from gptneo_onnx.runtime.generation.strategies.beams import BeamsOfPrompt, Search, run_search
from gptneo_onnx.runtime.generation.strategies.candidates import (
    Candidates,
    DraftModel,
    PromptLookup,
)
from gptneo_onnx.runtime.generation.strategies.group_beam_search import (
    GroupBeamSearch,
    PromptGroups,
)
from gptneo_onnx.runtime.generation.strategies.sample import sample_tokens
from gptneo_onnx.runtime.generation.strategies.sequences import (
    GeneratedToken,
    GrowingSequence,
    SequenceGroup,
    join,
)
from gptneo_onnx.runtime.generation.streamers import Streamer

Output = Ids | GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput


def check_and_generate(
    engine: Engine, defaults: GenerationConfig, streamer: Streamer | None = None, **kwargs: Any
) -> Output:
    """Check generate()'s arguments and generate; arguments and errors are prepare_call()'s."""
    with ExitStack() as stack:
        if streamer is not None:
            check_streamer(streamer)
            # A failed call must not leave a reader waiting for text.
            stack.callback(streamer.end)
        return generate(prepare_call(engine, defaults, streamer=streamer, **kwargs))


def generate(call: GenerationCall) -> Output:
    """Generate to the end; wait until no other call uses the engines."""
    with exclusive(*call.engines):
        record = call.record()
        if call.config.num_beams > 1:
            return _beam_output(call, _search(call, record), record)
        sequences: dict[int, GrowingSequence] = {}
        steps = generate_steps(call, record)
        if call.streamer is not None:
            call.streamer.put(call.input_ids.copy())
        for step in steps:
            sequences.update({token.row: token.sequence for token in step})
            if call.streamer is not None:
                call.streamer.put(np.array([token.token for token in step], np.int64))
        return _output(call, [sequences[row] for row in sorted(sequences)], record)


def generate_tokens(call: GenerationCall) -> Generator[GeneratedToken, None, None]:
    """Yield every token as soon as it is chosen.

    Other calls wait from the first token on, until the iterator is exhausted or closed. What an
    output would hold (scores, logits, caches) is not kept.

    Raises:
        InputError: the call asks for beams, which are chosen at the end of the search.
    """
    if call.config.num_beams > 1:
        raise InputError(
            f"num_beams is {call.config.num_beams}, and beams are only chosen at the end; use "
            "generate(), or pass num_beams=1"
        )
    return _each_token(call)


def _each_token(call: GenerationCall) -> Generator[GeneratedToken, None, None]:
    with exclusive(*call.engines):
        for step in generate_steps(call, StepRecorder()):
            for token in step:
                yield token
                for engine in call.engines:  # another thread may have asked for the next token
                    engine.enter_thread()


def generate_steps(call: GenerationCall, record: StepRecorder) -> Iterator[list[GeneratedToken]]:
    """Generate without beams; return an iterator of the tokens of each step.

    A step has a token of every unfinished row; with assisted decoding, the tokens of one row that
    were accepted together. The caller has entered the engines.

    Raises:
        InputError: an argument that only the model or a processor can check; before any step.
    """
    decoder = call.decoder()
    sequences = growing_sequences(call)
    if call.is_assisted:
        return _assisted_steps(call, decoder, sequences, record)
    batch = call.batch(decoder, call.prompts, call.repeats)
    return sample_tokens(batch, sequences, call.hooks, record)


def _assisted_steps(
    call: GenerationCall,
    decoder: Decoder,
    sequences: Sequence[GrowingSequence],
    record: StepRecorder,
) -> Iterator[list[GeneratedToken]]:
    records = [record.for_one_sequence() for _ in sequences]
    for prompt, sequence, own_record in zip(call.prompts, sequences, records, strict=True):
        candidates = _candidates(call, prompt, sequence)
        batch = call.batch(decoder, [prompt], 1)
        yield from assisted_tokens(batch, prompt.row, sequence, candidates, call.hooks, own_record)
    record.merge(records)


def growing_sequences(call: GenerationCall) -> list[GrowingSequence]:
    """Return a call's sequences before their first token, prompt by prompt."""
    prompts = [prompt for prompt in call.prompts for _ in range(call.repeats)]
    criteria = call.begin()
    sequences = []
    for prompt, noise in zip(prompts, call.noise(prompts), strict=True):
        processors, warpers = call.chains(prompt)
        sequences.append(
            GrowingSequence(
                ids=prompt.ids[None],
                prompt=call.input_ids[prompt.row],
                prompt_length=len(prompt.ids),
                processors=processors,
                warpers=warpers,
                criteria=criteria,
                max_new_tokens=call.limit_of(prompt),
                noise=noise,
            )
        )
    return sequences


def _candidates(call: GenerationCall, prompt: Prompt, sequence: GrowingSequence) -> Candidates:
    if call.assistant is None:
        return PromptLookup(call.config)
    # Separate chains: some keep state, and the draft's tokens are not the sequence's.
    chains = call.chains(prompt)
    cost = call.assistant.step_cost / call.engine.step_cost
    return DraftModel(call.assistant.decoder(1), call.config, chains, sequence.noise, cost)


def _search(call: GenerationCall, record: StepRecorder) -> Sequence[BeamsOfPrompt]:
    """Run beam search; return each prompt's finished search."""
    decoder = call.decoder()
    search = beam_search(call)
    batch = call.batch(decoder, call.prompts, call.repeats)
    run_search(batch, search, call.config.num_beams, record)
    return search.prompts


def beam_search(call: GenerationCall) -> Search:
    """Return a call's search before its first step."""
    config, hooks = call.config, call.hooks
    beams = _beams(call)
    if config.num_beam_groups > 1:
        groups = [
            PromptGroups(rows, config, call.limit_of(prompt), hooks)
            for prompt, rows in zip(call.prompts, beams, strict=True)
        ]
        return GroupBeamSearch(groups, config, hooks)
    prompts = [
        PromptBeams(rows, config, call.limit_of(prompt), hooks, noise)
        for prompt, rows, noise in zip(call.prompts, beams, call.noise(call.prompts), strict=True)
    ]
    return BeamSearch(prompts, hooks)


def _beams(call: GenerationCall) -> list[SequenceGroup]:
    """Return each prompt's beams before their first token."""
    criteria = call.begin()
    groups = []
    for prompt in call.prompts:
        processors, warpers = call.chains(prompt)
        groups.append(
            SequenceGroup(
                ids=np.repeat(prompt.ids[None], call.config.num_beams, axis=0),
                prompt=call.input_ids[prompt.row],
                prompt_length=len(prompt.ids),
                processors=processors,
                warpers=warpers,
                criteria=criteria,
            )
        )
    return groups


def _output(
    call: GenerationCall, sequences: Sequence[GrowingSequence], record: StepRecorder
) -> Output:
    prompts = np.repeat(call.input_ids, call.repeats, axis=0)
    ids = join(prompts, [sequence.generated for sequence in sequences], call.config.fill_token_id)
    if not call.config.return_dict_in_generate:
        return ids
    saved = None
    if call.saved is not None:
        in_order = tuple(record.saved[row] for row in range(len(sequences)))
        saved = PromptCache(in_order, call.engine.fingerprint)
    return GenerateDecoderOnlyOutput(ids, *_recorded(record), saved)


def _beam_output(
    call: GenerationCall, searches: Sequence[BeamsOfPrompt], record: StepRecorder
) -> Output:
    config = call.config
    prompts = np.repeat(call.input_ids, config.num_return_sequences, axis=0)
    beams = [beam for search in searches for beam in search.results()]
    # transformers takes a pad token of 0 for none here.
    fill = config.fill_token_id or (*config.eos_token_ids, 0)[0]
    ids = join(prompts, [beam.generated for beam in beams], fill)
    if not config.return_dict_in_generate:
        return ids
    longest = max(len(beam.parents) for beam in beams)
    indices = np.full((len(beams), longest), -1, np.int64)
    for row, beam in enumerate(beams):
        first = row // config.num_return_sequences * config.num_beams
        indices[row, : len(beam.parents)] = np.array(beam.parents) + first
    scores = np.array([beam.score for beam in beams], np.float32)
    return GenerateBeamDecoderOnlyOutput(
        ids, scores if config.output_scores else None, *_recorded(record), indices
    )


def _recorded(record: StepRecorder) -> tuple[tuple[Scores, ...] | None, tuple[Scores, ...] | None]:
    """Return the scores and logits of all steps, each None if it was not asked for."""
    return (
        tuple(record.scores) if record.wants_scores else None,
        tuple(record.logits) if record.wants_logits else None,
    )
