"""Requests whose results are known: each with what generate() gives alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from serving.workload import draw_work, single_token_words

from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

NEGATIVE = " He was"
# Half of the prompts begin with one of this many texts, each this long.
BEGINNINGS, BEGINNING_TOKENS = 3, 60
_ALL = {"top_k": 0, "top_p": 1.0}
# Ways of generating: a request's fields, and the arguments of generate() that are the same.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "greedy": ({"temperature": 0}, {"do_sample": False}),
    "sampled": ({"temperature": 0.9, "top_p": 0.9}, {"temperature": 0.9, "top_p": 0.9, "top_k": 0}),
    "scored": ({"logprobs": 3, **_ALL}, _ALL),
    "few choices": (
        {"temperature": 1.1, "top_k": 20, "repetition_penalty": 1.2},
        {"temperature": 1.1, "top_k": 20, "top_p": 1.0, "repetition_penalty": 1.2},
    ),
    "two results": ({"n": 2}, {"num_return_sequences": 2, **_ALL}),
    "beams": ({"num_beams": 3}, {"num_beams": 3, "do_sample": False}),
    "guided": (
        {"guidance_scale": 1.5, "negative_prompt": NEGATIVE},
        {"guidance_scale": 1.5, **_ALL},
    ),
    "no repeats": (
        {"no_repeat_ngram_size": 2, "ignore_eos": True},
        {"no_repeat_ngram_size": 2, **_ALL},
    ),
}


@dataclass(frozen=True)
class Job:
    """A request, and the tokens of each of its results."""

    way: str
    fields: dict[str, Any]
    expected: dict[int, list[int]]


def drawn_jobs(directory: Path, count: int, seed: int) -> list[Job]:
    """Draw requests of every way with short and long prompts, and generate their results alone."""
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    tokenizer = Tokenizer.from_pretrained(directory)
    words = single_token_words(directory)
    longest = model.config.max_position_embeddings
    work = draw_work(words, count, seed, (1, longest // 2), (1, longest // 8))
    random = np.random.default_rng(seed)
    beginnings = ["".join(random.choice(words, BEGINNING_TOKENS)) for _ in range(BEGINNINGS)]
    jobs = []
    for each, way in zip(work, _in_turn(), strict=False):
        fields, arguments = (dict(part) for part in WAYS[way])
        if arguments.setdefault("do_sample", True):
            fields["seed"] = arguments["seed"] = int(random.integers(2**32))
        if "negative_prompt" in fields:
            arguments["negative_prompt_ids"] = [tokenizer.encode(NEGATIVE)]
        if fields.get("ignore_eos"):
            arguments["eos_token_id"] = None
        prompt = each.prompt
        if random.random() < 0.5:
            prompt = str(random.choice(beginnings)) + prompt
        ids = tokenizer.encode(prompt)
        rows = model.generate([ids], max_new_tokens=each.max_tokens, **arguments)[:, len(ids) :]
        ends = () if fields.get("ignore_eos") else model.generation_config.eos_token_ids
        expected = {row: _ended(tokens, ends) for row, tokens in enumerate(rows.tolist())}
        fields |= {"prompt": prompt, "max_tokens": each.max_tokens, "return_token_ids": True}
        jobs.append(Job(way, fields, expected))
    return jobs


def _in_turn() -> Iterator[str]:
    while True:
        yield from WAYS


def _ended(tokens: list[int], ends: Any) -> list[int]:
    """Return tokens up to the first that ends a text."""
    end = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: end + 1]
