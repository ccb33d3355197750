"""How many threads a step may use, the cores that this process really has, and how they wait.

A container or `taskset` may leave fewer processors than the machine shows. More threads than that
slow each other down: all but one wait for one that is not running.

Between two operators a thread spins: it asks for work again and again. That is the fastest where
nobody else needs the processor; where somebody does, it takes the time that the others need to
finish.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from gptneo_onnx.models.errors import InputError, shown

THREADS_VARIABLE = "GPTNEO_ONNX_THREADS"
SPIN_VARIABLE = "GPTNEO_ONNX_SPIN"
MAX_THREADS = 1024

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def thread_count(requested: int | None) -> int | None:
    """Return how many threads one operator shall use; None leaves it to ONNX Runtime.

    Args:
        requested: by the caller; None takes GPTNEO_ONNX_THREADS, else available_cores().

    Raises:
        InputError: the argument, or the variable, is out of range.
    """
    if requested is not None:
        if type(requested) is int and 1 <= requested <= MAX_THREADS:
            return requested
        raise InputError(
            f"num_threads is {shown(requested)}; a whole number from 1 to {MAX_THREADS} is allowed"
        )
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return available_cores()
    if re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= MAX_THREADS:
        return int(text)
    raise InputError(
        f"{THREADS_VARIABLE} is {shown(text)}; a whole number from 1 to {MAX_THREADS} is allowed, "
        "or unset it"
    )


def threads_spin(requested: bool | None) -> bool:
    """Return whether threads spin while they wait.

    Args:
        requested: by the caller; None takes GPTNEO_ONNX_SPIN, and without it spins unless a quota
            of processor time is less than the process's cores: spinning would use it up.

    Raises:
        InputError: the argument, or the variable, is out of range.
    """
    if requested is not None:
        if isinstance(requested, bool):
            return requested
        raise InputError(f"spin is {shown(requested)}; True or False is allowed")
    text = os.environ.get(SPIN_VARIABLE, "").strip()
    if text in ("0", "1"):
        return text == "1"
    if text:
        raise InputError(f"{SPIN_VARIABLE} is {shown(text)}; 0 or 1 is allowed, or unset it")
    quota = cpu_quota() if hasattr(os, "sched_getaffinity") else None
    return quota is None or quota >= physical_cores(os.sched_getaffinity(0))


def available_cores() -> int | None:
    """Return the physical cores that this process may use, at most its quota of processor time.

    None where the system does not tell: anywhere but on Linux.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = physical_cores(os.sched_getaffinity(0))
    quota = cpu_quota()
    # Part of a processor is worth a thread: 1.5 processors do more with two threads than with one.
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def load_per_processor() -> float:
    """Return how many threads of any program wanted each processor, over the last minute.

    0 where the system does not tell.
    """
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 0.0


def physical_cores(processors: set[int], cpus: Path = _CPUS) -> int:
    """Return how many cores these logical processors belong to."""
    siblings = set()
    for processor in processors:
        try:
            path = cpus / f"cpu{processor}/topology/thread_siblings_list"
            core = path.read_text(encoding="ascii").strip()
        except OSError:
            core = str(processor)
        siblings.add(core)
    return len(siblings)


def cpu_quota(own: Path = _OWN_CGROUPS, root: Path = _CGROUPS) -> float | None:
    """Return how many processors' time the process's control groups allow; None for no limit.

    Reads cpu.max of version 2, cpu.cfs_quota_us and cpu.cfs_period_us of version 1, of the groups
    and of all above them (https://docs.kernel.org/admin-guide/cgroup-v2.html).
    """
    quotas = [quota for group in _groups(own, root) if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups(own: Path, root: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups, and of those above, up to the root.

    Within a container the paths of /proc may be the host's, which do not exist there: the root is
    then the container's own group.
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",") if controllers else []
        if names and "cpu" not in names:
            continue
        # Version 2 lists no controllers. Where both are mounted, it is in "unified".
        mounts = (root / controllers, root / "cpu") if names else (root, root / "unified")
        group = Path(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / above for above in (group, *group.parents))


def _quota(group: Path) -> float | None:
    """Return the limit of one group's folder; None if it has none."""
    try:
        if (group / "cpu.max").exists():
            limit, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        quota = int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no such file, or "max"
    return quota if quota > 0 else None  # version 1 writes -1 for no limit
