"""What quantized models compute on an x86 processor without VNNI: QEMU's Haswell, if installed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM

QEMU = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64: apt install qemu-user"),
]

LOGITS = """
import sys
import numpy as np
from gptneo_onnx.runtime import GPTNeoForCausalLM

*directories, out = sys.argv[1:]
ids = np.arange(40)[None]
models = [GPTNeoForCausalLM.from_pretrained(each, "cpu", num_threads=1) for each in directories]
np.save(out, [model(ids).logits[0] for model in models])
"""
EXPORTS = {
    "fp32": {},
    "int8": {"precision": "int8"},
    "int4": {"precision": "int4"},
    "w8a8": {"precision": "w8a8"},
    "w8a8 of 7 bits": {"precision": "w8a8", "reduce_range": True},
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Of each export, the root mean square difference to float32, here and on a Haswell."""
    folder = tmp_path_factory.mktemp("older")
    shape = Shape(hidden_size=256)
    checkpoint = write_checkpoint(folder / "checkpoint", shape, np.random.default_rng(0))
    directories = [
        export_model(checkpoint, folder / str(index), **options)
        for index, options in enumerate(EXPORTS.values())
    ]
    here = [
        GPTNeoForCausalLM.from_pretrained(each, "cpu")(np.arange(40)[None]).logits[0]
        for each in directories
    ]
    subprocess.run(
        [QEMU, "-cpu", "Haswell", sys.executable, "-c", LOGITS, *directories, folder / "out.npy"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    there = np.load(folder / "out.npy")
    return {
        name: tuple(np.sqrt(np.square(each - here[0]).mean()) for each in pair)
        for name, pair in zip(EXPORTS, zip(here, there, strict=True), strict=True)
    }


@pytest.mark.parametrize("name", ["int8", "int4", "w8a8 of 7 bits"])
def test_no_sums_are_cut_off(errors, name):
    here, there = errors[name]
    assert there == pytest.approx(here, rel=0.05)


def test_float32_is_the_same(errors):
    assert errors["fp32"][1] < 1e-5


def test_w8a8_of_8_bits_is_worse_there_than_of_7_which_is_what_loading_it_warns_of(errors):
    assert errors["w8a8"][1] > 1.5 * errors["w8a8 of 7 bits"][1]
