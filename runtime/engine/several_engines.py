"""Several engines in the hands of one call, as of a model and its draft model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gptneo_onnx.runtime.engine.engine import Engine


@contextmanager
def exclusive(*engines: Engine) -> Iterator[None]:
    """Enter several engines, in one order for every caller, so that no two wait for each other.

    Raises:
        InputError: this thread has entered one of them already.
    """
    with ExitStack() as stack:
        for engine in sorted(engines, key=id):
            stack.enter_context(engine.exclusive())
        yield
