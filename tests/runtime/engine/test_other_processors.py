"""What models compute on other processors, which QEMU emulates: an x86 one without VNNI, and Arm.

The first needs qemu-x86_64 on the PATH, Arm a folder that `make test-arm` sets up.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import device

QEMU = shutil.which("qemu-x86_64")
ARM = os.environ.get("GPTNEO_ONNX_ARM")
HASWELL = "Haswell"
# With and without instructions that multiply and add 8-bit numbers.
ARM_PROCESSORS = ("neoverse-n1", "cortex-a72")
NEEDS_QEMU = pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64: apt install qemu-user")
NEEDS_ARM = pytest.mark.skipif(ARM is None, reason="needs GPTNEO_ONNX_ARM: make test-arm")
PROCESSORS = [
    pytest.param(HASWELL, marks=NEEDS_QEMU),
    *(pytest.param(name, marks=NEEDS_ARM) for name in ARM_PROCESSORS),
]

pytestmark = pytest.mark.slow

# QEMU's x86 processors hand out the /proc/cpuinfo of the machine that they run on.
OUTPUTS = """
import sys
from pathlib import Path
import numpy as np
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.engine import device

processor, processor_info, out, *directories = sys.argv[1:]
if processor == "Haswell":
    device.CPU_INFO = Path(processor_info)
ids = np.arange(40)[None]
models = [GPTNeoForCausalLM.from_pretrained(each, "cpu", num_threads=1) for each in directories]
np.savez(
    out,
    logits=[model(ids).logits[0] for model in models],
    ids=models[0].generate(ids, do_sample=False, max_new_tokens=24),
)
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
    folder = tmp_path_factory.mktemp("processors")
    (folder / "cpuinfo").write_text("flags\t\t: fpu sse4_2 fma avx2\n")
    return folder


def python_on(processor):
    """The command that runs Python on a processor, and what its environment needs."""
    if processor == HASWELL:
        return [QEMU, "-cpu", processor, sys.executable], {}
    python = [f"{ARM}/root/usr/bin/python3.11"]
    return [f"{ARM}/qemu-aarch64", "-cpu", processor, "-L", f"{ARM}/root", *python], {
        "PYTHONPATH": f"{ARM}/packages",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_on(processor, folder, directories):
    """The logits of each there, the first one's tokens, and what was said on standard error."""
    python, environment = python_on(processor)
    out = folder / f"{processor}.npz"
    done = subprocess.run(
        [*python, "-c", OUTPUTS, processor, folder / "cpuinfo", out, *directories],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return np.load(out), done.stderr


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
def here(directories):
    """The logits of each export on this processor."""
    models = [GPTNeoForCausalLM.from_pretrained(each, "cpu") for each in directories.values()]
    return [model(np.arange(40)[None]).logits[0] for model in models]


@pytest.fixture(scope="module", params=PROCESSORS)
def there(request, folder, directories):
    """What another processor computes."""
    return request.param, run_on(request.param, folder, directories.values())[0]


@pytest.fixture(scope="module")
def errors(here, there):
    """The root mean square difference of each export to float32, here and there."""
    _, outputs = there
    return {
        name: tuple(np.sqrt(np.square(each - here[0]).mean()) for each in pair)
        for name, pair in zip(EXPORTS, zip(here, outputs["logits"], strict=True), strict=True)
    }


@pytest.mark.parametrize("name", ["int8", "int4", "w8a8"])
def test_no_sums_are_cut_off(errors, name):
    here, there = errors[name]
    assert there < 1.05 * here


def test_float32_is_the_same(errors):
    assert errors["fp32"][1] < 1e-5


def test_float32_writes_the_same_text(directories, there):
    model = GPTNeoForCausalLM.from_pretrained(directories["fp32"], "cpu")
    ids = model.generate(np.arange(40)[None], do_sample=False, max_new_tokens=24)
    np.testing.assert_array_equal(there[1]["ids"], ids)


def test_full_range_is_worse_than_7_bits_only_where_sums_are_cut_off(errors, there):
    full_range, seven_bits = errors["w8a8 of full range"][1], errors["w8a8"][1]
    if there[0] == HASWELL:
        assert full_range > 1.5 * seven_bits
    else:
        assert full_range < seven_bits


def test_full_range_is_better_where_sums_are_exact(here):
    full_range, seven_bits = (np.square(each - here[0]).mean() for each in (here[4], here[3]))
    assert (full_range < seven_bits) == (not device.saturates_int8_sums())


@pytest.mark.parametrize(("name", "warns"), [("w8a8", False), ("w8a8 of full range", True)])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_loading_full_range_warns_where_sums_are_cut_off(
    folder, directories, processor, name, warns
):
    said = run_on(processor, folder, [directories[name]])[1]
    assert (WARNING in said) == (warns and processor == HASWELL)


CAN_HIDE = (
    shutil.which("gcc") is not None
    and device.CPU_INFO.is_file()
    and "cpuid_fault" in device.CPU_INFO.read_text().split()
)
FEATURES = """
from numpy._core._multiarray_umath import __cpu_features__ as found
print(found["AVX2"], found["AVX512F"])
"""


@pytest.mark.skipif(
    not CAN_HIDE, reason="needs gcc, and Linux on a processor whose CPUID can fault"
)
def test_what_is_newer_than_avx2_can_be_hidden(tmp_path):
    """As benchmarks measure a processor without VNNI on one that has it."""
    source = Path(__file__).parents[3] / "benchmarks/only_avx2.c"
    library = tmp_path / "only_avx2.so"
    flags = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", library, source], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, "-c", FEATURES]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "True False\n"
