"""Denormal floats are zero within a context, and what they were after it."""

import ctypes
from collections.abc import Iterator
from threading import Event, Thread

import numpy as np
import pytest

from gptneo_onnx.models.denormals import (
    DENORMALS_ARE_ZERO,
    FLUSH_TO_ZERO,
    control_register,
    denormals_as_zero,
    unchanged_float_state,
)

pytestmark = pytest.mark.skipif(
    control_register() is None, reason="only where glibc's fenv_t on x86-64 is known"
)

FE_DFL_ENV = ctypes.c_void_p(-1)


@pytest.fixture(autouse=True)
def default_state() -> Iterator[None]:
    """Begin with the C library's default: sessions of other tests may have left another one."""
    ctypes.CDLL(None).fesetenv(FE_DFL_ENV)
    yield
    ctypes.CDLL(None).fesetenv(FE_DFL_ENV)


SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal


def halved() -> float:
    """Return half of the smallest normal float32: a denormal, or zero."""
    return float((np.full(8, SMALLEST_NORMAL) * np.float32(0.5))[0])


def test_denormals_are_zero_within() -> None:
    assert halved() > 0
    with denormals_as_zero():
        assert halved() == 0
    assert halved() > 0


def test_both_bits_are_set() -> None:
    with denormals_as_zero():
        register = control_register()
    assert register is not None
    assert register & FLUSH_TO_ZERO
    assert register & DENORMALS_ARE_ZERO


def test_a_caller_who_had_it_so_keeps_it() -> None:
    with denormals_as_zero():
        with denormals_as_zero():
            pass
        assert halved() == 0


def test_an_error_restores_too() -> None:
    with pytest.raises(ZeroDivisionError), denormals_as_zero():
        raise ZeroDivisionError
    assert halved() > 0


def test_changes_within_are_undone() -> None:
    with unchanged_float_state():
        denormals_as_zero().__enter__()
        assert halved() == 0
    assert halved() > 0


def test_another_thread_is_as_it_was() -> None:
    entered, left, found = Event(), Event(), []

    def look() -> None:
        entered.wait()
        found.append(halved())
        left.set()

    thread = Thread(target=look)  # threads made within would begin with the state of their maker
    thread.start()
    with denormals_as_zero():
        entered.set()
        left.wait()
    thread.join()
    assert found[0] > 0
