"""What fails, is cancelled or late ends by itself: the others get what they would have got."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape
from drawn_requests import alone, drawn_request, results
from refusals import check_message, refused

from gptneo_onnx.models.errors import DeviceError, InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import (
    AsyncEngine,
    Outcome,
    QueueFullError,
    RequestStatistics,
    RequestTimeoutError,
    Scheduler,
    SchedulerClosedError,
    SchedulerSettings,
    TokenEvent,
)
from gptneo_onnx.runtime.scheduling.request import RequestOptions

LONG = {"input_ids": [[1, 2, 3]], "max_new_tokens": 60, "eos_token_id": None}
SHORT = {"input_ids": [[4, 5, 6]], "max_new_tokens": 4, "eos_token_id": None}


@pytest.fixture
def model(export_shape: Any) -> GPTNeoForCausalLM:
    return GPTNeoForCausalLM.from_pretrained(export_shape(Shape()), "cpu", batch_invariant=True)


@pytest.fixture
def finished() -> list[RequestStatistics]:
    """The statistics of requests that have ended, in that order."""
    return []


@pytest.fixture
def scheduler(model: GPTNeoForCausalLM, finished: list[RequestStatistics]) -> Iterator[Scheduler]:
    settings = SchedulerSettings(slots=4, max_step_seconds=1e-6, prefill_chunk=16)
    with Scheduler(model, settings, on_finish=finished.append) as scheduler:
        yield scheduler


class Gate:
    """A caller's processor that holds up the scheduler's thread until it is opened."""

    def __init__(self) -> None:
        self.is_reached, self._is_open = threading.Event(), threading.Event()

    def __call__(self, ids: Any, scores: Any) -> Any:
        self.is_reached.set()
        assert self._is_open.wait(60)
        return scores

    def open(self) -> None:
        self._is_open.set()


class RaisesAt:
    """A caller's processor that raises at a step."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def __call__(self, ids: Any, scores: Any) -> Any:
        self.step -= 1
        if self.step < 0:
            raise self.error
        return scores


# --- failures


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("step", [0, 3])
def test_a_processor_that_raises_ends_its_request_alone(
    model: GPTNeoForCausalLM, scheduler: Scheduler, error: BaseException, step: int
) -> None:
    whole = alone(model, LONG)
    other = scheduler.submit(**LONG)
    failing = scheduler.submit(**LONG, logits_processor=[RaisesAt(step, error)])
    with pytest.raises(type(error)) as caught:
        results(failing)
    assert caught.value is error
    assert results(other) == whole
    assert results(scheduler.submit(**LONG)) == whole
    assert scheduler.statistics.requests[Outcome.FAILED] == 1
    assert scheduler.slots_in_use == 0


def test_no_token_with_a_probability_ends_a_request_alone(
    model: GPTNeoForCausalLM, scheduler: Scheduler
) -> None:
    def nothing_is_allowed(ids: Any, scores: Any) -> Any:
        return np.full_like(scores, -np.inf) if ids.shape[1] > 5 else scores

    other = scheduler.submit(**LONG)
    failing = scheduler.submit(
        **LONG, do_sample=True, seed=1, logits_processor=[nothing_is_allowed]
    )
    with pytest.raises(InputError, match="a score is -inf|no token has a probability") as caught:
        results(failing)
    check_message(caught.value)
    assert results(other) == alone(model, LONG)


def test_logits_that_are_no_numbers_end_only_the_request_that_they_are_of(
    model: GPTNeoForCausalLM, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = model.engine.decoder(1)
    decode = type(decoder).decode

    def with_a_broken_row(self: Any, tokens: Any, active: Any) -> Any:
        logits = decode(self, tokens, active)
        if len(tokens) > 1:
            logits[1] = np.nan
        return logits

    whole = alone(model, LONG)
    monkeypatch.setattr(type(decoder), "decode", with_a_broken_row)
    gate = Gate()
    first = scheduler.submit(**LONG, logits_processor=[gate])
    second = scheduler.submit(**LONG)
    gate.open()
    with pytest.raises(ModelFileError, match="not finite"):
        results(second)
    assert results(first) == whole


def test_a_step_that_fails_ends_what_was_in_it_and_no_more(
    model: GPTNeoForCausalLM, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = model.engine.decoder(1)
    decode = type(decoder).decode
    failures = [DeviceError("a step of 2 sequences failed on cpu")]

    def fails_once(self: Any, tokens: Any, active: Any) -> Any:
        if active.sum() > 1 and failures:
            raise failures.pop()
        return decode(self, tokens, active)

    monkeypatch.setattr(type(decoder), "decode", fails_once)
    gate = Gate()
    streams = [scheduler.submit(**LONG, logits_processor=[gate]), scheduler.submit(**LONG)]
    gate.open()
    for stream in streams:
        with pytest.raises(DeviceError, match="a step of 2 sequences failed"):
            results(stream)
    monkeypatch.undo()
    assert results(scheduler.submit(**LONG)) == alone(model, LONG)


def test_a_prompt_that_cannot_be_read_ends_its_request_alone(
    model: GPTNeoForCausalLM, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scheduler.submit(**LONG)
    decoder = model.engine.decoder(1)
    chunks = type(decoder).prefill_chunks

    def fails_for_some(self: Any, slot: int, ids: Any, *more: Any, **named: Any) -> Any:
        if 299 in ids:
            raise DeviceError("a step of 1 sequences failed on cpu")
        return chunks(self, slot, ids, *more, **named)

    monkeypatch.setattr(type(decoder), "prefill_chunks", fails_for_some)
    failing = scheduler.submit(input_ids=[[1, 299, 2]], max_new_tokens=3)
    with pytest.raises(DeviceError):
        results(failing)
    assert results(other) == alone(model, LONG)


def test_a_scheduler_whose_thread_dies_says_so(
    model: GPTNeoForCausalLM, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    running = scheduler.submit(**LONG, logits_processor=[gate])
    assert gate.is_reached.wait(60)
    waiting = [scheduler.submit(**LONG) for _ in range(6)]
    monkeypatch.setattr(type(scheduler._turns), "take", lambda *_: 1 / 0)
    gate.open()
    for stream in (running, *waiting):
        with pytest.raises(ZeroDivisionError):
            results(stream)
    scheduler._thread.join(60)
    with refused(SchedulerClosedError, "ended by an error: division by zero; make another one"):
        scheduler.submit(**SHORT)
    scheduler.close()
    monkeypatch.undo()
    with Scheduler(model) as another:
        assert results(another.submit(**SHORT)) == alone(model, SHORT)


def test_a_delivery_that_raises_cancels_its_request_alone(
    model: GPTNeoForCausalLM, scheduler: Scheduler, finished: list[RequestStatistics]
) -> None:
    def broken(delivery: Any) -> None:
        raise OSError("the reader is gone")

    other = scheduler.submit(**LONG)
    scheduler.submit_to(broken, RequestOptions(), **LONG)
    assert results(other) == alone(model, LONG)
    assert results(scheduler.submit(**SHORT)) == alone(model, SHORT)
    assert [each.outcome for each in finished].count(Outcome.CANCELLED) == 1


def test_an_observer_that_raises_ends_nothing(model: GPTNeoForCausalLM) -> None:
    def broken(statistics: RequestStatistics) -> None:
        raise ValueError(statistics)

    with Scheduler(model, on_finish=broken) as scheduler:
        for _ in range(2):
            assert results(scheduler.submit(**SHORT)) == alone(model, SHORT)


# --- cancelled, late


def test_requests_are_cancelled_while_they_wait_are_read_or_run(
    model: GPTNeoForCausalLM, scheduler: Scheduler, finished: list[RequestStatistics]
) -> None:
    gate = Gate()
    running = [
        scheduler.submit(**LONG, num_beams=4, logits_processor=[gate]),  # all slots
        scheduler.submit(**SHORT),  # is read meanwhile
        *(scheduler.submit(**SHORT) for _ in range(3)),
    ]
    assert gate.is_reached.wait(60)
    last = scheduler.submit(**SHORT)
    for stream in running:
        stream.cancel()
    gate.open()
    for stream in running:
        assert results(stream) == []
    assert results(last) == alone(model, SHORT)
    assert [each.outcome for each in finished] == [Outcome.CANCELLED] * 5 + [Outcome.FINISHED]
    assert scheduler.slots_in_use == 0


def test_a_request_is_late_wherever_it_is(
    scheduler: Scheduler, finished: list[RequestStatistics]
) -> None:
    gate = Gate()
    streams = [
        scheduler.submit(**LONG, num_beams=4, logits_processor=[gate], timeout=0.01),
        *(scheduler.submit(**SHORT, timeout=0.01) for _ in range(3)),
    ]
    time.sleep(0.02)
    gate.open()
    for stream in streams:
        with refused(RequestTimeoutError, "the request was not finished in 0.01 seconds"):
            results(stream)
    assert {each.outcome for each in finished} == {Outcome.TIMED_OUT}


def test_leaving_a_stream_frees_its_slot(scheduler: Scheduler) -> None:
    with scheduler.submit(**LONG) as stream:
        next(iter(stream))
    assert results(scheduler.submit(**SHORT))
    assert scheduler.statistics.requests[Outcome.CANCELLED] == 1


def test_coroutines_that_stop_iterating_cancel_and_closed_loops_take_nothing(
    model: GPTNeoForCausalLM, finished: list[RequestStatistics]
) -> None:
    engine = None

    async def leave() -> AsyncEngine:
        engine = AsyncEngine(model, SchedulerSettings(slots=2), on_finish=finished.append)
        generator = engine.generate(**LONG)
        async for _ in generator:
            break
        await generator.aclose()
        engine.submit(**LONG)  # nobody is left to read this one
        return engine

    engine = asyncio.run(leave())
    scheduler = engine.scheduler
    assert results(scheduler.submit(**SHORT)) == alone(model, SHORT)
    scheduler.close(60)
    assert [each.outcome for each in finished].count(Outcome.CANCELLED) == 2


# --- closing


def test_closing_ends_what_waits_is_read_or_runs(
    model: GPTNeoForCausalLM, finished: list[RequestStatistics]
) -> None:
    threads = threading.active_count()
    scheduler = Scheduler(model, SchedulerSettings(slots=2), on_finish=finished.append)
    gate = Gate()
    streams = [
        scheduler.submit(**LONG, logits_processor=[gate]),
        *(scheduler.submit(**LONG) for _ in range(5)),
    ]
    assert gate.is_reached.wait(60)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    while not scheduler._is_ending:
        time.sleep(0.001)
    with refused(SchedulerClosedError, "the scheduler is closed, and takes no more requests"):
        scheduler.submit(**SHORT)
    gate.open()
    closing.join(60)
    for stream in streams:
        with refused(SchedulerClosedError, "was closed before the request was finished"):
            results(stream)
    assert threading.active_count() == threads
    assert {each.outcome for each in finished} == {Outcome.CANCELLED}
    scheduler.close()  # once more does nothing


def test_closing_waits_as_long_as_it_is_told(model: GPTNeoForCausalLM) -> None:
    scheduler = Scheduler(model, SchedulerSettings(slots=2))
    streams = [scheduler.submit(**LONG) for _ in range(5)]
    scheduler.close(60)
    assert [results(stream) for stream in streams] == [alone(model, LONG)] * 5


# --- waiting


def test_a_full_queue_refuses_what_cannot_be_admitted_at_once(model: GPTNeoForCausalLM) -> None:
    with Scheduler(model, SchedulerSettings(slots=3, max_waiting=0)) as scheduler:
        gate = Gate()
        running = [scheduler.submit(**LONG, num_return_sequences=2, do_sample=True)]
        running.append(scheduler.submit(**LONG, logits_processor=[gate]))
        assert gate.is_reached.wait(60)
        with refused(QueueFullError, "0 requests wait, and at most 0 may; try again later"):
            scheduler.submit(**SHORT)
        gate.open()
        for stream in running:
            results(stream)
        assert results(scheduler.submit(**SHORT)) == alone(model, SHORT)
        assert scheduler.statistics.requests[Outcome.REFUSED] == 1


def test_a_large_request_is_not_overtaken(model: GPTNeoForCausalLM) -> None:
    order: list[int] = []
    with Scheduler(model, SchedulerSettings(slots=4)) as scheduler:
        gate = Gate()

        def submit(number: int, **more: Any) -> Any:
            def deliver(delivery: Any) -> None:
                if number not in order and not hasattr(delivery, "error"):
                    order.append(number)

            return scheduler.submit_to(deliver, RequestOptions(), **SHORT, **more)

        submit(0, logits_processor=[gate])
        assert gate.is_reached.wait(60)
        submit(1, num_return_sequences=4, do_sample=True)
        for number in range(2, 8):
            submit(number)
        gate.open()
        scheduler.close(60)
    assert order == [*range(8)]


def test_many_threads_submit_at_once(model: GPTNeoForCausalLM, random: np.random.Generator) -> None:
    requests = [drawn_request(random, model.config.vocab_size) for _ in range(48)]
    expected = [alone(model, request) for request in requests]
    shared: dict[int, Any] = {}

    def submit(start: int) -> None:
        for index in range(start, len(requests), 8):
            shared[index] = results(scheduler.submit(**requests[index]))

    with Scheduler(model, SchedulerSettings(slots=6)) as scheduler:
        threads = [threading.Thread(target=submit, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [shared[index] for index in range(len(requests))] == expected


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logprobs": -1}, "logprobs is -1; a whole number of at least 0"),
        ({"prompt_logprobs": True}, "prompt_logprobs is True; a whole number of at least 0"),
        ({"timeout": 0}, "timeout is 0; a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout is nan; a number of seconds above 0"),
        ({"streamer": print}, "streamer is not for requests that share the model"),
        ({"self_draft": True}, "self_draft is not for requests that share the model"),
        ({"input_ids": [[1], [2]]}, "input_ids has 2 prompts; submit a request for each"),
        ({"num_return_sequences": 5, "do_sample": True}, "the request needs 5 slots"),
        ({"temperature": -1.0, "do_sample": True}, "temperature is -1.0"),
        ({"max_new_tokens": 1000}, "max_new_tokens is 1000"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    scheduler: Scheduler, arguments: dict[str, Any], message: str
) -> None:
    with refused(InputError, message):
        scheduler.submit(**{**SHORT, **arguments})
    assert sum(scheduler.statistics.requests.values()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slots": 0}, "slots is 0; a whole number of at least 1"),
        ({"max_waiting": -1}, "max_waiting is -1; a whole number of at least 0"),
        ({"prefill_chunk": 0}, "prefill_chunk is 0; a whole number of at least 1"),
        ({"max_step_seconds": 0}, "max_step_seconds is 0; a number above 0"),
        ({"draft_tokens": 1.5}, "draft_tokens is 1.5; a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with refused(InputError, message):
        SchedulerSettings(**arguments)


# --- what is counted


def test_statistics_count_what_happened(
    model: GPTNeoForCausalLM, scheduler: Scheduler, finished: list[RequestStatistics]
) -> None:
    gate = Gate()
    streams = [scheduler.submit(**LONG, logits_processor=[gate])]
    streams += [scheduler.submit(**SHORT, do_sample=True, num_return_sequences=3)]
    streams += [scheduler.submit(**SHORT) for _ in range(2)]
    assert gate.is_reached.wait(60)
    now = scheduler.statistics
    assert (now.slots, now.slots_in_use, now.waiting, now.running) == (4, 1, 3, 1)
    gate.open()
    tokens = sum(sum(map(len, results(stream))) for stream in streams)
    scheduler.close(60)
    after = scheduler.statistics
    assert (after.slots_in_use, after.waiting, after.running) == (0, 0, 0)
    assert after.generated_tokens == tokens == 60 + 3 * 4 + 2 * 4
    assert after.prompt_tokens == 4 * 3
    assert after.prefix_hits + after.prefix_misses == 4
    assert after.requests == {
        Outcome.FINISHED: 4, Outcome.CANCELLED: 0, Outcome.TIMED_OUT: 0, Outcome.FAILED: 0,
        Outcome.REFUSED: 0,
    }  # fmt: skip
    assert 59 <= after.steps <= 59 + 3 + 2 * 3
    assert after.decode_seconds > 0 < after.prefill_seconds
    assert sorted(each.generated_tokens for each in finished) == [4, 4, 12, 60]
    for each in finished:
        assert each.arrived <= (each.admitted or 0) <= (each.first_token or 0)
        assert (each.first_token or 0) <= (each.finished or 0)


def test_sequences_move_down_as_others_end(
    model: GPTNeoForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes all slots up to the highest that is in use."""
    decoder = model.engine.decoder(10)
    decode, stepped = type(decoder).decode, []

    def counted(self: Any, tokens: Any, active: Any) -> Any:
        stepped.append(len(tokens))
        return decode(self, tokens, active)

    expected = [alone(model, {**SHORT, "max_new_tokens": count}) for count in (4, 4, 4, 60)]
    monkeypatch.setattr(type(decoder), "decode", counted)
    with Scheduler(model, SchedulerSettings(slots=8)) as scheduler:
        gate = Gate()
        first = scheduler.submit(**SHORT, logits_processor=[gate])
        assert gate.is_reached.wait(60)
        streams = [first, *(scheduler.submit(**SHORT) for _ in range(2))]
        streams.append(scheduler.submit(**{**SHORT, "max_new_tokens": 60}))
        gate.open()
        assert [results(stream) for stream in streams] == expected
    assert max(stepped) == 4
    # The last one alone: a single slot, beside which the decoder steps another (batch_invariant).
    assert {*stepped[-100:]} == {1, 2}


def test_events_come_one_by_one(scheduler: Scheduler) -> None:
    stream = scheduler.submit(**SHORT)
    events = [*stream]
    assert all(isinstance(event, TokenEvent) for event in events)
    assert [*stream] == []  # the end stays the end
