"""Requests that share steps get what generate() gives each of them alone, token for token."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape
from drawn_requests import alone, drawn_request, is_a_beginning, results, served
from generation_ways import WAYS
from refusals import refused

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, StructuredOutput, Tokenizer
from gptneo_onnx.runtime.scheduling import Outcome, Scheduler, SchedulerSettings

# The window is passed by prompts and by what follows them.
WINDOWED = Shape(hidden_size=64, layers=("global", "local", "local"))
FOREIGN = Path(__file__).parents[2] / "golden" / "optimum"
OTHER_TASKS = ("2.1-features", "2.1-features-with-past", "2.1-text-classification")


def check(
    model: GPTNeoForCausalLM, random: np.random.Generator, count: int, **settings: Any
) -> None:
    """Serve drawn requests, and compare each with what generate() gives alone."""

    def other() -> dict[str, Any]:
        return drawn_request(random, model.config.vocab_size)

    requests = [other() for _ in range(count)]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(**settings)) as scheduler:
        shared = served(scheduler, requests, random, other)
    for request, ours, theirs in zip(requests, shared, expected, strict=True):
        assert ours == theirs, request


@pytest.mark.parametrize("precision", ["fp32", "w8a8", "int8", "int4"])
@pytest.mark.parametrize(("slots", "bound"), [(4, 1e-6), (7, 0.01), (16, 1.0)])
def test_whoever_shares_the_steps(
    export_shape: Any, precision: str, slots: int, bound: float, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    model.engine.prefill_chunk = 8  # several chunks, and last ones of a single token
    check(model, random, 60, slots=slots, max_step_seconds=bound)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_prompts_that_end_in_a_chunk_of_one_token(
    export_shape: Any, precision: str, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    model.engine.prefill_chunk = 8
    requests = [
        {"input_ids": [random.integers(0, 301, length).tolist()], "max_new_tokens": 12}
        for length in [1, 9, 17, 33] * 4
    ]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=4)) as scheduler:
        streams = [scheduler.submit(**request) for request in requests]
        assert [results(stream) for stream in streams] == expected


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_a_chunk_size_that_scheduler_and_generate_share(
    export_shape: Any, precision: str, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    requests = [
        {**drawn_request(random, 301), "prefill_chunk_size": int(random.integers(1, 12))}
        for _ in range(20)
    ]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=8, prefill_chunk=5)) as scheduler:
        streams = [scheduler.submit(**request) for request in requests]
        assert [results(stream) for stream in streams] == expected
        chunked = [{**request, "prefill_chunk_size": 5} for request in requests]
        [request.pop("prefill_chunk_size") for request in requests]
        streams = [scheduler.submit(**request) for request in requests]
        shared = [results(stream) for stream in streams]
    assert shared == [alone(model, request) for request in chunked]


def test_a_portable_graph(export_shape: Any, random: np.random.Generator) -> None:
    model = GPTNeoForCausalLM.from_pretrained(export_shape(WINDOWED, graph="portable"), "cpu")
    check(model, random, 40, slots=7)


@pytest.mark.parametrize("name", sorted({path.name for path in FOREIGN.iterdir()} - {*OTHER_TASKS}))
def test_a_graph_that_optimum_wrote(name: str, random: np.random.Generator) -> None:
    """With a past in one file or two, with positions or without, or without any past."""
    model = GPTNeoForCausalLM.from_pretrained(FOREIGN / name, "cpu")
    longest = model.config.max_position_embeddings - 20
    ways = {key: way for key, way in WAYS.items() if key != "prompt lookup"}
    requests = [
        drawn_request(random, model.config.vocab_size, ways, min(longest, 20)) for _ in range(20)
    ]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=7)) as scheduler:
        streams = [scheduler.submit(**request) for request in requests]
        assert [results(stream) for stream in streams] == expected


def test_texts_with_stop_strings_and_grammars(
    embedded_export: Path, random: np.random.Generator
) -> None:
    model = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu", batch_invariant=True)
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    shared_processor = StructuredOutput.from_regex(tokenizer, "[a-z ]{5,40}")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    ways: dict[str, dict[str, Any]] = {
        "stop strings": {"stop_strings": ["e ", "."], "tokenizer": tokenizer},
        "grammars": {"logits_processor": [shared_processor]},
        "sampled grammars": {"logits_processor": [shared_processor], "do_sample": True},
        "beams in a grammar": {"logits_processor": [shared_processor], "num_beams": 3},
        "JSON": {"logits_processor": [StructuredOutput.from_json_schema(tokenizer, schema)]},
    }
    requests = []
    for _ in range(40):
        way = dict(ways[str(random.choice([*ways]))])
        if way.get("do_sample"):
            way["seed"] = int(random.integers(100))
        prompt = tokenizer.encode(" ".join(random.choice(["she", "was", "the", "of"], 5)))
        requests.append({"input_ids": [prompt], "max_new_tokens": 24, **way})
    end = tokenizer.eos_token_id
    for request in requests:
        request["eos_token_id"] = [end]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=8)) as scheduler:
        streams = [scheduler.submit(**request) for request in requests]
        for request, stream, theirs in zip(requests, streams, expected, strict=True):
            assert results(stream) == theirs, request


def test_what_a_cancelled_or_late_request_has_is_the_beginning(
    export_shape: Any, random: np.random.Generator
) -> None:
    model = GPTNeoForCausalLM.from_pretrained(export_shape(WINDOWED), "cpu", batch_invariant=True)
    ways = {name: way for name, way in WAYS.items() if "num_beams" not in way}
    requests = [drawn_request(random, 301, ways, most=24) for _ in range(40)]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=6)) as scheduler:
        streams = [
            scheduler.submit(**request, timeout=float(random.exponential(0.05)) + 1e-3)
            for request in requests
        ]
        for stream in streams[::3]:
            stream.cancel()
        for stream, whole in zip(streams, expected, strict=True):
            assert is_a_beginning(stream, whole)
        outcomes = scheduler.statistics.requests
    assert outcomes[Outcome.CANCELLED] + outcomes[Outcome.TIMED_OUT] > 0
    assert outcomes[Outcome.FAILED] == 0


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_drafts_for_a_request_that_is_alone_change_no_token(
    export_shape: Any, precision: str, random: np.random.Generator
) -> None:
    directory = export_shape(WINDOWED, precision)
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    requests = [drawn_request(random, 301, longest=16, most=32) for _ in range(30)]
    for request in requests:
        request["input_ids"][0] *= 2  # so that something can be looked up
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=6, draft_tokens=4)) as scheduler:
        one_by_one = [results(scheduler.submit(**request)) for request in requests]
        assert one_by_one == expected
        found = scheduler.statistics
        assert found.drafted_tokens >= found.accepted_tokens > 0
        # Drafts begin and end as others come and go.
        streams = [scheduler.submit(**request) for request in requests]
        assert [results(stream) for stream in streams] == expected


def test_a_draft_model_changes_no_token(export_shape: Any, random: np.random.Generator) -> None:
    directory = export_shape(WINDOWED, ["fp32", "int8"])
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu", batch_invariant=True)
    requests = [drawn_request(random, 301, longest=20, most=30) for _ in range(20)]
    expected = [alone(model, request) for request in requests]
    with Scheduler(model, SchedulerSettings(slots=6, draft="int8")) as scheduler:
        one_by_one = [results(scheduler.submit(**request)) for request in requests]
        assert one_by_one == expected
        assert scheduler.statistics.accepted_tokens > 0
        streams = [scheduler.submit(**request) for request in requests]
        assert [results(stream) for stream in streams] == expected


def test_a_draft_model_that_fails_is_done_without(
    export_shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = export_shape(WINDOWED, ["fp32", "int8"])
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu")
    request = {"input_ids": [[1, 2, 3]], "max_new_tokens": 20}
    expected = alone(model, request)
    with Scheduler(model, SchedulerSettings(slots=2, draft="int8")) as scheduler:
        monkeypatch.setattr(model.engine.twin("int8").decoder(1), "prefill", lambda *_: 1 / 0)
        assert results(scheduler.submit(**request)) == expected
        assert scheduler.statistics.drafted_tokens == 0


def test_a_draft_model_needs_the_same_vocabulary(export_shape: Any, embedded_export: Path) -> None:
    model = GPTNeoForCausalLM.from_pretrained(export_shape(), "cpu")
    other = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu")
    with refused(InputError, "draft has a vocabulary of 4096 tokens and the model one of 301"):
        Scheduler(model, SchedulerSettings(draft=other))
    with refused(InputError, "draft is 3; a model loaded with"):
        Scheduler(model, SchedulerSettings(draft=3))
