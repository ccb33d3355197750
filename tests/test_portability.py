"""What can be tested on Linux of running elsewhere: docs/platforms.md says what that covers."""

import ast
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gptneo_onnx.export import export_model, set_tokenizer
from gptneo_onnx.export import output_directory as output
from gptneo_onnx.export import replace_directory as replace
from gptneo_onnx.models import EMBEDDED_CHECKPOINT

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path for top in ("models", "export", "runtime") for path in (ROOT / top).rglob("*.py")
)
# Modules of the standard library that Windows lacks.
POSIX_MODULES = {
    "curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios",
    "tty",
}  # fmt: skip
# Names of os and of signal that Windows or macOS lacks.
POSIX_NAMES = {
    "os": {
        "O_DIRECT", "O_DIRECTORY", "O_NOFOLLOW", "chown", "chroot", "copy_file_range", "fchmod",
        "fchown", "fork", "geteuid", "getloadavg", "getpgid", "getuid", "killpg", "lchown",
        "mkfifo", "mknod", "nice", "openpty", "posix_fadvise", "posix_fallocate", "pread",
        "preadv", "pwrite", "pwritev", "sched_getaffinity", "sched_setaffinity", "sendfile",
        "setsid", "statvfs", "sync", "sysconf", "uname", "wait", "waitid",
    },
    "signal": {
        "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP",
        "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "pthread_sigmask", "setitimer",
    },
}  # fmt: skip
NOT_REOPENED = {"NamedTemporaryFile"}  # on Windows an open one cannot be opened again


def functions(tree: ast.AST) -> list[ast.AST]:
    """The functions of a module, and the module itself."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [tree, *(node for node in ast.walk(tree) if isinstance(node, kinds))]


def is_guarded(node: ast.AST, scopes: list[ast.AST], name: str) -> bool:
    """Whether a function around the node asks for the name or the system, or does without."""
    guards = {f"hasattr(os, '{name}')", f"hasattr(signal, '{name}')", "sys.platform"}
    guards.add("ImportError" if isinstance(node, ast.Import) else "AttributeError")
    for scope in scopes[1:]:
        if any(child is node for child in ast.walk(scope)):
            text = ast.unparse(scope)
            if any(guard in text for guard in guards):
                return True
    return False


def lacking_elsewhere(tree: ast.AST) -> list[str]:
    """What a module uses unasked that Windows or macOS lacks: "line: name" of each."""
    scopes = functions(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names} & POSIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            of_module = POSIX_NAMES.get(node.module, set())
            names = {node.module} & POSIX_MODULES | {each.name for each in node.names} & of_module
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            lacking = POSIX_NAMES.get(node.value.id, set()) | NOT_REOPENED
            names = {node.attr} & lacking
        else:
            continue
        unasked = (name for name in names if not is_guarded(node, scopes, name))
        found += [f"{node.lineno}: {name}" for name in unasked]
    return found


def test_what_windows_or_macos_lacks_is_only_used_where_it_is_there():
    for path in FILES:
        assert not lacking_elsewhere(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    "text",
    [
        "import fcntl",
        "from pwd import getpwuid",
        "from os import fork",
        "import signal\nsignal.signal(signal.SIGHUP, print)",
        "import os\ndef cores():\n    return os.sched_getaffinity(0)",
        "import tempfile\ntempfile.NamedTemporaryFile()",
    ],
)
def test_the_check_finds_it(text):
    assert lacking_elsewhere(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    try:\n        import readline\n    except ImportError:\n        return None",
        "def f():\n    if sys.platform == 'win32':\n        return\n    import fcntl",
        "def f():\n    return os.fork() if hasattr(os, 'fork') else None",
    ],
)
def test_the_check_lets_pass_what_asks_first(text):
    assert not lacking_elsewhere(ast.parse(text))


def opens_text_without_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the system's encoding, which is not always UTF-8."""
    if not isinstance(call.func, ast.Attribute):
        return False
    arguments = {keyword.arg for keyword in call.keywords}
    if call.args and ast.unparse(call.args[0]).startswith("json.dumps("):  # ASCII
        return "ensure_ascii" in ast.unparse(call.args[0])
    if call.func.attr in ("read_text", "write_text"):
        return "encoding" not in arguments
    # Path.open(mode); other classes have an open() of their own, without a mode.
    mode = call.args[0] if call.func.attr == "open" and call.args else None
    is_text = isinstance(mode, ast.Constant) and str(mode.value) in {"r", "w", "a", "r+", "w+"}
    return is_text and "encoding" not in arguments


def test_text_files_are_utf8_on_every_system():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert not opens_text_without_encoding(node), f"{path}, line {node.lineno}"


def open_within(directory: Path) -> set[str]:
    """The files below a directory that this process has open or mapped (Linux)."""
    links = Path("/proc/self/fd").iterdir()
    names = {str(link.readlink()) for link in links if link.is_symlink()}
    names |= {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    return {name for name in names if name.startswith(f"{directory}/")}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("options", [{}, {"precision": "int4", "graph": "fused,portable"}])
def test_no_file_of_an_export_is_open_when_it_is_renamed(tmp_path, monkeypatch, options):
    """Windows renames no directory with open files."""
    seen = []

    def observed(partial: Path, out: Path) -> None:
        with (partial / "model.onnx").open("rb"):
            assert open_within(partial)
        seen.append(open_within(partial))
        partial.rename(out)

    monkeypatch.setattr(output, "_replace", observed)
    export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", **options)
    assert seen == [set()]


def test_what_is_flushed_is_open_for_writing(tmp_path, monkeypatch):
    """Windows refuses to flush other files."""
    access = []

    def observed(descriptor: int) -> None:
        access.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)

    monkeypatch.setattr(os, "fsync", observed)
    export_model(EMBEDDED_CHECKPOINT, tmp_path / "out")
    set_tokenizer(tmp_path / "out", EMBEDDED_CHECKPOINT)
    assert len(access) > 5
    assert os.O_RDONLY not in access


def test_an_export_is_replaced_where_directories_cannot_be_swapped(
    embedded_export, tmp_path, monkeypatch
):
    monkeypatch.setattr(replace, "_swapped", lambda *_: False)
    out = tmp_path / "out"
    export_model(EMBEDDED_CHECKPOINT, out, precision="int4")
    export_model(EMBEDDED_CHECKPOINT, out)
    assert (out / "model.onnx_data").stat().st_size == (
        embedded_export / "model.onnx_data"
    ).stat().st_size
    set_tokenizer(out, EMBEDDED_CHECKPOINT)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


ELSEWHERE = """
import os, signal, sys
import multiprocessing, subprocess, tempfile  # the standard library's own use of what is removed

for name in {names}:
    if hasattr(os, name):
        delattr(os, name)
sys.modules.update(dict.fromkeys({modules}))  # importing one is an ImportError

from gptneo_onnx.models import denormals
denormals._LIBRARY = None
from gptneo_onnx.runtime.cli.main import main

checkpoint, out = sys.argv[1:]
assert main(["export", checkpoint, out]) == 0
assert main(["generate", out, "She was", "--no-do-sample", "--max-new-tokens", "8"]) == 0
assert main(["doctor"]) == 0
"""


def test_a_process_without_posix_exports_generates_and_examines(tmp_path):
    """As on Windows, as far as Python's modules go."""
    needed_by_others = {"uname", "getuid", "geteuid"}  # numpy and tempfile ask for these
    script = ELSEWHERE.format(
        names=sorted(POSIX_NAMES["os"] - needed_by_others),
        modules=sorted(POSIX_MODULES - {"posix"}),
    )
    command = [sys.executable, "-c", script, str(EMBEDDED_CHECKPOINT), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "She was" in result.stdout
    assert "ONNX Runtime's default" in result.stdout  # the number of threads
