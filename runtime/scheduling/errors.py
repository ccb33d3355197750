"""What a request that is not served fails with."""

from gptneo_onnx.models.errors import GPTNeoOnnxError


class QueueFullError(GPTNeoOnnxError):
    """As many requests wait as may; try again later."""


class RequestTimeoutError(GPTNeoOnnxError, TimeoutError):
    """A request's time was over before its last token."""


class SchedulerClosedError(GPTNeoOnnxError):
    """The scheduler takes no more requests, or ended before this one was finished."""
