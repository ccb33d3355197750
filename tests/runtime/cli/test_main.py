"""The command line prints results, and for whatever is wrong one line, with status 2."""

import argparse
import importlib.metadata
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from small_checkpoint import END_OF_TEXT, write_byte_tokenizer

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.runtime.cli.main import build_parser, main

COMMAND = (sys.executable, "-m", "gptneo_onnx.runtime.cli.main")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(directory, Shape(vocab_size=257), np.random.default_rng(11))
    write_byte_tokenizer(directory)
    return directory


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model; shared, so no test may change it."""
    return export_model(checkpoint, tmp_path_factory.mktemp("cli") / "export")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return shutil.copytree(model, tmp_path / "copy")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: (status, standard output, standard error)."""

    def run_here(*arguments: object) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_here


def real(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command, in another process."""
    command = [*COMMAND, *map(str, arguments)]
    options = {"input": "", "capture_output": True, "timeout": 60} | options
    return subprocess.run(command, text=True, check=False, **options)


def assert_one_line(status: int, error: str, *expected: str) -> None:
    assert status == 2, error
    assert error.startswith("gptneo-onnx: error: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    for words in expected:
        assert words in error


# generate


def test_generate_continues_a_prompt(run: Run, model: Path) -> None:
    status, output, error = run("generate", model, "It was", "--max-new-tokens", 5)
    assert (status, error) == (0, "")
    assert output.startswith("It was")
    assert output.endswith("\n")


def test_generate_takes_the_prompt_from_standard_input(model: Path) -> None:
    greedy = ("generate", model, "--no-do-sample", "--max-new-tokens", 9)
    piped = real(*greedy, input="It was\nlate\n")
    given = real("generate", model, "It was\nlate", *greedy[2:])
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == given.stdout
    assert piped.stdout.startswith("It was\nlate")


def test_the_real_command_works_from_anywhere(model: Path, tmp_path: Path) -> None:
    result = real("generate", model, "It", "--max-new-tokens", 2, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("It")


def test_json_has_the_prompt_and_its_results(run: Run, model: Path) -> None:
    arguments = ("--json", "--do-sample", "--num-return-sequences", 3, "--max-new-tokens", 4)
    status, output, error = run("generate", model, "caf\u00e9", *arguments)
    assert (status, error) == (0, "")
    assert output.count("\n") == 1
    content = json.loads(output)
    assert content.keys() == {
        *("index", "prompt", "results", "prompt_tokens", "seed", "timing", "model", "precision")
    }
    assert content["prompt"] == "caf\u00e9"
    assert len(content["results"]) == 3
    assert all(result["generated_text"].startswith("caf\u00e9") for result in content["results"])


def test_json_and_text_agree(run: Run, model: Path) -> None:
    greedy = ("generate", model, "It", "--no-do-sample", "--max-new-tokens", 6)
    text = run(*greedy)[1]
    (result,) = json.loads(run(*greedy, "--json")[1])["results"]
    assert text == result["generated_text"] + "\n"


def test_several_results_are_numbered(run: Run, model: Path) -> None:
    arguments = ("--do-sample", "--num-return-sequences", 2, "--max-new-tokens", 2)
    output = run("generate", model, "It", *arguments)[1]
    assert output.startswith("--- 1\nIt")
    assert "\n--- 2\nIt" in output


def test_a_seed_makes_a_result_that_can_be_had_again(run: Run, model: Path) -> None:
    def drawn(seed: int) -> str:
        return run("generate", model, "It", "--do-sample", "--seed", seed, "--no-stream")[1]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_seed_makes_the_same_result_in_another_process(run: Run, model: Path) -> None:
    arguments = ("generate", model, "It", "--do-sample", "--seed", 5, "--no-stream")
    assert real(*arguments).stdout == run(*arguments)[1]


def test_threads_and_device_can_be_chosen(run: Run, model: Path) -> None:
    arguments = ("--threads", 1, "--device", "cpu", "--max-new-tokens", 2)
    assert run("generate", model, "It", *arguments)[0] == 0


def test_characters_that_the_output_lacks_are_shown_by_their_codes(model: Path) -> None:
    result = real(
        *("generate", model, "caf\u00e9", "--max-new-tokens", 1, "--no-do-sample"),
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(r"caf\xe9")


def test_a_long_prompt_alone_is_no_path(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a file name may be, it still goes to the embedded model."""
    monkeypatch.setattr("gptneo_onnx.runtime.embedded.embedded_model", lambda: model)
    status, _, error = run("generate", "word " * 1000)
    assert status == 2
    assert error.splitlines()[0].startswith("using the embedded model")
    assert "5000 tokens" in error.splitlines()[1]


def test_a_prompt_alone_goes_to_the_embedded_model(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptneo_onnx.runtime.embedded.embedded_model", lambda: model)
    status, output, error = run("generate", "It was", "--max-new-tokens", 2)
    assert status == 0
    assert output.startswith("It was")
    assert error.startswith("using the embedded model")


@pytest.mark.parametrize("options", range(6))
def test_options_may_stand_anywhere(run: Run, model: Path, options: int) -> None:
    few = ("--max-new-tokens", 3, "--seed", 1)
    arguments = [
        (model, *few, "It was"),
        (*few, model, "It was"),
        (model, "--max-new-tokens", 3, "It was", "--seed", 1),
        ("-m", model, *few, "It was"),
        (*few, "--prompt", "It was", "--model", model),
        (model, *few, "-p", "It was"),
    ][options]
    assert run("generate", *arguments) == run("generate", model, "It was", *few)


def test_weights_can_stay_in_the_file(run: Run, model: Path, tmp_path: Path) -> None:
    greedy = ("-p", "It was", "--max-new-tokens", 5, "--no-do-sample")
    assert run("generate", "-m", model, "--mmap", *greedy) == run("generate", "-m", model, *greedy)
    out = tmp_path / "int8"
    assert run("export", EMBEDDED_CHECKPOINT, out, "--precision", "int8")[0] == 0
    status, _, error = run("generate", "-m", out, "--mmap", *greedy)
    assert_one_line(status, error, "mmap is for fused graphs in fp32, and this is in int8")


def test_a_terminal_is_told_that_it_is_waited_for(model: Path) -> None:
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "generate", "-m", str(model), "--max-new-tokens", "1"],
        stdin=inside,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(terminal, b"It was\n\x04")
    output, error = process.communicate(timeout=60)
    assert error == "type the prompt, and end it with Ctrl-D\n"
    assert output.startswith("It was")
    os.close(inside)
    os.close(terminal)


# The other commands


def test_info_describes_a_model(run: Run, model: Path) -> None:
    status, output, error = run("info", model)
    assert (status, error) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert ["hidden", "size", "32"] in lines
    assert ["precision", "fp32"] in lines
    assert ["cache", "bytes", "per", "sequence", "18.2", "kB"] in lines
    assert any(line[0] == "model.onnx_data" for line in lines)


def test_info_is_had_as_json(run: Run, model: Path) -> None:
    info = json.loads(run("info", model, "--json")[1])
    assert info["context"] == 64
    assert info["files"]["model.onnx_data"] == (model / "model.onnx_data").stat().st_size


def test_doctor_describes_the_machine(run: Run) -> None:
    status, output, error = run("doctor")
    assert (status, error) == (0, "")
    for subject in ("Python", "numpy", "ONNX Runtime", "packages", "CUDA", "cache folder"):
        assert f"\n{subject} " in f"\n{output}"


def test_export_makes_a_model_that_generates(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, output, _ = run("export", checkpoint, out)
    assert status == 0
    assert output.startswith(f"{out}: model.onnx, fp32, ")
    assert (out / MANIFEST_FILE).is_file()
    assert run("generate", out, "It", "--max-new-tokens", 1)[0] == 0


@pytest.mark.parametrize(
    ("options", "is_told"),
    [((), True), (("--graph", "fused,portable"), False), (("--layout", "transformers.js"), False)],
)
def test_export_says_which_graph_other_programs_need(
    run: Run, tmp_path: Path, options: tuple[str, ...], is_told: bool
) -> None:
    _, _, error = run("export", EMBEDDED_CHECKPOINT, tmp_path / "out", *options)
    assert ("for Optimum and other programs, export with --graph" in error) is is_told


def test_export_takes_a_tokenizer_from_elsewhere(
    run: Run, export_shape: Callable[..., Path], tmp_path: Path
) -> None:
    export_shape(Shape(vocab_size=4096))
    out = tmp_path / "out"
    options = ("--tokenizer", EMBEDDED_CHECKPOINT)
    assert run("export", tmp_path / "checkpoint", out, *options)[0] == 0
    expected = (EMBEDDED_CHECKPOINT / "tokenizer.json").read_bytes()
    assert (out / "tokenizer.json").read_bytes() == expected


COMMANDS = ("export", "generate", "compare", "embed", "perplexity", "info", "cache", "doctor")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    status, output, error = run(*command, "--help")
    assert (status, error) == (0, "")
    assert output.startswith("usage: gptneo-onnx")


def test_every_argument_has_a_help_text() -> None:
    [commands] = [
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    for name, parser in commands.choices.items():
        for action in parser._actions:
            assert action.help, f"{name} {action.dest}"


WITHOUT_ONNX_RUNTIME = """
import sys
sys.modules["onnxruntime"] = None
from gptneo_onnx.runtime.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_onnx_runtime(command: str) -> None:
    script = [sys.executable, "-c", WITHOUT_ONNX_RUNTIME, command, "--help"]
    result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: gptneo-onnx {command}")


@pytest.mark.parametrize("arguments", [("generate", "It"), ("lm-eval", "x"), ("info", "x")])
def test_without_onnx_runtime_a_command_is_one_line(arguments: tuple[str, ...]) -> None:
    script = [sys.executable, "-c", WITHOUT_ONNX_RUNTIME, *arguments]
    result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == ""
    assert_one_line(result.returncode, result.stderr, "running a model needs ONNX Runtime")


def test_doctor_needs_no_onnx_runtime() -> None:
    script = [sys.executable, "-c", WITHOUT_ONNX_RUNTIME, "doctor"]
    result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "ONNX Runtime    missing\n" in result.stdout
    assert "-> running a model needs ONNX Runtime: pip install 'gptneo-onnx[cpu]'" in result.stdout


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_printed(run: Run, option: str) -> None:
    version = importlib.metadata.version("gptneo-onnx")
    assert run(option) == (0, f"gptneo-onnx {version}\n", "")


# Arguments that cannot be used


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["generate", "--no-such-option"], "--no-such-option"),
        (["generate", "--max-new-tokens"], "expected one argument"),
        (["generate", "--max-new-tokens", "many"], "invalid int value: 'many'"),
        (["generate", "--max-new-tokens", "1.5"], "invalid int value: '1.5'"),
        (["generate", "--top-k", "1e3"], "invalid int value: '1e3'"),
        (["generate", "--seed", "9" * 5000], "invalid int value"),
        (["generate", "--temperature", "warm"], "invalid float value: 'warm'"),
        (["generate", "--threads", "all\nof them"], "invalid int value: 'all\\nof them'"),
        (["info"], "the following arguments are required: MODEL"),
        (["export", "a"], "the following arguments are required: OUT"),
        (["export", "a", "b", "--precision", "fp64"], "invalid choice: 'fp64'"),
        (["export", "a", "b", "--graph", "big"], "invalid choice: 'big'"),
        (["doctor", "house"], "unrecognized arguments: house"),
    ],
)
def test_arguments_that_are_none_are_refused_in_one_line(
    run: Run, arguments: list[str], expected: str
) -> None:
    status, output, error = run(*arguments)
    assert output == ""
    assert_one_line(status, error, expected, "; see gptneo-onnx", "--help")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--max-new-tokens", 0), "max_new_tokens is 0; a whole number of at least 1"),
        (("--max-new-tokens", -5), "max_new_tokens is -5"),
        (("--max-new-tokens", 64), "max_new_tokens is 64 and the prompt has 2 tokens"),
        (("--max-new-tokens", 10**30), "at most 63 can be generated"),
        (("--max-length", 2), "max_length is 2, but the prompt alone has 2 tokens; raise it"),
        (("--top-k", -1), "top_k is -1"),
        (("--temperature", "nan"), "temperature is nan"),
        (("--min-p", 1.01), "min_p is 1.01"),
        (("--repetition-penalty", -1), "repetition_penalty is -1.0"),
        (("--num-return-sequences", 2, "--no-do-sample"), "pass do_sample=True"),
        (("--seed", -1), "seed is -1"),
        (("--threads", 0), "num_threads is 0; a whole number from 1 to 1024 is allowed"),
        (("--threads", 10**6), "num_threads is 1000000"),
        (("--device", "gpu"), "device is 'gpu'; auto, cpu, cuda or cuda:N is allowed"),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(
    run: Run, model: Path, arguments: tuple[Any, ...], expected: str
) -> None:
    status, output, error = run("generate", model, "It", *arguments)
    assert output == ""
    assert_one_line(status, error, expected)


def test_too_many_words_are_refused(run: Run, model: Path) -> None:
    status, _, error = run("generate", model, "It", "was")
    expected = "takes MODEL and PROMPT, and 3 were given; quote the prompt"
    assert_one_line(status, error, expected)
    status, _, error = run("generate", "-m", model, "It", "was")
    assert_one_line(status, error, "2 were given besides -m or -p; quote the prompt")
    status, _, error = run("generate", "-p", "It", "--prompts", "file")
    assert_one_line(status, error, "--prompt is one text to continue; leave out --prompts")


@pytest.mark.parametrize(
    "word", ["gpt-neo-125m-int4", "EleutherAI/gpt-neo-125m", "./out", "~/out", "out/", ".out"]
)
def test_a_model_that_is_no_directory_is_never_a_prompt(run: Run, word: str) -> None:
    status, output, error = run("generate", word)
    assert output == ""
    assert_one_line(status, error, f"{word} is not a directory; name a model with -m")
    assert f"pass -p {shlex.quote(word)} if that is a prompt" in error


@pytest.mark.parametrize("prompt", ["gpt-neo-125m-int4", "./out", "It"])
def test_p_makes_any_word_a_prompt(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    monkeypatch.setattr("gptneo_onnx.runtime.embedded.embedded_model", lambda: model)
    status, output, _ = run("generate", "-p", prompt, "--max-new-tokens", 1)
    assert status == 0
    assert output.startswith(prompt)


def test_an_empty_prompt_starts_from_nothing(run: Run, model: Path) -> None:
    arguments = ("--max-new-tokens", 5, "--no-do-sample")
    status, text, _ = run("generate", model, "", *arguments)
    assert status == 0
    assert run("generate", model, END_OF_TEXT, *arguments)[1].removeprefix(END_OF_TEXT) == text


def test_a_prompt_that_is_too_long_is_refused(run: Run, model: Path) -> None:
    status, _, error = run("generate", model, "x" * 65)
    assert_one_line(status, error, "has 65 tokens", "context 64", "shorten")


@pytest.mark.parametrize("utf8_mode", ["0", "1"])
def test_a_prompt_that_is_not_utf8_is_refused(model: Path, utf8_mode: str) -> None:
    result = subprocess.run(
        [*COMMAND, "generate", model],
        input=b"caf\xe9",
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONUTF8": utf8_mode, "PYTHONIOENCODING": "", "LC_ALL": "C.UTF-8"},
    )
    assert_one_line(result.returncode, result.stderr.decode(), "UTF-8")


def test_standard_input_that_is_closed_is_refused(model: Path) -> None:
    shell = f"exec {sys.executable} -m gptneo_onnx.runtime.cli.main generate {model} <&-"
    result = subprocess.run(
        ["/bin/sh", "-c", shell], capture_output=True, text=True, timeout=60, check=False
    )
    assert_one_line(result.returncode, result.stderr, "standard input is closed; pass the prompt")


def test_a_model_without_a_tokenizer_is_refused(
    run: Run, export_shape: Callable[..., Path]
) -> None:
    status, _, error = run("generate", export_shape(), "It")
    assert_one_line(status, error, "has no tokenizer.json")


# Models that cannot be used: the real command


def change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change_weights(copy: Path) -> None:
    change_one_byte(copy / "model.onnx_data")


def change_graph(copy: Path) -> None:
    change_one_byte(copy / "model.onnx")


def change_config(copy: Path) -> None:
    change_one_byte(copy / "config.json")


def change_tokenizer(copy: Path) -> None:
    change_one_byte(copy / "tokenizer.json")


def remove_weights(copy: Path) -> None:
    (copy / "model.onnx_data").unlink()


def cut_weights(copy: Path) -> None:
    os.truncate(copy / "model.onnx_data", 1000)


def add_a_file(copy: Path) -> None:
    (copy / "extra.json").write_text("{}")


def link_out(copy: Path) -> None:
    (copy / "config.json").rename(copy.parent / "config.json")
    (copy / "config.json").symlink_to("../config.json")


def link_hard(copy: Path) -> None:
    private = copy.parent / "private"
    private.write_bytes(bytes((copy / "model.onnx_data").stat().st_size))
    (copy / "model.onnx_data").unlink()
    os.link(private, copy / "model.onnx_data")


def put_a_pipe(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    os.mkfifo(copy / "model.onnx")


def put_a_folder(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    (copy / "model.onnx").mkdir()


def remove_manifest(copy: Path) -> None:
    (copy / MANIFEST_FILE).unlink()


def damage_manifest(copy: Path) -> None:
    (copy / MANIFEST_FILE).write_bytes(b"\xff{")


def change_manifest(copy: Path, **changes: Any) -> None:
    content = json.loads((copy / MANIFEST_FILE).read_text())
    (copy / MANIFEST_FILE).write_text(json.dumps(content | changes))


def raise_format(copy: Path) -> None:
    change_manifest(copy, format_version=2)


def raise_runtime(copy: Path) -> None:
    change_manifest(copy, least_onnx_runtime="99.0.0")


def name_a_path(copy: Path) -> None:
    change_manifest(copy, files={"../secret\n": {"size": 1, "sha256": "0" * 64}})


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (change_weights, "model.onnx_data was changed since the export"),
        (change_graph, "model.onnx was changed since the export"),
        (change_config, "config.json was changed since the export"),
        (change_tokenizer, "tokenizer.json was changed since the export"),
        (remove_weights, "model.onnx_data is missing; fetch or export the model again"),
        (cut_weights, "model.onnx_data has 1000 bytes"),
        (add_a_file, "extra.json is not listed in gptneo_onnx.json; remove it"),
        (link_out, "config.json links out of its directory; copy the file instead"),
        (link_hard, "model.onnx_data was changed since the export"),
        (put_a_pipe, "model.onnx is not a regular file"),
        (put_a_folder, "model.onnx is not a regular file"),
        (remove_manifest, "is a fused graph, whose gptneo_onnx.json is missing"),
        (damage_manifest, "gptneo_onnx.json is not valid JSON"),
        (raise_format, "format_version is 2; this version reads 1"),
        (raise_runtime, "needs ONNX Runtime 99.0.0 or later"),
        (name_a_path, r"'../secret\n' is not a plain file name"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_one_line(
    copy: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    spoil(copy)
    result = real("generate", copy, "It")
    assert result.stdout == ""
    assert_one_line(result.returncode, result.stderr, expected)


@pytest.mark.parametrize("command", ["info", "generate"])
def test_every_command_checks_the_model(run: Run, copy: Path, command: str) -> None:
    change_weights(copy)
    arguments = ("It",) if command == "generate" else ()
    status, output, error = run(command, copy, *arguments)
    assert output == ""
    assert_one_line(status, error, "model.onnx_data was changed since the export")


@pytest.mark.parametrize("name", ["EleutherAI/gpt-neo-125m", "no where", "x\ny", "x" * 5000])
def test_a_model_that_is_not_there_is_refused_in_one_line(run: Run, name: str) -> None:
    status, _, error = run("generate", name, "It")
    assert_one_line(status, error, "neither a directory nor")


def test_a_model_that_is_not_there_is_refused_by_the_real_command() -> None:
    result = real("info", "EleutherAI/gpt-neo-125m")
    assert_one_line(
        result.returncode, result.stderr, "EleutherAI/gpt-neo-125m is neither a directory nor in"
    )


def test_cuda_where_there_is_none_is_refused(model: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    result = real("generate", model, "It", "--device", "cuda")
    assert_one_line(
        result.returncode, result.stderr, "no CUDAExecutionProvider", "it has: cpu", "pip install"
    )


def test_a_checkpoint_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    status, _, error = run("export", tmp_path / "nowhere", tmp_path / "out")
    assert_one_line(status, error, "nowhere", "is not a directory; pass")
    assert not (tmp_path / "out").exists()


def test_an_export_over_something_else_is_refused(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear")
    status, _, error = run("export", checkpoint, tmp_path / "letters")
    assert_one_line(status, error, "name another")
    assert (tmp_path / "letters" / "mine.txt").read_text() == "dear"


# Troubles of the machine


def closed_pipe() -> int:
    """Return the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", [("doctor",), ("info", "--json"), ("generate", "It")])
def test_a_reader_that_has_gone_is_no_error(model: Path, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    writing = closed_pipe()
    result = subprocess.run(
        [*COMMAND, command, *([] if command == "doctor" else [str(model)]), *rest],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_head_is_quiet(model: Path) -> None:
    shell = f"{sys.executable} -m gptneo_onnx.runtime.cli.main info {model} | head -c 1"
    result = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"g", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["info", "generate"])
def test_a_full_disk_is_told_in_one_line(model: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, command, model, *(["It"] if command == "generate" else [])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert_one_line(result.returncode, result.stderr, "No space left on device")


# Reports that it has started: an interruption before that is Python's to handle.
STARTED = """
import sys
from gptneo_onnx.runtime import modeling
from gptneo_onnx.runtime.cli import main as cli
print("started", file=sys.stderr, flush=True)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [(signal.SIGINT, 130, "gptneo-onnx: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_an_interrupt_is_told_in_one_line(
    model: Path, sent: signal.Signals, status: int, said: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTED, "generate", str(model)],
        stdin=subprocess.PIPE,  # it waits for the prompt
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        time.sleep(0.5)
        process.send_signal(sent)
        assert process.wait(timeout=30) == status
        assert process.stderr.read() == said


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory: Unable to allocate 9 TiB"),
        (PermissionError(13, "Permission denied", "model.onnx"), "Permission denied: 'model.onnx'"),
    ],
)
def test_what_the_machine_refuses_is_told_in_one_line(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def refuse(directory: Path, file_name: str | None) -> None:
        raise error

    monkeypatch.setattr("gptneo_onnx.runtime.model_files.directory.open_model_directory", refuse)
    status, _, said = run("info", model)
    assert_one_line(status, said, expected)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("genrate", "x"), "generate"),
        (("generate", "x", "--batch-invarant"), "--batch-invariant"),
        (("generate", "x", "--max_new_tokns=3"), "--max-new-tokens"),
        (("export", "a", "b", "--precison", "int4"), "--precision"),
        (("export", "a", "b", "--graph", "fusd"), "fused"),
    ],
)
def test_a_mistyped_word_is_told_the_right_one(
    run: Run, arguments: tuple[str, ...], meant: str
) -> None:
    status, _, error = run(*arguments)
    assert_one_line(status, error, f"did you mean {meant}?")
