"""--json: one object, or one a line, and nothing else on standard output."""

import json
import re
import shutil
from pathlib import Path

import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import pipeline
from gptneo_onnx.runtime.cli.main import main

PAGE = Path(__file__).parents[3] / "docs/command-line.md"


def documented(*keys):
    """Whether the page's section on JSON names all of these."""
    _, _, section = PAGE.read_text().partition("## JSON\n")
    return {*keys} <= {*re.findall(r"`(\w+)`", section)}


@pytest.fixture
def run(capsys):
    """Run a command, whose standard output is JSON lines: (status, objects, standard error)."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        output, error = capsys.readouterr()
        return status, [json.loads(line) for line in output.splitlines()], error

    return run


@pytest.fixture
def generate(run, embedded_export):
    def generate(*arguments):
        status, [values], _ = run("generate", embedded_export, *arguments, "--json")
        assert status == 0
        return values

    return generate


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("She was very fond of him.\nIt was a truth.\n")
    return path


class TestGenerate:
    def test_the_limit_ends_a_text(self, generate):
        values = generate("She was", "-n", 5)
        [result] = values["results"]
        assert documented(*values, *values["timing"], *result, "complete")
        assert result["finish_reason"] == "length"
        assert result["stop_reason"] is None
        assert result["new_tokens"] == 5
        assert "complete" not in result

    def test_a_stop_string_ends_a_text(self, generate):
        options = ("--no-do-sample", "-n", 40)
        [result] = generate("She was", *options, "--stop", "zzz", "--stop", "a")["results"]
        assert (result["finish_reason"], result["stop_reason"]) == ("stop", "a")
        assert 0 < result["new_tokens"] < 40

    def test_a_stop_string_in_the_last_token_that_there_is_room_for(self, generate):
        options = ("She was", "--no-do-sample", "-n")
        [longer] = generate(*options, 40, "--stop", "a")["results"]
        [result] = generate(*options, longer["new_tokens"], "--stop", "a")["results"]
        assert result == longer

    @pytest.mark.parametrize("more", [[], ["--beams", "2"]])
    def test_a_batch_ends_each_text_as_it_would_end_alone(
        self, run, embedded_export, tmp_path, more
    ):
        """Shorter texts are filled up with end tokens, which do not count."""
        file = tmp_path / "prompts.txt"
        file.write_text("She was\nSir\nIt is\n")
        command = ("generate", embedded_export, "--prompts", file, "-n", 24, "--no-do-sample")
        options = ("--stop", "a", "--stop", ".", "--json", *more)
        alone = run(*command, *options)[1]
        together = run(*command, *options, "--batch-size", 3)[1]
        assert [line["results"] for line in together] == [line["results"] for line in alone]
        assert len({line["results"][0]["new_tokens"] for line in alone}) > 1
        assert {line["results"][0]["stop_reason"] for line in alone} & {"a", "."}

    def test_the_end_token_ends_a_text(self, generate):
        [result] = generate("He is in", "--regex", r" (Bath|Lyme)\.", "--seed", 1)["results"]
        assert (result["finish_reason"], result["stop_reason"]) == ("stop", None)
        assert result["complete"] is True

    def test_time_ends_a_text(self, generate):
        [result] = generate("She was", "--max-time", 0, "-n", 40)["results"]
        assert result["finish_reason"] == "time"
        assert result["new_tokens"] < 40

    @pytest.mark.parametrize("beams", [[], ["--beams", "3"], ["--prompt-lookup"]])
    def test_tokens_are_counted(self, generate, embedded_export, beams):
        values = generate("She was", "-n", 6, "--no-do-sample", *beams)
        tokenizer = pipeline("text-generation", embedded_export).tokenizer
        assert values["prompt_tokens"] == len(tokenizer.encode("She was"))
        assert values["results"][0]["new_tokens"] == 6

    @pytest.mark.parametrize("count", [1, 3])
    def test_the_seed_gives_the_results_again(self, generate, count):
        options = ("She was", "-n", 8, "--num-return-sequences", count)
        values = generate(*options)
        again = generate(*options, "--seed", values["seed"])
        assert again["results"] == values["results"]
        assert again["seed"] == values["seed"] < 2**32
        assert generate(*options, "--seed", values["seed"] + 1)["results"] != values["results"]

    def test_greedy_decoding_has_no_seed(self, generate):
        assert generate("She was", "-n", 2, "--no-do-sample")["seed"] is None

    def test_the_time_that_it_took(self, generate):
        timing = generate("She was", "-n", 9, "--no-do-sample")["timing"]
        assert timing["prefill_seconds"] > 0
        assert timing["decode_seconds"] > 0
        expected = 8 / timing["decode_seconds"]
        assert timing["tokens_per_second"] == pytest.approx(expected, rel=0.01)
        assert timing["batch_size"] == 1
        assert generate("She was", "-n", 1)["timing"]["tokens_per_second"] is None

    def test_the_model(self, generate, embedded_export):
        values = generate("She was", "-n", 1)
        assert (values["model"], values["precision"]) == (str(embedded_export), "fp32")

    @pytest.mark.parametrize("graph", ["fused", "portable"])
    def test_the_precision_is_the_graphs(self, run, tmp_path, graph):
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "o", precision="fp32,int8", graph=graph)
        options = ("-n", 1, "--precision", "int8", "--json")
        _, [values], _ = run("generate", out, "She was", *options)
        assert values["precision"] == "int8"

    def test_the_precision_of_a_graph_that_no_manifest_describes(self, run, tmp_path):
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "o", layout="transformers.js")
        options = ("--file-name", "onnx/model.onnx", "-n", 1, "--json")
        status, [values], _ = run("generate", out, "She was", *options)
        assert (status, values["precision"]) == (0, None)


class TestAFormThatIsCutShort:
    @pytest.fixture
    def schema(self, tmp_path):
        path = tmp_path / "schema.json"
        path.write_text(json.dumps({"type": "string", "minLength": 60}))
        return path

    @pytest.mark.parametrize("flags", [[], ["--json"], ["--no-stream"]])
    def test_has_a_status_of_its_own(self, schema, embedded_export, capsys, flags):
        command = ["generate", str(embedded_export), "She:", "--json-schema", str(schema)]
        assert main([*command, "-n", "5", "--seed", "1", *flags]) == 3
        output, error = capsys.readouterr()
        assert error == (
            "the text is not complete: it ended at the limit of 5 new tokens, within its form; "
            "raise --max-new-tokens\n"
        )
        if flags == ["--json"]:
            [result] = json.loads(output)["results"]
            assert (result["complete"], result["finish_reason"]) == (False, "length")
        else:
            assert output.startswith("She:")

    def test_names_the_prompt_of_several(self, run, schema, embedded_export, tmp_path):
        file = tmp_path / "prompts.txt"
        file.write_text("She:\nHe:\n")
        options = ("--json-schema", schema, "-n", 5, "--json")
        status, values, error = run("generate", embedded_export, "--prompts", file, *options)
        assert status == 3
        assert [line["results"][0]["complete"] for line in values] == [False, False]
        assert error.splitlines()[1].startswith("the text of prompt 1 is not complete: ")

    def test_a_stop_string_can_cut_it_too(self, run, schema, embedded_export):
        options = ("--json-schema", schema, "-n", 40, "--stop", '"', "--json")
        status, [values], error = run("generate", embedded_export, "She:", *options)
        assert status == 3
        assert values["results"][0]["finish_reason"] == "stop"
        assert "raise" not in error

    def test_a_form_that_may_end_there_is_whole(self, run, embedded_export):
        options = ("--regex", "[a-z ]*", "-n", 5, "--json")
        status, [values], error = run("generate", embedded_export, "She", *options)
        assert (status, error) == (0, "")
        assert values["results"][0]["complete"] is True


def test_embed_says_what_it_wrote(run, embedded_export, text, tmp_path, capsys):
    for name in ("vectors.npy", "vectors.jsonl"):
        out = tmp_path / name
        command = ("embed", embedded_export, text, "--lines", "--out", out)
        assert run(*command) == (0, [], f"wrote {out}: [2, 256] float32\n")
        assert run(*command, "--quiet") == (0, [], "")
        _, [values], error = run(*command, "--json")
        assert error == ""
        assert documented(*values)
        assert values == {
            "out": str(out),
            "shape": [2, 256],
            "dtype": "float32",
            "model": str(embedded_export),
            "precision": "fp32",
        }
    out = tmp_path / "tokens.jsonl"
    command = ("embed", embedded_export, text, "--lines", "--pooling", "none", "--out", out)
    assert run(*command)[2] == f"wrote {out}: [2, any, 256] float32\n"


def test_perplexity(run, embedded_export, text):
    _, [values], _ = run("perplexity", embedded_export, text, "--json")
    assert documented(*values)
    assert values["tokens"] > 0
    assert (values["model"], values["precision"]) == (str(embedded_export), "fp32")


def test_compare(run, embedded_export, text, tmp_path):
    other = export_model(EMBEDDED_CHECKPOINT, tmp_path / "other", precision="int8")
    _, [values], _ = run("compare", embedded_export, other, "--text", text, "--json")
    assert documented(*values)
    assert values["models"] == [str(embedded_export), str(other)]
    assert values["precisions"] == ["fp32", "int8"]


def test_set_tokenizer(run, tmp_path):
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out")
    command = ("set-tokenizer", out, EMBEDDED_CHECKPOINT, "--json")
    expected = {"model": str(out), "tokenizer": str(EMBEDDED_CHECKPOINT)}
    assert documented(*expected, "written")
    assert run(*command) == (0, [expected | {"written": True}], "")
    assert run(*command, "--dry-run") == (0, [expected | {"written": False}], "")


def test_check_and_export(run, tmp_path):
    _, [values], _ = run("check", EMBEDDED_CHECKPOINT, "--json")
    assert documented(*values)
    _, [values], _ = run("export", EMBEDDED_CHECKPOINT, tmp_path / "out", "--json")
    assert documented(*values)
    assert run("export", EMBEDDED_CHECKPOINT, tmp_path / "new", "--dry-run", "--json")[1][0][
        "ready"
    ]


def test_classify(run, tmp_path, random):
    checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    with_head(checkpoint, Head.SEQUENCE_CLASSIFICATION, random)
    out = export_model(checkpoint, tmp_path / "out")
    status, values, error = run("classify", out, "She was", "He was", "--json")
    assert (status, error) == (0, "")
    assert [line["index"] for line in values] == [0, 1]
    assert documented(*values[0])
    assert values[0].keys() == {"index", "source", "labels", "model", "precision"}


def test_doctor(run):
    status, [values], error = run("doctor", "--json")
    assert (status, error) == (0, "")
    findings = values["findings"]
    assert documented(*values, *findings[0])
    assert all(finding.keys() == {"subject", "state", "advice"} for finding in findings)
    assert {"Python", "ONNX Runtime", "CUDA"} <= {finding["subject"] for finding in findings}
