"""How many threads a step uses: by argument, by environment, by what the process may use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.engine import threads
from gptneo_onnx.runtime.engine.threads import (
    available_cores,
    cpu_quota,
    load_per_processor,
    physical_cores,
    thread_count,
    threads_spin,
)

PRINT_CORES = """
from gptneo_onnx.runtime.engine.threads import available_cores, threads_spin
print(available_cores(), threads_spin(None))
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTNEO_ONNX_THREADS", raising=False)
    monkeypatch.delenv("GPTNEO_ONNX_SPIN", raising=False)


# The argument and the variable.


def test_the_argument_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_THREADS", "3")
    assert thread_count(5) == 5


def test_the_variable_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_THREADS", " 3 ")
    assert thread_count(None) == 3


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_variable_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_THREADS", text)
    assert thread_count(None) == available_cores()


@pytest.mark.parametrize("text", ["0", "-1", "1025", "2.0", "two", "9" * 400, "0x2", "٣"])
def test_variables_out_of_range_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_THREADS", text)
    with pytest.raises(InputError, match="GPTNEO_ONNX_THREADS is .*; a whole number from 1"):
        thread_count(None)


@pytest.mark.parametrize("threads", [0, 1025, 1.0, True, "2"])
def test_arguments_out_of_range_are_refused(threads: Any) -> None:
    with pytest.raises(InputError, match="num_threads is .*; a whole number from 1 to 1024"):
        thread_count(threads)


# What the process may use.


def test_a_core_with_two_processors_counts_once(tmp_path: Path) -> None:
    for processor, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert physical_cores({0, 2}, tmp_path) == 1
    assert physical_cores({0, 1}, tmp_path) == 2


def test_unknown_topology_counts_processors(tmp_path: Path) -> None:
    assert physical_cores({0, 1, 5}, tmp_path) == 3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_quota_of_version_2(tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/pod/container\n")
    write(tmp_path / "root/pod/container/cpu.max", "250000 100000\n")
    assert cpu_quota(tmp_path / "own", tmp_path / "root") == 2.5


def test_a_group_above_limits_too(tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/pod/container\n")
    write(tmp_path / "root/pod/container/cpu.max", "max 100000\n")
    write(tmp_path / "root/pod/cpu.max", "50000 100000\n")
    assert cpu_quota(tmp_path / "own", tmp_path / "root") == 0.5


def test_a_container_sees_its_own_group_as_root(tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/kubepods/burstable/pod1/abc\n")
    write(tmp_path / "root/cpu.max", "100000 100000\n")
    assert cpu_quota(tmp_path / "own", tmp_path / "root") == 1


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1(controllers: str, tmp_path: Path) -> None:
    write(tmp_path / "own", f"5:memory:/elsewhere\n3:{controllers}:/docker/abc\n0::/\n")
    folder = tmp_path / "root" / controllers / "docker/abc"
    write(folder / "cpu.cfs_quota_us", "150000\n")
    write(folder / "cpu.cfs_period_us", "100000\n")
    write(folder.parent / "cpu.cfs_quota_us", "-1\n")
    write(folder.parent / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path / "own", tmp_path / "root") == 1.5


@pytest.mark.parametrize("limit", ["max 100000", "garbage", "1 0", "", "-1 100000"])
def test_what_is_no_limit_is_none(limit: str, tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/\n")
    write(tmp_path / "root/cpu.max", limit)
    assert cpu_quota(tmp_path / "own", tmp_path / "root") is None


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "own", tmp_path) is None


@linux
def test_taskset_leaves_one_core() -> None:
    one = min(os.sched_getaffinity(0))
    command = ["taskset", "--cpu-list", str(one), sys.executable, "-c", PRINT_CORES]
    assert subprocess.check_output(command, text=True).split()[0] == "1"


@pytest.fixture
def half_a_processor() -> Iterator[Path]:
    """A control group of version 1 or 2 that may use half a processor."""
    group = next(
        (
            parent / f"gptneo-onnx-{os.getpid()}"
            for parent in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
            if (parent / "cgroup.procs").is_file()
        ),
        None,
    )
    if group is None:
        pytest.skip("there are no control groups")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        version_1 = group / "cpu.cfs_quota_us"
        if version_1.exists():
            version_1.write_text("50000")
        elif (group / "cpu.max").exists():
            (group / "cpu.max").write_text("50000 100000")
        else:
            pytest.skip("control groups do not limit processors here")
        yield group
    finally:
        group.rmdir()


@linux
def test_a_real_quota_leaves_one_core_and_no_spinning(half_a_processor: Path) -> None:
    join = f"open({str(half_a_processor / 'cgroup.procs')!r}, 'w').write('0')"
    found = subprocess.check_output([sys.executable, "-c", join + PRINT_CORES], text=True)
    assert found.split() == ["1", "False"]


# How threads wait.


def test_threads_spin_by_argument_then_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    assert threads_spin(None)
    monkeypatch.setenv("GPTNEO_ONNX_SPIN", "0")
    assert not threads_spin(None)
    assert threads_spin(True)
    monkeypatch.setenv("GPTNEO_ONNX_SPIN", " 1 ")
    assert threads_spin(None)
    assert not threads_spin(False)


@linux
@pytest.mark.parametrize(("quota", "spin"), [(None, True), (1.5, False), (2.0, True), (3.0, True)])
def test_a_quota_that_is_less_than_the_cores_stops_spinning(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, spin: bool
) -> None:
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    monkeypatch.setattr(threads, "physical_cores", lambda processors: 2)
    assert threads_spin(None) is spin


@pytest.mark.parametrize("text", ["2", "yes", "-1", "01"])
def test_other_values_of_the_variable_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTNEO_ONNX_SPIN", text)
    with pytest.raises(InputError, match="GPTNEO_ONNX_SPIN is .*; 0 or 1 is allowed, or unset it"):
        threads_spin(None)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="spin is 'off'; True or False is allowed"):
        threads_spin("off")  # type: ignore[arg-type]


def test_the_load_is_a_share_of_the_processors() -> None:
    assert load_per_processor() >= 0
