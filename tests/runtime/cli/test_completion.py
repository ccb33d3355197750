"""`gptneo-onnx completion`: its scripts complete command lines in real shells."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gptneo_onnx.runtime.cli.main import build_parser, main

SHELLS = ("bash", "zsh", "fish")

# Completes the words after the first argument as bash does for a TAB after the last of them.
COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
function=$(complete -p gptneo-onnx | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function gptneo-onnx "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$(( COMP_CWORD - 1 ))]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    shtab = pytest.importorskip("shtab")
    assert {*SHELLS} <= {*shtab.SUPPORTED_SHELLS}
    folder = tmp_path_factory.mktemp("completion")
    found = {}
    for shell in SHELLS:
        found[shell] = folder / shell
        with pytest.MonkeyPatch.context() as patch, found[shell].open("w") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
    return found


def completed(script: Path, *words: str, folder: Path | None = None) -> set[str]:
    """What bash offers for the last of the words."""
    command = ["bash", "--norc", "-c", COMPLETE, "bash", str(script), "gptneo-onnx", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return {word.strip() for word in done.stdout.splitlines()} - {""}


def test_bash_registers_the_script(scripts: dict[str, Path]) -> None:
    command = ["bash", "--norc", "-c", 'source "$1"; complete -p gptneo-onnx', "bash"]
    done = subprocess.run([*command, scripts["bash"]], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("complete ")
    assert done.stdout.endswith(" gptneo-onnx\n")


def test_bash_completes_commands(scripts: dict[str, Path]) -> None:
    assert completed(scripts["bash"], "gen") == {"generate"}
    assert completed(scripts["bash"], "comp") == {"compare", "completion"}
    assert completed(scripts["bash"], "") >= {*build_parser().groups["make a model"]}


def test_bash_completes_options(scripts: dict[str, Path]) -> None:
    assert completed(scripts["bash"], "generate", "--max-n") == {"--max-new-tokens"}
    assert completed(scripts["bash"], "embed", "--o") == {"--out"}
    assert completed(scripts["bash"], "generate", "--n") >= {"--no-stream", "--num-beams"}


def test_bash_completes_choices(scripts: dict[str, Path]) -> None:
    bash = scripts["bash"]
    assert completed(bash, "embed", "--pooling", "") >= {"mean", "last_token", "none"}
    assert completed(bash, "export", "--precision", "fp") == {"fp32", "fp16"}
    assert completed(bash, "generate", "--device", "c") == {"cpu", "cuda"}
    assert completed(bash, "completion", "z") == {"zsh"}
    assert completed(bash, "help", "gen") == {"generate"}


def test_bash_completes_models_with_directories(scripts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "mode.txt").write_text("")
    bash = scripts["bash"]
    for words in (["info"], ["generate"], ["generate", "-m"], ["generate", "--draft"]):
        assert completed(bash, *words, "mod", folder=tmp_path) == {"model"}
    offered = completed(bash, "embed", "--out", "mod", folder=tmp_path)
    assert {word.rstrip("/") for word in offered} == {"model", "mode.txt"}


def test_the_scripts_name_every_command(scripts: dict[str, Path]) -> None:
    for shell in SHELLS:
        text = scripts[shell].read_text()
        for names in build_parser().groups.values():
            assert all(name in text for name in names), shell


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_script(scripts: dict[str, Path], shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    done = subprocess.run([program, "-n", scripts[shell]], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_shtab_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error == (
        "gptneo-onnx: error: completion needs shtab: pip install 'gptneo-onnx[completion]'\n"
    )
