"""Draws requests for a scheduler, and compares what they get with what generate() gives alone."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from generation_ways import WAYS

from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import (
    RequestTimeoutError,
    Scheduler,
    TokenEvent,
    TokenStream,
)

Request = dict[str, Any]


def odd_tokens_are_unlikely(ids: Any, scores: Any) -> Any:
    """A caller's processor."""
    scores[:, 1::2] -= 2
    return scores


def ends_after_the_same_token_twice(ids: Any, scores: Any) -> Any:
    """A caller's criterion."""
    return ids[:, -1] == ids[:, -2]


MORE_WAYS: dict[str, Request] = {
    "the whole distribution": {"do_sample": True, "top_k": 0},
    "top_p": {"do_sample": True, "top_k": 0, "top_p": 0.9, "temperature": 0.8},
    "top_k and top_p": {"do_sample": True, "top_k": 30, "top_p": 0.8, "temperature": 1.3},
    "min_p": {"do_sample": True, "top_k": 0, "min_p": 0.1},
    "all of them": {"do_sample": True, "top_k": 60, "top_p": 0.95, "min_p": 0.02},
    "typical_p": {"do_sample": True, "typical_p": 0.8},
    "a few cutoffs": {"do_sample": True, "epsilon_cutoff": 1e-3, "eta_cutoff": 2e-3},
    "no early end": {"eos_token_id": [*range(1, 60)], "min_new_tokens": 5},
    "a processor": {"logits_processor": [odd_tokens_are_unlikely], "num_return_sequences": 2}
    | {"do_sample": True},
    "a criterion": {"stopping_criteria": [ends_after_the_same_token_twice]},
    "guided samples": {"guidance_scale": 2.0, "negative_prompt_ids": [], "do_sample": True}
    | {"num_return_sequences": 2, "eos_token_id": [*range(1, 40)]},
    "samples that end": {"do_sample": True, "num_return_sequences": 4}
    | {"eos_token_id": [*range(1, 60)]},
}


def drawn_request(
    random: np.random.Generator,
    vocab: int,
    ways: dict[str, Request] | None = None,
    longest: int = 40,
    most: int = 20,
) -> Request:
    """Draw a way of generating, a prompt and a length."""
    ways = ways or {**WAYS, **MORE_WAYS}
    way = dict(ways[str(random.choice([*ways]))])
    ids = random.integers(0, vocab, random.integers(1, longest)).tolist()
    if "negative_prompt_ids" in way:
        negative = random.integers(0, vocab, random.integers(1, 20)).tolist()
        way["negative_prompt_ids"] = [negative]
    if way.get("do_sample"):
        way["seed"] = int(random.integers(1000))
    return {"input_ids": [ids], "max_new_tokens": int(random.integers(1, most)), **way}


def results(stream: TokenStream) -> list[list[int]]:
    """Collect the tokens of each sequence of a stream."""
    sequences: dict[int, list[int]] = {}
    for event in stream:
        assert isinstance(event, TokenEvent)
        sequences.setdefault(event.sequence, []).append(event.token)
    return [sequences[row] for row in sorted(sequences)]


def alone(model: GPTNeoForCausalLM, request: Request) -> list[list[int]]:
    """What generate() gives alone, without what fills shorter results up."""
    width = len(request["input_ids"][0])
    rows = []
    for row in model.generate(**request)[:, width:].tolist():
        ends = request.get("eos_token_id", [model.generation_config.eos_token_id]) or []
        end = next((i for i, token in enumerate(row) if token in ends), len(row))
        rows.append(row[: end + 1])
    return rows


def served(
    scheduler: Scheduler,
    requests: Sequence[Request],
    random: np.random.Generator,
    other: Callable[[], Request],
    pause: float = 0.002,
) -> list[list[list[int]]]:
    """Return the results of requests that come at random, among others that do not live to the end.

    Some of those are cancelled at once, some after a while, some are late.
    """
    streams, others = [], []
    for request in requests:
        streams.append(scheduler.submit(**request))
        fate = random.random()
        if fate < 0.1:
            scheduler.submit(**other()).cancel()
        elif fate < 0.2:
            scheduler.submit(**other(), timeout=float(random.exponential(0.02)) + 1e-6)
        elif fate < 0.4:
            others.append(scheduler.submit(**other()))
        if others and random.random() < 0.3:
            others.pop(int(random.integers(len(others)))).cancel()
        time.sleep(random.exponential(pause))
    shared = [results(stream) for stream in streams]
    for stream in others:
        stream.cancel()
    return shared


def is_a_beginning(stream: TokenStream, whole: list[list[int]]) -> bool:
    """Tell whether what an ended stream has is the beginning of the results, row by row."""
    got: dict[int, list[int]] = {}
    try:
        for event in stream:
            assert isinstance(event, TokenEvent)
            got.setdefault(event.sequence, []).append(event.token)
    except RequestTimeoutError:
        pass
    return all(whole[row][: len(tokens)] == tokens for row, tokens in got.items())
