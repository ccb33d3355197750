"""The command `gptneo-onnx doctor`: versions, devices and missing libraries of this machine."""

import argparse
import ctypes
import json
import platform
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError
from gptneo_onnx.models.manifest import LEAST_ONNX_RUNTIME
from gptneo_onnx.runtime.cli.options import add_json
from gptneo_onnx.runtime.cli.parser import add_examples
from gptneo_onnx.runtime.cli.terminal import wrapped
from gptneo_onnx.runtime.files import cache_folder
from gptneo_onnx.runtime.onnx_runtime import (
    check_onnx_runtime,
    installed_packages,
    require_onnx_runtime,
)

# Threads per processor from which on other programs are worth a word.
_BUSY = 0.5
# Extras of pyproject.toml that the report leaves out: other lines cover cpu and gpu.
_OTHER_EXTRAS = ("cpu", "gpu", "test", "dev", "docs")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` says what to do where something is wrong."""

    subject: str
    state: str
    advice: str = ""


def add_command(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    command = commands.add_parser(
        "doctor",
        help="check this machine: versions, devices, libraries",
        description="Check this machine: versions, devices, missing libraries, and what to do.",
    )
    add_json(command.add_argument_group("output"))
    add_examples(command, "doctor")
    command.set_defaults(run=run_doctor, needs_onnx_runtime=False)


def run_doctor(options: argparse.Namespace) -> None:
    """Print all findings, each with its advice, as a table or as JSON."""
    if options.json:
        print(json.dumps({"findings": [asdict(finding) for finding in examine()]}))
        return
    for finding in examine():
        print(wrapped(f"{finding.subject:16}{finding.state}", sys.stdout, 16))
        if finding.advice:
            print(wrapped(f"{'':16}-> {finding.advice}", sys.stdout, 19))


def examine() -> list[Finding]:
    """Return everything that decides whether and where models run here."""
    import numpy as np
    import tokenizers

    system = f"{platform.system()} {platform.machine()}"
    findings = [
        Finding("Python", f"{platform.python_version()} on {system}"),
        Finding("numpy", np.__version__),
        Finding("tokenizers", tokenizers.__version__),
    ]
    try:
        require_onnx_runtime()
    except MissingDependencyError as error:
        findings += [Finding("ONNX Runtime", "missing", str(error)), _packages()]
    else:
        findings += [_onnx_runtime(), _packages(), _int8_products(), _threads(), _cuda()]
    return [*findings, _extras(), _cache_folder()]


def _onnx_runtime() -> Finding:
    import onnxruntime

    advice = ""
    try:
        check_onnx_runtime(LEAST_ONNX_RUNTIME)
    except MissingDependencyError as error:
        advice = str(error)
    return Finding("ONNX Runtime", onnxruntime.__version__, advice)


def _packages() -> Finding:
    packages = installed_packages()
    state = ", ".join(f"{name} {version}" for name, version in packages.items()) or "none by name"
    advice = ""
    if len(packages) > 1:
        advice = (
            "they overwrite each other's files: pip uninstall onnxruntime onnxruntime-gpu, "
            "then install one of them"
        )
    return Finding("packages", state, advice)


def _int8_products() -> Finding:
    from gptneo_onnx.runtime.engine.device import int8_dot_instructions

    instructions = int8_dot_instructions()
    if instructions is None and platform.machine().lower() in ("x86_64", "amd64"):
        return Finding("8-bit products", "unknown here; exact on a processor with VNNI or AMX")
    if instructions == "":
        return Finding(
            "8-bit products",
            "no VNNI or AMX: some sums are cut off",
            "export again without --full-range (or use --precision int8)",
        )
    return Finding("8-bit products", instructions or "exact")


def _threads() -> Finding:
    from gptneo_onnx.runtime.engine.threads import (
        load_per_processor,
        thread_count,
        threads_spin,
    )

    try:
        threads, spins = thread_count(None), threads_spin(None)
    except InputError as error:
        return Finding("threads", "none", str(error))
    state = "ONNX Runtime's default" if threads is None else str(threads)
    state += " that spin while they wait" if spins else " that sleep while they wait"
    if spins and load_per_processor() >= _BUSY:
        state += " (other programs use the processors: GPTNEO_ONNX_SPIN=0 leaves them time)"
    return Finding("threads", state)


def _extras() -> Finding:
    """Name the extras whose packages are installed, and those whose are not."""
    extras = packages_of_extras()
    missing = [extra for extra, packages in extras.items() if not all(map(_is_installed, packages))]
    installed = ", ".join(extra for extra in extras if extra not in missing) or "none"
    others = f" (not installed: {', '.join(missing)})" if missing else ""
    return Finding("extras", installed + others)


def packages_of_extras() -> dict[str, list[str]]:
    """Return the packages that each extra brings, by extra; none where this is not installed."""
    from importlib import metadata

    extras: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires("gptneo-onnx") or []
    except metadata.PackageNotFoundError:
        return extras
    for requirement in requirements:
        match = re.match(r"([\w.-]+).*; extra == [\"'](\w+)[\"']", requirement)
        if match and match[2] not in _OTHER_EXTRAS:
            extras.setdefault(match[2], []).append(match[1])
    return extras


def _is_installed(package: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cuda() -> Finding:
    import onnxruntime

    from gptneo_onnx.runtime.engine.device import PROVIDERS

    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return Finding("CUDA", "not in this ONNX Runtime (models run on the CPU)")
    missing = missing_cuda_library()
    if missing:
        return Finding(
            "CUDA",
            f"{missing} cannot be loaded",
            "install the NVIDIA driver, and CUDA's libraries with: "
            "pip install 'onnxruntime-gpu[cuda,cudnn]' nvidia-cublas",
        )
    return Finding("CUDA", "its libraries load")


def _cache_folder() -> Finding:
    try:
        return Finding("cache folder", str(cache_folder()))
    except InputError as error:
        return Finding("cache folder", "none", str(error))


def missing_cuda_library() -> str:
    """Return the first library that the CUDA provider needs and that cannot be loaded, or ""."""
    import onnxruntime

    from gptneo_onnx.runtime.engine.device import preload_cuda_libraries

    preload_cuda_libraries()
    folder = Path(onnxruntime.__file__).parent / "capi"
    is_windows = platform.system() == "Windows"
    prefix, suffix, driver = (
        ("", ".dll", "nvcuda.dll") if is_windows else ("lib", ".so", "libcuda.so.1")
    )
    try:
        for library in ("shared", "cuda"):
            path = folder / f"{prefix}onnxruntime_providers_{library}{suffix}"
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(driver)  # comes with the driver, not with a package
    except OSError as error:
        match = re.match(r"(\S+): cannot open shared object file", str(error))
        return match[1] if match else " ".join(str(error).split())
    return ""
