"""Prompts that begin like earlier ones: only what is new is read, and every result is the same."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape
from generation_ways import WAYS

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine.row_copies import DeviceRowCopier
from gptneo_onnx.runtime.engine.slot_cache import SlotCache
from gptneo_onnx.runtime.scheduling import PromptEvent, Scheduler, SchedulerSettings, TokenEvent
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixStore
from gptneo_onnx.runtime.scheduling.prompt_cuts import BLOCK, PromptCuts

CHUNK = 32
WINDOWED = Shape(
    layers=("global", "local", "local"),
    hidden_size=128,
    num_heads=2,
    window_size=CHUNK,
    max_position_embeddings=320,
)
BLOCK_BYTES = 2 * 3 * 128 * BLOCK * 4 + BLOCK * 8
FUSED = [("fp32", False), ("w8a8", False), ("int8", True), ("int4", True)]
Load = Callable[..., GPTNeoForCausalLM]


@pytest.fixture
def load(export_shape: Any) -> Load:
    def loaded(
        precision: str = "fp32", batch_invariant: bool = False, graph: str = "fused"
    ) -> GPTNeoForCausalLM:
        directory = export_shape(WINDOWED, precision, graph=graph)
        model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=batch_invariant)
        model.engine.prefill_chunk = CHUNK
        return model

    return loaded


def drawn_prompts(random: np.random.Generator, count: int, longest: int = 280) -> list[list[int]]:
    """Draw prompts most of which begin like an earlier one."""
    prompts: list[list[int]] = []
    for _ in range(count):
        shared: list[int] = []
        if prompts and random.random() < 0.8:
            earlier = prompts[random.integers(len(prompts))]
            shared = earlier[: random.integers(1, len(earlier) + 1)]
        length = int(random.integers(1, longest))
        new = random.integers(0, 301, max(1, length - len(shared))).tolist()
        prompts.append((shared + new)[:longest])
    return prompts


def generated(events: Any) -> list[list[int]]:
    """Collect the tokens of each sequence."""
    sequences: dict[int, list[int]] = {}
    for event in events:
        assert isinstance(event, TokenEvent)
        sequences.setdefault(event.sequence, []).append(event.token)
    return [sequences[row] for row in sorted(sequences)]


def alone(model: GPTNeoForCausalLM, prompt: list[int], **way: Any) -> list[list[int]]:
    """The tokens that generate() gives."""
    rows = model.generate([prompt], eos_token_id=None, **way)
    return [row[len(prompt) :] for row in rows.tolist()]


@pytest.mark.parametrize(("precision", "batch_invariant"), FUSED)
def test_reusing_a_prefix_changes_no_bit(
    load: Load, precision: str, batch_invariant: bool, random: np.random.Generator
) -> None:
    model = load(precision, batch_invariant)
    decoder = model.engine.decoder(slots=3)
    cuts = PromptCuts(CHUNK, CHUNK)
    store = PrefixStore(1 << 30)
    cache, hits = decoder.cache, []
    for prompt in drawn_prompts(random, 80):
        ids = np.array(prompt)
        for slot in (0, 2):
            cache.clear(slot)
        expected = decoder.prefill(0, ids)
        path = store.begin(ids)
        done = cuts.reusable(path.known, len(ids))
        hits.append(done)
        if done:
            path.restore(cache, 2, done)
        while done < len(ids):
            count = int(random.choice(cuts.chunks(done, len(ids))))
            logits = decoder.prefill(2, ids[done : done + count])
            done += count
            path.extend(cache, 2)
        path.close()
        assert (logits == expected).all()
        assert all(map(np.array_equal, cache.read(0), cache.read(2)))
        assert store.begin(ids).known == len(ids) // BLOCK * BLOCK
    assert np.count_nonzero(hits) > 25
    assert max(hits) > 2 * CHUNK


@pytest.mark.parametrize(("precision", "batch_invariant"), FUSED[:3])
def test_requests_that_begin_alike_get_what_generate_gives_alone(
    load: Load, precision: str, batch_invariant: bool, random: np.random.Generator
) -> None:
    model = load(precision, batch_invariant)
    requests: list[tuple[list[int], dict[str, Any]]] = []
    for prompt in drawn_prompts(random, 70):
        way = dict(WAYS[str(random.choice(["greedy", "sampled", "several", "beams", "guidance"]))])
        if "negative_prompt_ids" in way:
            way["negative_prompt_ids"] = [prompt[: random.integers(1, len(prompt) + 1)]]
        requests.append((prompt, {**way, "max_new_tokens": int(random.integers(1, 12))}))
    expected = [alone(model, prompt, **way) for prompt, way in requests]
    bound = 40 * BLOCK_BYTES
    settings = SchedulerSettings(slots=7, max_step_seconds=1e-6, prefix_cache_bytes=bound)
    with Scheduler(model, settings) as scheduler:
        streams = []
        for prompt, way in requests:
            if random.random() < 0.3:
                cancelled = scheduler.submit(input_ids=[prompt + prompt[:9]], max_new_tokens=20)
                time.sleep(random.exponential(0.005))
                cancelled.cancel()
            streams.append(scheduler.submit(input_ids=[prompt], eos_token_id=None, **way))
            assert scheduler.prefixes.stored_bytes <= bound
        results = [generated(stream) for stream in streams]
        statistics = scheduler.prefixes
    assert results == expected
    cached = [stream.statistics.cached_tokens for stream in streams]
    assert np.count_nonzero(cached) > 10
    assert statistics.hits >= np.count_nonzero(cached)
    assert statistics.hit_tokens >= sum(cached)
    assert statistics.evicted_blocks > 20
    assert 20 * BLOCK_BYTES < statistics.stored_bytes <= statistics.max_bytes == bound


def test_only_what_is_new_is_read(load: Load, random: np.random.Generator) -> None:
    model = load()
    prompt = random.integers(0, 301, 200).tolist()
    with Scheduler(model, SchedulerSettings(slots=1)) as scheduler:

        def cached(ids: list[int], **way: Any) -> int:
            stream = scheduler.submit(input_ids=[ids], max_new_tokens=2, **way)
            assert [*stream]
            return stream.statistics.cached_tokens

        assert cached(prompt) == 0
        assert cached(prompt) == 192
        assert cached([*prompt[:170], 1, 2, 3]) == 160
        assert cached([*prompt, *range(100)]) == 192
        assert cached([*prompt, *range(100), 5]) == 288
        assert cached([7, *prompt]) == 0
        assert cached(prompt[:17]) == 0
        assert cached(prompt[:18]) == 16
        statistics = scheduler.prefixes
        assert (statistics.lookups, statistics.hits) == (8, 5)
        assert statistics.hit_tokens == 192 + 160 + 192 + 288 + 16
        assert statistics.lookup_tokens == 200 + 200 + 173 + 300 + 301 + 201 + 17 + 18
        # 18 of the longest, one after its first ten, and the twelve of the text with one before it
        assert statistics.stored_blocks == 18 + 12
        assert statistics.stored_bytes == statistics.stored_blocks * BLOCK_BYTES


def test_eight_and_four_bits_reuse_whole_chunks_past_the_window_unless_any_will_do(
    load: Load, random: np.random.Generator
) -> None:
    model = load("w8a8")
    model.engine.prefill_chunk = 64
    prompt = random.integers(0, 301, 200).tolist()
    cached = {}
    for exact in (True, False):
        with Scheduler(model, SchedulerSettings(slots=1, exact=exact)) as scheduler:
            for _ in range(2):
                stream = scheduler.submit(input_ids=[prompt], max_new_tokens=2)
                assert [*stream]
            cached[exact] = stream.statistics.cached_tokens
    # A chunk of 64 leaves the rows of its last 32 tokens in the windows, unless it is cut.
    assert cached == {True: 64, False: 192}


@pytest.mark.parametrize("graph", ["fused", "portable"])
def test_a_chat_reads_only_its_new_turns(
    load: Load, graph: str, random: np.random.Generator
) -> None:
    model = load(graph=graph)
    settings = SchedulerSettings(slots=2, max_step_seconds=1e-6)
    with Scheduler(model, settings) as scheduler:
        text = random.integers(0, 301, 20).tolist()
        for reply in (40, 3, 90, 25):  # longer than the window of 32, too
            requests = [
                scheduler.submit(input_ids=[text], max_new_tokens=reply, eos_token_id=None, **way)
                for way in ({}, {"do_sample": True, "seed": 1})
            ]
            [expected] = alone(model, text, max_new_tokens=reply)
            [tokens], _ = map(generated, requests)
            assert tokens == expected
            turns = [text + tokens, random.integers(0, 301, 18).tolist()]
            # The last token of a reply is not read until the next turn.
            known = (len(turns[0]) - 1) // BLOCK * BLOCK
            text = [*turns[0], *turns[1]]
            stream = scheduler.submit(input_ids=[text], max_new_tokens=1)
            assert generated(stream) == alone(model, text, max_new_tokens=1)
            assert stream.statistics.cached_tokens == known


def test_eight_and_four_bits_keep_no_generated_tokens(
    load: Load, random: np.random.Generator
) -> None:
    model = load("w8a8")
    text = random.integers(0, 301, 20).tolist()
    for exact, known in ((True, 16), (False, 32)):
        with Scheduler(model, SchedulerSettings(exact=exact)) as scheduler:
            stream = scheduler.submit(input_ids=[text], max_new_tokens=20, eos_token_id=None)
            [tokens] = generated(stream)
            stream = scheduler.submit(input_ids=[text + tokens], max_new_tokens=1)
            assert [*stream]
            assert stream.statistics.cached_tokens == known


def test_prompt_scores_reuse_nothing_and_are_kept(load: Load, random: np.random.Generator) -> None:
    model = load()
    prompt = random.integers(0, 301, 100).tolist()
    with Scheduler(model) as scheduler:
        [without] = scheduler.submit(input_ids=[prompt], max_new_tokens=0, prompt_logprobs=1)
        stream = scheduler.submit(input_ids=[prompt], max_new_tokens=3, prompt_logprobs=1)
        first, *_ = stream
        assert isinstance(first, PromptEvent)
        assert first == without
        assert stream.statistics.cached_tokens == 0
        stream = scheduler.submit(input_ids=[prompt], max_new_tokens=3, eos_token_id=None)
        assert generated(stream) == alone(model, prompt, max_new_tokens=3)
        assert stream.statistics.cached_tokens == 96


def test_nothing_is_kept_without_memory_for_it(load: Load) -> None:
    settings = SchedulerSettings(prefix_cache_bytes=0)
    with Scheduler(load(), settings) as scheduler:
        for _ in range(2):
            stream = scheduler.submit(input_ids=[[*range(50)]], max_new_tokens=2)
            assert [*stream]
            assert stream.statistics.cached_tokens == 0
        assert scheduler.prefixes.lookups == scheduler.prefixes.stored_bytes == 0


def test_portable_graphs_reuse_prefixes(load: Load, random: np.random.Generator) -> None:
    model = load(graph="portable")
    prompts = drawn_prompts(random, 30)
    expected = [alone(model, prompt, max_new_tokens=5) for prompt in prompts]
    with Scheduler(model, SchedulerSettings(slots=3, max_step_seconds=1e-6)) as scheduler:
        streams = [
            scheduler.submit(input_ids=[prompt], max_new_tokens=5, eos_token_id=None)
            for prompt in prompts
        ]
        assert [generated(stream) for stream in streams] == expected
        assert scheduler.prefixes.hits > 5


def test_graphs_without_past_keep_nothing(export_shape: Any) -> None:
    directory = export_shape(WINDOWED, task="text-generation")
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu")
    with Scheduler(model) as scheduler:
        for _ in range(2):
            stream = scheduler.submit(input_ids=[[*range(50)]], max_new_tokens=2)
            assert [*stream]
        assert scheduler.prefixes.lookups == scheduler.prefixes.stored_bytes == 0


@pytest.mark.parametrize("copier", ["numpy", "graph"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_any_prefix_can_be_restored_wherever_the_cache_is(
    load: Load, copier: str, precision: str, random: np.random.Generator
) -> None:
    decoder = load(precision).engine.decoder(slots=2)
    cache = decoder.cache
    assert isinstance(cache, SlotCache)
    if copier == "graph":  # what other devices use
        cache._copier = DeviceRowCopier(decoder.device, cache.host_type)
    ids = random.integers(0, 301, 100)
    store = PrefixStore(1 << 30)
    path = store.begin(ids)
    rows = {}
    for start in range(0, 96, BLOCK):
        decoder.prefill(0, ids[start : start + BLOCK])
        path.extend(cache, 0)
        rows[start + BLOCK] = cache.read(0)
    for length, expected in rows.items():
        path.restore(cache, 1, length)
        assert cache.lengths[1] == length
        assert all(map(np.array_equal, cache.read(1), expected))


def test_rows_that_windows_have_dropped_are_not_stored(
    load: Load, random: np.random.Generator
) -> None:
    decoder = load().engine.decoder(slots=2, prefill_chunk=64)
    ids = random.integers(0, 301, 64)
    store = PrefixStore(1 << 30)
    path = store.begin(ids)
    decoder.prefill(0, ids)
    path.extend(decoder.cache, 0)
    assert path.known == store.statistics.stored_blocks == 0
