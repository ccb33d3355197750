"""Requests that share steps: each gets what generate() gives alone, whenever the others come."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape
from generation_ways import WAYS

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import (
    Scheduler,
    SchedulerClosedError,
    SchedulerSettings,
    TokenEvent,
    TokenStream,
)

WINDOWED = Shape()


def drawn_request(random: np.random.Generator, vocab: int) -> dict[str, Any]:
    """Draw a way of generating, a prompt and a length."""
    way = dict(WAYS[str(random.choice([*WAYS]))])
    ids = random.integers(0, vocab, random.integers(1, 40)).tolist()
    if "negative_prompt_ids" in way:
        way["negative_prompt_ids"] = [random.integers(0, vocab, 5).tolist()]
    if way.get("do_sample"):
        way["seed"] = int(random.integers(1000))
    return {"input_ids": [ids], "max_new_tokens": int(random.integers(1, 20)), **way}


def results(stream: TokenStream) -> list[list[int]]:
    """Collect the tokens of each sequence of a stream."""
    sequences: dict[int, list[int]] = {}
    for event in stream:
        assert isinstance(event, TokenEvent)
        sequences.setdefault(event.sequence, []).append(event.token)
    return [sequences[row] for row in sorted(sequences)]


def expected(model: GPTNeoForCausalLM, request: dict[str, Any]) -> list[list[int]]:
    """What generate() gives alone, without what fills shorter results up."""
    limit = request["max_new_tokens"]
    width = len(request["input_ids"][0])
    ends = request.get("eos_token_id") or []
    rows = []
    for row in model.generate(**request)[:, width:].tolist():
        end = next((i for i, token in enumerate(row) if token in ends), limit)
        rows.append(row[: end + 1])
    return rows


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_each_request_gets_what_generate_gives_alone(
    export_shape: Any, precision: str, random: np.random.Generator
) -> None:
    directory: Path = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    requests = [drawn_request(random, model.config.vocab_size) for _ in range(60)]
    alone = [expected(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=7, max_step_seconds=1e-6)) as scheduler:
        streams = []
        for request in requests:
            streams.append(scheduler.submit(**request))
            if random.random() < 0.3:
                scheduler.submit(**drawn_request(random, model.config.vocab_size)).cancel()
            time.sleep(random.exponential(0.002))
        shared = [results(stream) for stream in streams]
    assert shared == alone


def test_a_scheduler_that_is_closed_ends_what_runs(export_shape: Any) -> None:
    model = GPTNeoForCausalLM.from_pretrained(export_shape(), "cpu")
    before = threading.active_count()
    scheduler = Scheduler(model)
    stream = scheduler.submit(input_ids=[[1, 2, 3]], max_new_tokens=30)
    next(iter(stream))
    scheduler.close()
    assert threading.active_count() == before
    with pytest.raises(SchedulerClosedError, match="closed before the request was finished"):
        results(stream)
