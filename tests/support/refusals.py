"""Checks that every error message keeps its contract: one short line of printable characters."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LONGEST = 800


@contextmanager
def refused(error: type[Exception], match: str) -> Iterator[None]:
    """Expect exactly this error, as pytest.raises, with a message that check_message() accepts."""
    with pytest.raises(error, match=match) as caught:
        yield
    assert type(caught.value) is error
    check_message(caught.value)


def check_message(error: BaseException) -> None:
    """Check that a message is one line of printable characters, shorter than LONGEST."""
    message = str(error)
    assert message.isprintable()
    assert len(message) < LONGEST
