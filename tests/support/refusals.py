"""What every error message of ours has to be."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LONGEST = 800


@contextmanager
def refused(error: type[Exception], match: str) -> Iterator[None]:
    """pytest.raises for exactly that error, its message one line of printable characters."""
    with pytest.raises(error, match=match) as caught:
        yield
    assert type(caught.value) is error
    check_message(caught.value)


def check_message(error: BaseException) -> None:
    message = str(error)
    assert message.isprintable()
    assert len(message) < LONGEST
