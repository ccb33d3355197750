"""What quantized models compute on an x86 processor without VNNI: QEMU's Haswell, if installed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import device

QEMU = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64: apt install qemu-user"),
]

# QEMU hands out the /proc/cpuinfo of the machine that it runs on.
LOGITS = """
import sys
from pathlib import Path
import numpy as np
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import device

*directories, processor_info, out = sys.argv[1:]
device.CPU_INFO = Path(processor_info)
ids = np.arange(40)[None]
models = [GPTNeoForCausalLM.from_pretrained(each, "cpu", num_threads=1) for each in directories]
np.save(out, [model(ids).logits[0] for model in models])
"""
EXPORTS = {
    "fp32": {},
    "int8": {"precision": "int8"},
    "int4": {"precision": "int4"},
    "w8a8": {"precision": "w8a8"},
    "w8a8 of full range": {"precision": "w8a8", "full_range": True},
}
WARNING = "export again without --full-range"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("older")
    (folder / "cpuinfo").write_text("flags\t\t: fpu sse4_2 fma avx2\n")
    return folder


def run_on_haswell(folder, directories):
    """The logits of each there, and what was said on standard error."""
    arguments = [*directories, folder / "cpuinfo", folder / "out.npy"]
    done = subprocess.run(
        [QEMU, "-cpu", "Haswell", sys.executable, "-c", LOGITS, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return np.load(folder / "out.npy"), done.stderr


@pytest.fixture(scope="module")
def directories(folder):
    """Each export of one checkpoint by its name."""
    shape = Shape(hidden_size=256)
    checkpoint = write_checkpoint(folder / "checkpoint", shape, np.random.default_rng(0))
    return {
        name: export_model(checkpoint, folder / str(index), **options)
        for index, (name, options) in enumerate(EXPORTS.items())
    }


@pytest.fixture(scope="module")
def errors(folder, directories):
    """Of each export, the root mean square difference to float32, here and on a Haswell."""
    here = [
        GPTNeoForCausalLM.from_pretrained(each, "cpu")(np.arange(40)[None]).logits[0]
        for each in directories.values()
    ]
    there, _ = run_on_haswell(folder, directories.values())
    return {
        name: tuple(np.sqrt(np.square(each - here[0]).mean()) for each in pair)
        for name, pair in zip(EXPORTS, zip(here, there, strict=True), strict=True)
    }


@pytest.mark.parametrize("name", ["int8", "int4", "w8a8"])
def test_no_sums_are_cut_off(errors, name):
    here, there = errors[name]
    assert there == pytest.approx(here, rel=0.05)


def test_float32_is_the_same(errors):
    assert errors["fp32"][1] < 1e-5


def test_full_range_is_worse_there_than_7_bits(errors):
    assert errors["w8a8 of full range"][1] > 1.5 * errors["w8a8"][1]


def test_full_range_is_better_where_sums_are_exact(errors):
    here = errors["w8a8 of full range"][0]
    assert (here < errors["w8a8"][0]) == (not device.saturates_int8_sums())


@pytest.mark.parametrize(("name", "warns"), [("w8a8", False), ("w8a8 of full range", True)])
def test_loading_full_range_there_warns(folder, directories, name, warns):
    said = run_on_haswell(folder, [directories[name]])[1]
    assert (WARNING in said) == warns
