"""The queue of requests that wait for slots."""

import numpy as np
import pytest
from refusals import refused

from gptneo_onnx.runtime.generation.call import GenerationCall, prepare_call
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.scheduling import QueueFullError, SchedulerClosedError
from gptneo_onnx.runtime.scheduling.request import Request, RequestOptions
from gptneo_onnx.runtime.scheduling.slots import FreeSlots
from gptneo_onnx.runtime.scheduling.waiting import WaitingRequests


@pytest.fixture
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu")


def request(model: GPTNeoForCausalLM, slots: int) -> Request:
    call: GenerationCall | None = None
    if slots:
        arguments = {"input_ids": [[1]], "num_return_sequences": slots, "do_sample": True}
        call = prepare_call(model.engine, GenerationConfig(), **arguments)
    return Request([np.array([1])], call, RequestOptions(), lambda delivery: None)


def test_requests_that_can_be_admitted_at_once_do_not_wait(model) -> None:
    queue = WaitingRequests(most=0)
    for slots in (2, 1, 1):
        queue.put(request(model, slots), free=4)
    with refused(QueueFullError, "3 requests wait, and at most 0 may; try again later"):
        queue.put(request(model, 1), free=4)
    assert len(queue) == 3


def test_those_behind_a_large_request_wait_too(model) -> None:
    queue = WaitingRequests(most=2)
    queue.put(request(model, 4), free=3)
    queue.put(request(model, 1), free=3)
    with refused(QueueFullError, "2 requests wait, and at most 2 may; try again later"):
        queue.put(request(model, 1), free=3)
    assert [queue.take().slots for _ in range(2)] == [4, 1]


def test_a_request_that_only_reads_takes_its_turn_too(model) -> None:
    queue = WaitingRequests(most=0)
    queue.put(request(model, 0), free=1)
    with refused(QueueFullError, "1 requests wait"):
        queue.put(request(model, 0), free=1)


def test_a_closed_queue_takes_none_and_gives_what_it_has(model) -> None:
    queue = WaitingRequests(most=4)
    queue.put(request(model, 1), free=1)
    queue.close()
    with refused(SchedulerClosedError, "the scheduler is closed, and takes no more requests"):
        queue.put(request(model, 1), free=1)
    assert queue.wait()
    assert queue.next() is queue.take()
    assert not queue.wait()
    assert queue.next() is None


def test_the_lowest_free_slots_are_taken_first() -> None:
    free = FreeSlots(5)
    assert free.take(4) == [0, 1, 2, 3]
    free.free([2, 0])
    assert (free.lowest, len(free)) == (0, 3)
    assert free.take(3) == [0, 2, 4]
    assert (free.lowest, len(free)) == (5, 0)
