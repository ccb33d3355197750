"""Builds stand-ins for the CUDA libraries, with which onnxruntime-gpu makes sessions without a GPU.

Kernels do nothing, but ONNX Runtime places nodes as on a real machine, and device memory (which is
host memory), copies and bindings work.

    python stand_in.py OUT_DIR
    LD_LIBRARY_PATH=OUT_DIR python -c 'import onnxruntime ...'

The dynamic loader reads LD_LIBRARY_PATH when a process starts: use the stand-ins in a subprocess.
"""

import mmap
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
PROVIDER = "libonnxruntime_providers_cuda.so"
TOOLS = ("cc", "nm", "readelf")

# The provider opens these two itself at the first call, so that readelf does not list them, and
# builds their names in machine instructions, so that they are not among its strings either.
OPENED_LATE = ("libcudnn.so.9", "libcufft.so.12")

# "                 U cudaMalloc@libcudart.so.13": the version is part of what the loader checks.
UNDEFINED = re.compile(r" U ((?:__cuda|cuda|cublas|curand|cu[A-Z])\w*)(?:@+(\S+))?$", re.MULTILINE)
NEEDED = re.compile(r"\(NEEDED\).*\[(libcu\w+\.so\.\d+)\]")
# The functions of OPENED_LATE are looked up by name. A capital tells them from option names.
LOOKED_UP = re.compile(rb"\0((?:cudnn|cufft)[A-Z]\w*)(?=\0)")


def provider_library() -> Path | None:
    """Find the installed CUDA provider without importing onnxruntime; None if it is missing."""
    spec = find_spec("onnxruntime")
    for folder in (spec and spec.submodule_search_locations) or ():
        library = Path(folder, "capi", PROVIDER)
        if library.is_file():
            return library
    return None


def why_not() -> str | None:
    """Return why the stand-ins cannot be built here, as a reason to skip tests, or None."""
    if not sys.platform.startswith("linux"):
        return "the CUDA stand-ins need Linux"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"the CUDA stand-ins need {', '.join(missing)}: install gcc and binutils"
    if provider_library() is None:
        return f"no {PROVIDER} here: install onnxruntime-gpu"
    return None


def build(out_dir: Path) -> list[Path]:
    """Compile the stand-ins into out_dir; return a path for each library the provider asks for."""
    if (reason := why_not()) is not None:
        raise RuntimeError(reason)
    provider = provider_library()
    assert provider is not None
    undefined = dict(UNDEFINED.findall(_run("nm", "-D", "--undefined-only", str(provider))))
    names = undefined.keys() | _looked_up_names(provider)
    sonames = [*NEEDED.findall(_run("readelf", "-dW", str(provider))), *OPENED_LATE]

    out_dir.mkdir(parents=True, exist_ok=True)
    defaults, versions = out_dir / "defaults.c", out_dir / "versions.map"
    defaults.write_text(_default_definitions(names))
    versions.write_text(_version_script(undefined))
    library = out_dir / "libcuda_stand_in.so"
    flags = ("-shared", "-fPIC", "-O1", f"-Wl,--version-script={versions}")
    _run("cc", *flags, str(SOURCE), str(defaults), "-o", str(library))
    return [_link(out_dir / soname, library) for soname in sonames]


def _looked_up_names(provider: Path) -> set[str]:
    with provider.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return {match[1].decode() for match in LOOKED_UP.finditer(text)}


def _default_definitions(names: Iterable[str]) -> str:
    """Return C definitions that succeed, and that hand out a handle if their name says Create.

    They are weak, so that those in stand_in.c win, and ignore their arguments. They return a long
    0, which is both a status of success and a null pointer.
    """
    lines = ["static char handle;", "#define DEFAULT __attribute__((weak)) long"]
    for name in sorted(names):
        if "Create" in name:
            lines.append(f"DEFAULT {name}(void **out) {{ *out = &handle; return 0; }}")
        else:
            lines.append(f"DEFAULT {name}(void) {{ return 0; }}")
    return "\n".join(lines) + "\n"


def _version_script(undefined: dict[str, str]) -> str:
    """Return a linker script that gives each symbol the version that the provider expects.

    The loader checks it. The symbols that are looked up by name have no version.
    """
    by_version: dict[str, list[str]] = defaultdict(list)
    for name, version in sorted(undefined.items()):
        if version:
            by_version[version].append(name)
    nodes = (f"{version} {{ {'; '.join(names)}; }};" for version, names in by_version.items())
    return "\n".join(nodes) + "\n"


def _link(path: Path, library: Path) -> Path:
    """Link another name to the library: the loader knows it by its inode and loads it once."""
    path.unlink(missing_ok=True)
    path.symlink_to(library.name)
    return path


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python stand_in.py OUT_DIR")
    for built in build(Path(sys.argv[1])):
        print(built)
