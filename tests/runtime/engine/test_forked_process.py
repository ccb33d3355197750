"""A model that was loaded and used works in a forked process, which exits as it should."""

import os
import subprocess
import sys

import pytest

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork()", allow_module_level=True)

SCRIPT = """
import os, signal, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from gptneo_onnx import GPTNeoForCausalLM, pipeline
from gptneo_onnx.runtime import Engine, InputError

warnings.simplefilter("ignore")  # Python 3.12 warns of forks of processes with threads
model = GPTNeoForCausalLM.from_pretrained(sys.argv[1], num_threads=2)
generator = pipeline("text-generation", model=sys.argv[1])
TEXTS = ["It is a truth", "She was"]

def results(model, generator):
    ids = model.generate([[1, 2, 3]], max_new_tokens=5, do_sample=False).tolist()
    return ids, generator(TEXTS, max_new_tokens=5, seed=1, batch_size=2)

def results_of_both(_):
    return results(model, generator)

expected = results(model, generator)

def forked(work):
    child = os.fork()
    if not child:
        signal.alarm(100)  # a fault must not hang the tests
        sys.exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def use():
    return 7 if results(model, generator) == expected else 8

def use_in_a_grandchild():
    return forked(use)

def do_nothing():
    return 9

def free():
    global model, generator
    model = generator = None
    return 10

def use_one_that_load_did_not_make():
    try:
        with made.exclusive():
            return 1
    except InputError as error:
        return 11 if "this process was forked since; load a model" in str(error) else 2

made = Engine(model.engine._model, model.engine._make_decoder)
WORKS = (use, use_in_a_grandchild, do_nothing, free, use_one_that_load_did_not_make)
print([forked(work) for work in WORKS])
with ProcessPoolExecutor(2, get_context("fork")) as workers:
    print([*workers.map(results_of_both, range(4))] == [expected] * 4)
print(results(model, generator) == expected)
"""


def test_models_in_forked_processes(embedded_export):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(embedded_export)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["[7, 7, 9, 10, 11]", "True", "True"], "")
