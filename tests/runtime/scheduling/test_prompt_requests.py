"""Requests that only read a prompt: vectors as feature-extraction gives them, scores of tokens."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer, pipeline
from gptneo_onnx.runtime.evaluation.scoring import score
from gptneo_onnx.runtime.evaluation.windows import Window
from gptneo_onnx.runtime.scheduling import (
    AsyncEngine,
    RequestTimeoutError,
    Scheduler,
    SchedulerClosedError,
    SchedulerSettings,
)

TEXTS = [
    "x",
    "She was",
    "It is a truth universally acknowledged, that a single man in possession of a good fortune",
    "Emma Woodhouse, handsome, clever, and rich, " * 25,
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("embedded") / "export"
    return export_model(EMBEDDED_CHECKPOINT, out, graph=("fused", "portable"), hidden_states=[-1])


@pytest.fixture(scope="module", params=["model.onnx", "portable.onnx"])
def model(request: Any, directory: Path) -> GPTNeoForCausalLM:
    return GPTNeoForCausalLM.from_pretrained(directory, "cpu", file_name=request.param)


@pytest.fixture(scope="module")
def texts(directory: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_pretrained(directory)
    return [tokenizer.encode(text) for text in TEXTS]


@pytest.fixture
def busy(model: GPTNeoForCausalLM) -> Iterator[Scheduler]:
    """A scheduler that generates, and may read 16 tokens between two steps."""
    settings = SchedulerSettings(slots=2, max_step_seconds=1e-6)
    with Scheduler(model, settings) as scheduler:
        scheduler.submit(input_ids=[[5, 6, 7]], max_new_tokens=500, eos_token_id=None)
        yield scheduler


@pytest.mark.parametrize(("pooling", "name"), [("mean", "mean"), ("last", "last_token")])
def test_vectors_are_those_of_feature_extraction(
    model: GPTNeoForCausalLM,
    directory: Path,
    texts: list[list[int]],
    busy: Scheduler,
    pooling: Any,
    name: str,
) -> None:
    futures = [busy.embed(ids, pooling=pooling) for ids in texts]
    vectors = [future.result() for future in futures]
    busy.close()
    extractor = pipeline("feature-extraction", model, Tokenizer.from_pretrained(directory))
    for text, vector in zip(TEXTS, vectors, strict=True):
        expected = extractor(text, pooling=name, return_tensors=True)
        assert vector.dtype == np.float32
        assert vector.shape == expected.shape
        assert np.abs(vector - expected).max() < 1e-5 * np.abs(expected).max()


def test_scores_are_those_of_evaluation(
    model: GPTNeoForCausalLM, texts: list[list[int]], busy: Scheduler
) -> None:
    futures = [busy.score(ids, top=2) for ids in texts]
    all_scores = [future.result() for future in futures]
    busy.close()
    decoder = model.engine.decoder(slots=1)
    for ids, scores in zip(texts, all_scores, strict=True):
        assert scores[0] is None
        assert [each.token for each in scores[1:]] == ids[1:]
        if len(ids) == 1:
            continue
        window = Window(np.array(ids[:1]), np.array(ids[1:]))
        [(_, expected)] = score(decoder, [window])
        logprobs = [each.logprob for each in scores[1:]]
        assert logprobs == pytest.approx(expected.log_likelihoods, abs=1e-4)
        assert [each.rank == 1 for each in scores[1:]] == expected.is_greedy.tolist()
        for each in scores[1:]:
            assert len(each.top) == 2
            assert each.top[0][1] >= each.top[1][1]
            assert (each.top[0][0] == each.token) == (each.rank == 1)


def test_vectors_and_scores_can_be_awaited(
    model: GPTNeoForCausalLM, texts: list[list[int]]
) -> None:
    async def read() -> tuple[Any, ...]:
        async with AsyncEngine(model) as engine:
            return await asyncio.gather(engine.embed(texts[1]), engine.score(texts[1]))

    vector, scores = asyncio.run(read())
    with Scheduler(model) as scheduler:
        assert (scheduler.embed(texts[1]).result() == vector).all()
        assert scheduler.score(texts[1]).result() == scores
        events = [*scheduler.submit(input_ids=[texts[1]], max_new_tokens=0, prompt_logprobs=0)]
    assert [event.scores for event in events] == [scores]


def test_cancelling_ends_the_reading(busy: Scheduler, texts: list[list[int]]) -> None:
    futures = [busy.embed(texts[-1]) for _ in range(8)]
    assert futures[0].cancel()
    assert all(future.cancel() for future in futures[2:])
    assert futures[1].result().ndim == 1
    with pytest.raises(CancelledError):
        futures[0].result()
    assert busy.waiting == 0


def test_a_task_that_is_cancelled_ends_the_reading(
    model: GPTNeoForCausalLM, texts: list[list[int]]
) -> None:
    async def read() -> int:
        async with AsyncEngine(model, SchedulerSettings(slots=1)) as engine:
            tasks = [asyncio.create_task(engine.embed(texts[-1])) for _ in range(8)]
            await asyncio.sleep(0)
            for task in tasks[:-1]:
                task.cancel()
            vector = await tasks[-1]
            assert vector.ndim == 1
            return engine.scheduler.waiting

    assert asyncio.run(read()) == 0


def test_what_is_late_or_closed_fails_as_requests_do(
    model: GPTNeoForCausalLM, texts: list[list[int]]
) -> None:
    settings = SchedulerSettings(slots=1, max_step_seconds=1e-6)
    scheduler = Scheduler(model, settings)
    scheduler.submit(input_ids=[[5, 6, 7]], max_new_tokens=500, eos_token_id=None)
    late = scheduler.embed(texts[-1], timeout=1e-9)
    with pytest.raises(RequestTimeoutError):
        late.result()
    futures = [scheduler.embed(texts[-1]) for _ in range(50)]
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    with pytest.raises(SchedulerClosedError, match="was closed before"):
        futures[-1].result()
    closing.join()
    with pytest.raises(SchedulerClosedError, match="takes no more"):
        scheduler.embed(texts[0])


@pytest.mark.parametrize(
    ("ids", "pooling", "message"),
    [
        ([], "mean", "no tokens|empty"),
        ([99999999], "mean", "99999999"),
        ([1] * 5000, "mean", "5000 tokens"),
        ([1], "cls", "pooling is 'cls'; one of mean, last is allowed"),
    ],
)
def test_bad_input_is_refused(
    model: GPTNeoForCausalLM, ids: list[int], pooling: Any, message: str
) -> None:
    with Scheduler(model) as scheduler, pytest.raises(InputError, match=message):
        scheduler.embed(ids, pooling=pooling)


def test_a_graph_without_hidden_states_says_how_to_export_it(export_shape: Any) -> None:
    directory = export_shape(Shape(), graph="portable")
    model = GPTNeoForCausalLM.from_pretrained(directory, "cpu")
    with Scheduler(model) as scheduler, pytest.raises(InputError, match="--hidden-states"):
        scheduler.embed([1, 2, 3])
