"""Signals end what runs for ever, by the signal itself; what was ignored before stays ignored."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
from onnxruntime import __version__ as onnx_runtime

# A program that says "running", and then does what follows for ever.
PROGRAM = """
import sys, threading, time
from contextlib import suppress
from pathlib import Path
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import onnxruntime
from gptneo_onnx.models.interruption import half_written
from gptneo_onnx.models.staging import staging_directory
from gptneo_onnx.runtime.cli.signals import EndingBySignals, end_process, going_on

def model(nodes, inputs, result):
    graph = helper.make_graph(nodes, "graph", inputs, [result])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

SIZE = 4000
MATRIX = helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE, SIZE])
NAMES = ["x", *(f"y{i}" for i in range(2000))]
PRODUCTS = [helper.make_node("MatMul", [a, "x"], [b]) for a, b in zip(NAMES, NAMES[1:])]
RESULT = helper.make_tensor_value_info(NAMES[-1], TensorProto.FLOAT, [SIZE, SIZE])

def announce():
    # Once ONNX Runtime is at work: nothing else here takes a second.
    begin = time.process_time()
    while time.process_time() < begin + 1:
        time.sleep(0.05)
    print("running", flush=True)

def run_long():
    session = onnxruntime.InferenceSession(model(PRODUCTS, [MATRIX], RESULT))
    threading.Thread(target=announce, daemon=True).start()
    session.run(None, {"x": np.ones((SIZE, SIZE), np.float32)})

def fold_long():
    shape = numpy_helper.from_array(np.array([SIZE, SIZE]), "shape")
    constant = helper.make_node("Constant", [], ["shape"], value=shape)
    ones = helper.make_node("ConstantOfShape", ["shape"], ["x"])
    folded = model([constant, ones, *PRODUCTS], [], RESULT)
    threading.Thread(target=announce, daemon=True).start()
    onnxruntime.InferenceSession(folded)

def never_return():
    while True:
        with suppress(BaseException):
            print("running", flush=True)
            while True:
                time.sleep(60)

def write_for_ever():
    with staging_directory(Path(sys.argv[2])) as new:
        (new / "file").write_text("half")
        run_long()

def hang_in_removal():
    with half_written(never_return):
        pass

def go_on():
    with going_on():
        for count in range(3):
            try:
                print("running", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                print("stopped", count, flush=True)

def give_up():
    with going_on():
        print("running", flush=True)
        time.sleep(60)

ending = EndingBySignals()
try:
    with ending:
        try:
            globals()[sys.argv[1]]()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
finally:
    end_process(ending.received)
"""


def ended(what, sent, folder, ignored=(), then=()):
    """Send signals to a program that does something for ever; return its status and its output.

    Each signal of `then` is sent when the program says once more that it is running.
    """

    def ignore():
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what, str(folder / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=ignore,
    ) as process:
        said = process.stdout.readline()
        assert said == "running\n", said + process.stdout.read()
        for number in sent:
            process.send_signal(number)
            time.sleep(0.1)  # the system makes one of two that are not yet delivered
        output = ""
        for number in then:
            while (line := process.stdout.readline()) != "running\n":
                assert line
                output += line
            output += line
            process.send_signal(number)
        try:
            rest, _ = process.communicate(timeout=50)  # what it does takes hours
        finally:
            process.kill()
    return process.returncode, output + rest


RUNS_LONG = [
    "run_long",
    pytest.param(
        "fold_long",
        marks=pytest.mark.skipif(
            onnx_runtime.startswith("1.30."), reason="1.30 lets no other thread run meanwhile"
        ),
    ),
]
TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT


@pytest.mark.slow
@pytest.mark.parametrize("what", [*RUNS_LONG, "never_return", "hang_in_removal"])
@pytest.mark.parametrize("sent", [[TERM], [HUP], [TERM, TERM], [TERM, INT]])
def test_what_does_not_return_is_ended(what, sent, tmp_path):
    assert ended(what, sent, tmp_path)[0] == 128 + sent[0]


@pytest.mark.slow
@pytest.mark.parametrize("what", [*RUNS_LONG, "never_return"])
def test_what_does_not_return_is_ended_by_a_second_interrupt(what, tmp_path):
    assert ended(what, [INT, INT], tmp_path)[0] == 128 + INT


@pytest.mark.slow
def test_what_is_half_written_is_removed_then_too(tmp_path):
    assert ended("write_for_ever", [TERM], tmp_path)[0] == 128 + TERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [INT, HUP])
def test_what_was_ignored_stays_ignored(number, tmp_path):
    assert ended("go_on", [number, TERM], tmp_path, ignored=[number]) == (-TERM, "")


def test_a_session_goes_on_after_an_interrupt(tmp_path):
    status, output = ended("go_on", [INT], tmp_path, then=[INT, INT])
    assert (status, output.split("\n")[:3]) == (0, ["stopped 0", "running", "stopped 1"])


def test_a_session_that_gives_up_ends_by_the_signal(tmp_path):
    assert ended("give_up", [INT], tmp_path) == (-INT, "interrupted\n")


HANDLERS = """
import signal, sys
from gptneo_onnx import GPTNeoForCausalLM, export_model
from gptneo_onnx.runtime.cli.main import main

def handlers():
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    descriptor = signal.set_wakeup_fd(-1)
    return [signal.getsignal(each) for each in names], descriptor, sys.unraisablehook

before = handlers()
model = GPTNeoForCausalLM.from_pretrained(sys.argv[1])
model.generate([[1, 2]], max_new_tokens=2)
assert handlers() == before
assert main(["info", sys.argv[1]]) == 0
assert handlers() == before
"""


def test_the_library_leaves_signals_to_the_program(embedded_export):
    subprocess.run([sys.executable, "-c", HANDLERS, str(embedded_export)], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_shell_ends_its_loop_with_the_command(tmp_path):
    """As one that Ctrl-C ends: the terminal sends it to the shell, too."""
    script = (
        "for name in one two; do "
        f"{sys.executable} -c 'import os, signal; "
        "from gptneo_onnx.runtime.cli.signals import end_process; "
        "os.kill(os.getppid(), signal.SIGINT); end_process(signal.SIGINT)'; "
        "echo went on; done"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")
