"""What this machine's processor does with products of 8 bits."""

import platform
import re
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Each adds products of 8 bits in 32. What x86 had before adds pairs in 16 bits and cuts them off.
_EXACT = ("avx512_vnni", "avx_vnni", "amx_int8")


def product_instructions() -> str | None:
    """The best of x86's instructions for sums of 8-bit products, or "" where there is none.

    None where that cannot be told: on other processors, whose sums are exact, and where the system
    has no /proc/cpuinfo.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    try:
        info = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^flags\s*:(.*)$", info, re.MULTILINE)
    if match is None:
        return None
    flags = match[1].split()
    return ", ".join(name for name in _EXACT if name in flags)


def cuts_off_sums() -> bool:
    """Whether products of full 8 bits are known to be added inexactly here."""
    return product_instructions() == ""
