"""What is asked of a prompt alone, without generating: its vector, or its tokens' scores."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.forward import checked_layers
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.scheduling.errors import SchedulerClosedError
from gptneo_onnx.runtime.scheduling.events import PromptEvent, TokenScore
from gptneo_onnx.runtime.scheduling.pooled_states import PooledStates, Pooling
from gptneo_onnx.runtime.scheduling.request import Request, RequestOptions
from gptneo_onnx.runtime.scheduling.statistics import FinishObserver
from gptneo_onnx.runtime.scheduling.stream import Delivery, End

Result = TypeVar("Result")
# A token's score by the tokens before it; the first token has none.
PromptScores = tuple[TokenScore | None, ...]


class PromptResult(Generic[Result]):
    """The future result of a request that only reads its prompt.

    Attributes:
        future: the result; cancelling it ends the request.
    """

    def __init__(self) -> None:
        self.future: Future[Result] = Future()
        self._result: Callable[[], Result | None] = lambda: None

    def attach(self, request: Request, result: Callable[[], Result | None]) -> None:
        """Take the request, and what returns its result, or None if it was not finished."""
        self._result = result

        def cancel_with(future: Future[Result]) -> None:
            if future.cancelled():
                request.cancel()

        self.future.add_done_callback(cancel_with)

    def deliver(self, delivery: Delivery) -> None:
        """Take events, or the end, from the scheduler's thread."""
        if not isinstance(delivery, End) or not self.future.set_running_or_notify_cancel():
            return
        result = self._result()
        if delivery.error is not None:
            self.future.set_exception(delivery.error)
        elif result is None:
            self.future.set_exception(
                SchedulerClosedError("the scheduler was closed before the text was read")
            )
        else:
            self.future.set_result(result)


class _Scores(PromptResult[PromptScores]):
    """The future scores of a prompt's tokens, which come as an event."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: PromptScores | None = None

    def deliver(self, delivery: Delivery) -> None:
        if not isinstance(delivery, End):
            self.scores = next(event.scores for event in delivery if isinstance(event, PromptEvent))
        super().deliver(delivery)


def embedding_request(
    engine: Engine,
    ids: Sequence[int],
    pooling: Pooling,
    timeout: float | None,
    on_finish: FinishObserver | None,
) -> tuple[Request, Future[NDArray[np.float32]]]:
    """Return a request for a text's vector, and its future result float32 [hidden].

    Raises:
        InputError: the ids cannot be read, there is no such pooling, or the graph lacks the hidden
            states of the last layer.
    """
    prompt = sole_prompt(engine, [ids])
    [layer] = checked_layers([-1], engine.hidden_layers, engine.config.num_layers)
    pooled = PooledStates(pooling, layer)
    result = PromptResult[NDArray[np.float32]]()
    options = RequestOptions(timeout=timeout)
    request = Request([prompt], None, options, result.deliver, on_finish, pooled)
    result.attach(request, lambda: pooled.vector if request.is_read else None)
    return request, result.future


def scoring_request(
    engine: Engine,
    ids: Sequence[int],
    top: int,
    timeout: float | None,
    on_finish: FinishObserver | None,
) -> tuple[Request, Future[PromptScores]]:
    """Return a request for the scores of a text's tokens, and its future result.

    Raises:
        InputError: the ids cannot be read.
    """
    prompt = sole_prompt(engine, [ids])
    result = _Scores()
    options = RequestOptions(prompt_logprobs=top, timeout=timeout)
    request = Request([prompt], None, options, result.deliver, on_finish)
    result.attach(request, lambda: result.scores)
    return request, result.future


def sole_prompt(engine: Engine, input_ids: ArrayLike | None) -> Ids:
    """Return the ids of the only prompt of a batch, int64 [length].

    Args:
        engine: whose model reads it.
        input_ids: int [1, length].

    Raises:
        InputError: there is no such batch, or several prompts; an id is out of range, or there are
            more than the context takes.
    """
    if input_ids is None:
        raise InputError("input_ids is missing; pass a prompt's token ids")
    inputs = PaddedInputs.check(input_ids, None, engine.config, "left")
    if len(inputs.columns) != 1:
        raise InputError(
            f"input_ids has {len(inputs.columns)} prompts; submit a request for each of them"
        )
    return inputs.tokens(0)
