"""Denormal floats are taken for zero in a step of a model, and only there.

GPT-Neo's unscaled scores make softmax return denormal floats, on which x86 is several times slower.
ONNX Runtime's option session.set_denormal_as_zero covers its own threads, and the thread that makes
the session: that one it leaves so, and any other that calls the session takes the slow path.
"""

import ctypes
import platform
import sys
from types import TracebackType

# SSE's control register: flush results to zero, and read denormals as zero.
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 0x8000, 0x0040
# fenv_t of glibc on x86-64: 28 bytes for the x87 unit, then the register.
_FENV_BYTES, _REGISTER = 32, slice(28, 32)


def _c_library() -> ctypes.CDLL | None:
    """Return the C library where fenv_t is as above, else None."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not (sys.platform == "linux" and is_x86 and platform.libc_ver()[0] == "glibc"):
        return None
    return ctypes.CDLL(None)


_LIBRARY = _c_library()


def control_register() -> int | None:
    """Return SSE's control register (MXCSR) of the calling thread; None where it is not known."""
    if _LIBRARY is None:
        return None
    environment = ctypes.create_string_buffer(_FENV_BYTES)
    _LIBRARY.fegetenv(environment)
    return int.from_bytes(environment.raw[_REGISTER], "little")


class unchanged_float_state:  # noqa: N801 (used like a function)
    """After this context the calling thread treats denormals as it did before.

    Where the C library's fenv_t is not known, nothing is restored.
    """

    def __enter__(self) -> None:
        if _LIBRARY is not None:
            self._before = ctypes.create_string_buffer(_FENV_BYTES)
            _LIBRARY.fegetenv(self._before)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _LIBRARY is not None:
            _LIBRARY.fesetenv(self._before)


class denormals_as_zero(unchanged_float_state):  # noqa: N801
    """In this context the calling thread takes denormals for zero."""

    def __enter__(self) -> None:
        super().__enter__()
        if _LIBRARY is not None:
            state = bytearray(self._before.raw)
            register = int.from_bytes(state[_REGISTER], "little")
            register |= FLUSH_TO_ZERO | DENORMALS_ARE_ZERO
            state[_REGISTER] = register.to_bytes(4, "little")
            _LIBRARY.fesetenv(bytes(state))
