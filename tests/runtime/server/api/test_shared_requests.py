"""Requests of many clients at once: each gets what generate() gives alone, cut at its stop text."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from gptneo_onnx.runtime.generation.processors.output_penalties import (
    FrequencyPenaltyLogitsProcessor,
    PresencePenaltyLogitsProcessor,
)
from gptneo_onnx.runtime.server.served_model import ServedModel

TEXTS = ["She was", "Mr. Elliot", "It is a truth universally", "née", "\n\n", "Anne said that"]


def drawn_request(random: np.random.Generator) -> dict[str, Any]:
    """Draw a request's fields."""
    fields: dict[str, Any] = {
        "prompt": str(random.choice(TEXTS)) * int(random.integers(1, 4)),
        "max_tokens": int(random.integers(1, 40)),
        "seed": int(random.integers(100)),
        "return_token_ids": True,
        "stream": bool(random.integers(2)),
        "n": int(random.integers(1, 4)),
    }
    extras: Sequence[dict[str, Any]] = [
        {},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 0},
        {"top_k": 20, "min_p": 0.02},
        {"presence_penalty": 1.1, "frequency_penalty": 0.3},
        {"repetition_penalty": 1.2},
        {"num_beams": 3},
        {"guidance_scale": 1.3, "negative_prompt": "He", "n": 1},
    ]
    fields |= extras[random.integers(len(extras))]
    if random.random() < 0.5:
        fields["stop"] = [str(stop) for stop in random.choice(["e", ", and", ".", " the", "é"], 2)]
    return fields


def expected(tiny: ServedModel, fields: dict[str, Any]) -> list[tuple[str, list[int]]]:
    """Return the texts and tokens of generate(), which knows nothing of servers."""
    ids = tiny.tokenizer.encode(fields["prompt"])
    arguments: dict[str, Any] = {"max_new_tokens": fields["max_tokens"]}
    is_sampled = "num_beams" not in fields and fields.get("temperature") != 0
    if is_sampled:
        arguments |= {"do_sample": True, "seed": fields["seed"], "top_k": fields.get("top_k", 0)}
        for name in ("temperature", "top_p", "min_p"):
            arguments |= {name: fields[name]} if name in fields else {}
    for name in ("repetition_penalty", "num_beams", "guidance_scale"):
        arguments |= {name: fields[name]} if name in fields else {}
    if "negative_prompt" in fields:
        arguments["negative_prompt_ids"] = [tiny.tokenizer.encode(fields["negative_prompt"])]
    if "presence_penalty" in fields:
        arguments["logits_processor"] = [
            PresencePenaltyLogitsProcessor(fields["presence_penalty"], len(ids)),
            FrequencyPenaltyLogitsProcessor(fields["frequency_penalty"], len(ids)),
        ]
    is_single = not is_sampled and "num_beams" not in fields
    rows = tiny.model.generate(
        [ids], num_return_sequences=1 if is_single else fields["n"], **arguments
    )[:, len(ids) :].tolist()
    results = [cut(tiny, row, fields.get("stop", [])) for row in rows]
    return results * fields["n"] if is_single else results


def cut(tiny: ServedModel, row: list[int], stops: Sequence[str]) -> tuple[str, list[int]]:
    """Return a text up to the stop text that is complete first, and the tokens to that place."""
    end = tiny.end_tokens[0]
    row = row[: row.index(end) + 1] if end in row else row
    text = tiny.tokenizer.decode(row, skip_special_tokens=True)
    ends = [(text.index(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    if not ends:
        return text, row
    place, length = min(ends)
    for count in range(1, len(row) + 1):
        shown = tiny.tokenizer.decode(row[:count], skip_special_tokens=True)
        if len(shown.rstrip("\ufffd")) >= place:
            return text[: place + length], row[:count]
    raise AssertionError("the stop text is in no beginning")


def answered(http: httpx.Client, fields: dict[str, Any]) -> list[tuple[str, list[int]]]:
    """Return what the server answers."""
    import json

    response = http.post("/v1/completions", json=fields)
    assert response.status_code == 200, response.text
    results: list[tuple[str, list[int]]] = [("", []) for _ in range(fields["n"])]
    bodies = [response.text]
    if fields["stream"]:
        bodies = [
            line.removeprefix("data: ")
            for line in response.text.split("\n\n")
            if line.startswith("data: {")
        ]
    for choice in (choice for body in bodies for choice in json.loads(body)["choices"]):
        text, ids = results[choice["index"]]
        results[choice["index"]] = (text + choice["text"], ids + choice["token_ids"])
    return results


@pytest.mark.slow
def test_each_client_gets_what_generate_gives_alone(
    http: httpx.Client, tiny: ServedModel, random: np.random.Generator
) -> None:
    requests = [drawn_request(random) for _ in range(150)]
    alone = [expected(tiny, fields) for fields in requests]
    with ThreadPoolExecutor(12) as pool:
        shared = [*pool.map(lambda fields: answered(http, fields), requests)]
    for fields, own, one in zip(requests, shared, alone, strict=True):
        assert own == one, fields
