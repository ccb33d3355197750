"""The inputs of pipelines: one text, or several in any form that can be gone through."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from gptneo_onnx.models.errors import InputError


def each_input(inputs: Any, expected: str, subject: str = "the input is") -> Iterable[Any]:
    """Return inputs to go through.

    Args:
        inputs: what a pipeline was called with: a list, a tuple, an array, a column of a data set,
            an iterator. A data set with a length and numbered items, such as transformers'
            KeyDataset, becomes an iterator.
        expected, subject: what may be there and what was passed, for the message.

    Raises:
        InputError: nothing of that kind.
    """
    if isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | Mapping):
        return inputs
    if hasattr(inputs, "__getitem__") and not isinstance(inputs, str | bytes | Mapping):
        return (inputs[index] for index in range(len(inputs)))
    raise InputError(f"{subject} of type {type(inputs).__name__}; {expected} are expected")


def with_batches(
    inputs: Iterable[Any], run: Callable[[Iterable[Any]], Iterator[Any]]
) -> Iterator[Any]:
    """Yield the result of each input; those of an input that is a list of texts in a list.

    A DataLoader gives such lists, for instance.

    Args:
        inputs: texts, lists of texts, or whatever else `run` takes.
        run: yields the results of single inputs, and reads them as it goes.
    """
    sizes: deque[int | None] = deque()

    def single() -> Iterator[Any]:
        for item in inputs:
            if isinstance(item, list | tuple) and item and isinstance(item[0], str):
                sizes.append(len(item))
                yield from item
            else:
                sizes.append(None)
                yield item

    results = run(single())
    for result in results:
        size = sizes.popleft()
        yield result if size is None else [result, *islice(results, size - 1)]
