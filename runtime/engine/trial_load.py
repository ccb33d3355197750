"""Load a graph in a separate process first, where the check cannot know what loading it takes.

The check of a graph says that it reads no foreign files and has no foreign operators. It does not
say that ONNX Runtime survives it: constants are folded while a session is made, and an operator may
divide by zero or ask for any amount of memory. So a graph of another exporter is loaded and stepped
once in a child process under limits, at its first use. That it went well is remembered.

The child cannot show what a graph does at other inputs; docs/security.md says what is promised.
"""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

import onnxruntime

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.engine.trial_process import LOADED, MEMORY, REFUSED, Limits, Trial
from gptneo_onnx.runtime.model_files.directory import ModelDirectory, PortableModel
from gptneo_onnx.runtime.model_files.remembered import read_remembered, write_remembered

REMEMBERED_FILE = "tried.json"

_BASE_BYTES = 2**30  # of Python, NumPy and ONNX Runtime, with room for a small graph
_BYTES_PER_BYTE = 4  # weights inside a graph are parsed, copied, and perhaps converted to float32
_BASE_SECONDS = 10
_BYTES_PER_SECOND = 20_000_000  # of a slow disk
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from gptneo_onnx.runtime.engine.trial_process import main; main()"
)
_ADVICE = (
    "export the checkpoint again with gptneo-onnx export or optimum-cli export onnx; "
    "--trust-graph (trust_graph=True) loads a graph without this trial"
)
# Thread pools that the child does not need take memory for every thread.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class _End:
    """How a child ended: its status as subprocess gives it, and what it printed."""

    status: int
    said: str


def check_by_trial(
    model: ModelDirectory, trust_graph: bool = False, limits: Limits | None = None
) -> None:
    """Load and step a model in a child process, unless it needs no trial or had one.

    Only portable graphs without a manifest, and those with operators the sizes of whose results
    the check does not know, are tried.

    Args:
        model: the directory, whose files are open.
        trust_graph: whether to leave the trial out.
        limits: of the child; by default they follow from the sizes of the files.

    Raises:
        InputError: trust_graph is neither True nor False.
        ModelFileError: the child crashed, or hit a limit.
    """
    if not isinstance(trust_graph, bool):
        raise InputError(f"trust_graph is {shown(trust_graph)}; True or False is allowed")
    if trust_graph or not isinstance(model, PortableModel):
        return
    if model.manifest is not None and not model.unbounded:
        return
    key = "-".join(file.identity for graph in model.held for file in graph.files)
    remembered = read_remembered(REMEMBERED_FILE)
    if remembered.get(key) == onnxruntime.__version__:
        return
    limits = limits or _limits(model)
    end = _run(model, limits)
    if problem := _problem(end, limits):
        graphs = " and ".join(map(str, model.graphs))
        raise ModelFileError(f"{graphs} {problem}; {_ADVICE}")
    # Failures are not remembered: a lack of memory or time may be the machine's.
    if end.said == LOADED:
        write_remembered(REMEMBERED_FILE, {**remembered, key: onnxruntime.__version__})


def _limits(model: PortableModel) -> Limits:
    size = sum(file.size for graph in model.held for file in graph.files)
    seconds = _BASE_SECONDS + size // _BYTES_PER_SECOND
    return Limits(
        memory=_BASE_BYTES + _BYTES_PER_BYTE * size, cpu_seconds=seconds, seconds=4 * seconds
    )


def _problem(end: _End, limits: Limits) -> str:
    """Return what went wrong, in words that follow the graph's name, or an empty text."""
    if end.status == 0 and end.said in (LOADED, REFUSED):
        return ""
    if end.status == 0 and end.said == MEMORY:
        return f"takes more than {readable_size(limits.memory)} of memory to load"
    if end.status >= 0:
        return f"ends the process that loads it with status {end.status}"
    try:
        name = signal.Signals(-end.status).name
    except ValueError:
        name = f"signal {-end.status}"
    if name in ("SIGALRM", "SIGXCPU"):
        seconds = limits.seconds if name == "SIGALRM" else limits.cpu_seconds
        return f"takes more than {seconds} s to load"
    return f"ends the process that loads it with {name}"


def _run(model: PortableModel, limits: Limits) -> _End:
    """Run a trial in a child, which never outlives this process."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise ModelFileError(
            f"{model.graphs[0]} cannot be tried: there is no Python to start beside this program; "
            f"{_ADVICE}"
        )
    # The child ends when this process does: then the pipe's other end closes.
    alive, held_open = os.pipe()
    files = [file.descriptor for graph in model.held for file in graph.files]
    inherited = () if sys.platform == "win32" else (alive, *files)
    arguments = [str(os.getpid()), str(alive), *sys.path]
    try:
        process = subprocess.Popen(  # noqa: S603 -- this Python, and a program of our own
            [sys.executable, "-I", "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD},
            pass_fds=inherited,
            start_new_session=True,  # a terminal's Ctrl-C is for this process, which ends the child
        )
    except OSError as error:
        os.close(held_open)
        raise ModelFileError(
            f"{model.graphs[0]} cannot be tried: no process can be started ({error.strerror}); "
            f"{_ADVICE}"
        ) from error
    finally:
        os.close(alive)
    try:
        said, _ = process.communicate(pickle.dumps(Trial(model, limits)), limits.seconds + 5)
    except subprocess.TimeoutExpired:
        return _End(-signal.SIGALRM if hasattr(signal, "SIGALRM") else 1, "")
    finally:
        process.kill()
        with suppress(OSError):
            process.communicate()
        os.close(held_open)
    return _End(process.returncode, said.decode(errors="replace").strip())
