"""--prompts: a prompt a line, as text or as JSON, and what its line holds besides."""

import json

import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.cli.prompt_file import PromptLine, read_prompts


@pytest.fixture
def file(tmp_path):
    def write(content, name="prompts.jsonl"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def test_json_lines(file):
    lines = [
        '{"prompt": "She was", "id": 7, "text": "kept"}',
        "",
        '{"text": "two\\nlines", "tags": ["a"]}',
        '"It is \u2014 a truth"',
    ]
    assert read_prompts(file("\n".join(lines), "PROMPTS.JSONL")) == [
        PromptLine("She was", {"id": 7, "text": "kept"}),
        PromptLine("two\nlines", {"tags": ["a"]}),
        PromptLine("It is \u2014 a truth"),
    ]


@pytest.mark.parametrize("name", ["prompts.txt", "prompts", "prompts.json"])
def test_lines_of_other_files_are_prompts_themselves(file, name):
    assert read_prompts(file('"She"\n\nSir\r\n', name)) == [PromptLine('"She"'), PromptLine("Sir")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"', "line 2 is not JSON: Expecting ',' delimiter, at character 15"),
        ("She was", "line 2 is not JSON: Expecting value, at character 1"),
        ("[1]", r"line 2 is \[1\]; a text, or an object with prompt or text, is allowed"),
        ('{"question": "a"}', "line 2 has neither prompt nor text .it has 'question'"),
        ('{"prompt": 7}', "line 2: its prompt is 7; a text is expected"),
        ('{"text": null}', "line 2: its text is None; a text is expected"),
        ('"\\ud800"', "line 2 has a lone surrogate"),
        ("[" * 100_000, "line 2 is not JSON: nested too deeply, at most 100 levels are read"),
        (
            '{"text": "a", "b": ' + "[" * 101 + "]" * 101 + "}",
            "line 2 is not JSON: nested too deep",
        ),
        ('{"text": "a", "b": NaN}', "line 2 is not JSON: NaN is no number of JSON"),
        ('{"text": "a", "b": -1e999}', "line 2 is not JSON: the number -1e999 is too large"),
        (
            '{"text": "a", "b": ' + "9" * 10**5 + "}",
            "line 2 is not JSON: the number 9+... has 100000",
        ),
    ],
)
def test_a_line_that_is_no_prompt_is_named(file, line, message):
    path = file(f'"She"\n{line}\n')
    with pytest.raises(InputError, match=f"prompts.jsonl, {message}"):
        read_prompts(path)


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.txt"])
def test_a_file_without_a_prompt(file, name):
    with pytest.raises(InputError, match="holds no prompt; write one a line"):
        read_prompts(file("\n\n", name))


def test_what_a_line_holds_is_carried_through(file, embedded_export, capsys):
    path = file('{"id": "a", "prompt": "She was"}\n{"text": "Sir", "results": 1}\n"Emma"\n')
    command = ["generate", str(embedded_export), "--prompts", path, "-n", "2", "--batch-size", "2"]
    assert main([*command, "--no-do-sample", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [line["prompt"] for line in lines] == ["She was", "Sir", "Emma"]
    assert [line.get("id") for line in lines] == ["a", None, None]
    assert [line["timing"]["batch_size"] for line in lines] == [2, 2, 1]
    assert len(lines[1]["results"]) == 1  # the command's own names count
    texts = [line["results"][0]["generated_text"] for line in lines]
    assert main([*command, "--no-do-sample"]) == 0
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in texts)


def test_a_line_that_is_no_prompt_costs_nothing(file, tmp_path, capsys):
    """It is found before the model is looked for."""
    path = file('"She"\n{}\n')
    (tmp_path / "model").mkdir()
    assert main(["generate", str(tmp_path / "model"), "--prompts", path]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gptneo-onnx: error: {path}, line 2 has neither prompt nor text")
    assert error.count("\n") == 1
