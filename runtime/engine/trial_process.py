"""The child process of a trial: it limits itself, loads a model, steps it and says how that went.

trial_load.py starts it and sends a pickled Trial.
"""

import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptneo_onnx.runtime.engine.load_decoders import load_decoders
from gptneo_onnx.runtime.model_files.directory import PortableModel

# What the child prints.
LOADED, REFUSED, MEMORY = "loaded", "refused", "memory"

_TOKENS = 4
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


@dataclass(frozen=True)
class Limits:
    """Limits of a trial: bytes of memory, seconds of processor time, and seconds in all."""

    memory: int
    cpu_seconds: int
    seconds: int


@dataclass(frozen=True)
class Trial:
    """What is tried, and under which limits."""

    model: PortableModel
    limits: Limits


def main() -> None:
    """Run the trial that standard input holds; arguments are the parent's id and a pipe of its."""
    _end_with_parent(int(sys.argv[1]), int(sys.argv[2]))
    trial: Trial = pickle.load(sys.stdin.buffer)  # noqa: S301 -- our own parent sent it
    _limit(trial.limits)
    print(_outcome(trial.model), flush=True)
    os._exit(0)  # what a graph has damaged cannot show up while Python cleans up


def _outcome(model: PortableModel) -> str:
    """Load a model and step it; return LOADED, REFUSED or MEMORY.

    What ONNX Runtime refuses in words it refuses in the parent as well, which tells the user.
    """
    try:
        # One thread, weights that are not packed.
        decoder = load_decoders(model, False, "cpu", 1, None, False, False, False)(1)
        ids = np.arange(min(_TOKENS, model.config.max_position_embeddings), dtype=np.int64)
        ids %= model.config.vocab_size
        decoder.cache.clear(0)
        has_head = bool(model.interfaces[-1].results)
        for part in filter(len, (ids[:-1], ids[-1:])):
            first = len(part) - has_head  # the first token whose logits are asked for, if any
            for _ in decoder.prefill_chunks(0, part, None, first, decoder.hidden_layers):
                pass
    except Exception as error:  # whatever it is, the process has survived it
        has_no_memory = isinstance(error, MemoryError) or "alloc" in str(error).lower()
        return MEMORY if has_no_memory else REFUSED
    return LOADED


def _end_with_parent(parent: int, pipe: int) -> None:
    """End this process when its parent ends, however that happens."""
    if sys.platform == "win32":
        return
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        os.read(pipe, 1)  # nothing is ever written: it returns when the other end is closed
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit(limits: Limits) -> None:
    """Set the limits of this process; the system enforces them, whatever ONNX Runtime does."""
    if sys.platform == "win32":
        return
    import resource

    # A handler or a mask that the parent left would keep the signals from ending this process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGXCPU})
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    # A dump may have one byte: with 0, a program that takes dumps by a pipe would still start.
    for what, most in (
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (allowed, hard))
    if sys.platform == "linux":  # where memory runs out, this process is the one to end
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
