"""`gptneo-onnx generate`: options reach generate(), and results are printed."""

import io
import json
import re
import shutil
import sys

import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import StructuredOutput, pipeline
from gptneo_onnx.runtime.cli.main import main

GREEDY = ("--no-do-sample", "--max-new-tokens", "12")
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["age"],
    "additionalProperties": False,
}


@pytest.fixture
def run(embedded_export, capsys):
    """Run the command on the embedded model: (status, standard output, standard error)."""

    def run(*arguments):
        status = main(["generate", str(embedded_export), *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture(scope="module")
def generator(embedded_export):
    return pipeline("text-generation", embedded_export, do_sample=False, max_new_tokens=12)


def text_of(generator, prompt="She was", **arguments):
    return generator(prompt, clean_up_tokenization_spaces=False, **arguments)[0]["generated_text"]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["--stop", " to", "--stop", "."], {"stop_strings": [" to", "."], "max_new_tokens": 12}),
        (["--no-repeat-ngram-size", "1"], {"no_repeat_ngram_size": 1}),
        (["--prompt-lookup"], {}),
        (["--prompt-lookup", "3"], {}),
        (["--guidance-scale", "2"], {"guidance_scale": 2.0}),
        (["--repetition-penalty", "1.5"], {"repetition_penalty": 1.5}),
    ],
    ids=str,
)
def test_options_are_generates_arguments(run, generator, options, arguments):
    status, shown, _ = run("She was", *GREEDY, *options)
    assert status == 0
    assert shown == text_of(generator, **arguments) + "\n"


def test_a_draft_model_changes_nothing(run, generator, embedded_export):
    assert run("She was", *GREEDY, "--draft", embedded_export)[1] == text_of(generator) + "\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The embedded model in float32 and 4 bits."""
    out = tmp_path_factory.mktemp("pair") / "export"
    return export_model(EMBEDDED_CHECKPOINT, out, precision="fp32,int4")


class TestTwoPrecisions:
    @pytest.fixture
    def shown(self, pair, capsys):
        def shown(*arguments):
            status = main(["generate", str(pair), "She was", *GREEDY, *arguments])
            output = capsys.readouterr()
            return output.out if status == 0 else output.err

        return shown

    @pytest.mark.parametrize(
        "options", [["--self-draft"], ["--draft", "int4"], ["--self-draft", "--top-k", "0"]]
    )
    def test_one_drafts_for_the_other(self, shown, generator, options):
        assert shown(*options, "--num-assistant-tokens", "5") == text_of(generator) + "\n"

    def test_one_is_chosen(self, shown, pair):
        small = pipeline("text-generation", pair, file_name="model.int4.onnx", do_sample=False)
        assert shown("--precision", "int4") == text_of(small, max_new_tokens=12) + "\n"

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            (["--draft", "int8"], "--draft is 'int8', and .* has fp32, int4; name one of these"),
            (["--precision", "w8a8"], "--precision is 'w8a8', and .* has fp32, int4; name one"),
            (["--self-draft", "--precision", "int4"], "fp32, int4, none smaller than int4; exp"),
            (["--self-draft", "--draft", "int4"], "--self-draft and --draft exclude each other"),
        ],
    )
    def test_what_is_not_there_is_refused_in_a_line(self, shown, options, match):
        [line] = shown(*options).splitlines()
        assert re.search(match, line)


def test_a_negative_prompt(run, generator):
    negative = generator.tokenizer.encode("He was")
    expected = text_of(generator, guidance_scale=1.5, negative_prompt_ids=[negative])
    options = ("--guidance-scale", "1.5", "--negative-prompt", "He was")
    assert run("She was", *GREEDY, *options)[1] == expected + "\n"
    assert expected != text_of(generator, guidance_scale=1.5)


def test_beams_are_printed_when_they_are_done(run, generator):
    expected = generator("She was", num_beams=3, num_return_sequences=2)
    shown = run("She was", *GREEDY, "--beams", 3, "--num-return-sequences", 2)[1]
    first, second = (result["generated_text"] for result in expected)
    assert shown == f"--- 1\n{first}\n--- 2\n{second}\n"
    assert run("She was", *GREEDY, "--beams", 3)[1] == f"{first}\n"


def test_text_can_be_printed_at_the_end_instead_of_as_it_comes(run, generator):
    expected = generator("She was")[0]["generated_text"]
    assert run("She was", *GREEDY, "--no-stream")[1] == expected + "\n"


@pytest.mark.parametrize("batch_size", [1, 2])
def test_prompts_from_a_file(run, generator, tmp_path, batch_size):
    file = tmp_path / "prompts.txt"
    file.write_text("She was\n\nSir\nIt is — a truth\n", encoding="utf-8")
    prompts = ["She was", "Sir", "It is — a truth"]
    options = ("--prompts", file, "--batch-size", batch_size, *GREEDY)
    expected = [result[0]["generated_text"] for result in generator(prompts)]
    assert run(*options)[1] == "".join(f"{text}\n" for text in expected)
    lines = [json.loads(line) for line in run(*options, "--json")[1].splitlines()]
    assert [line["prompt"] for line in lines] == prompts
    assert [line["results"][0]["generated_text"] for line in lines] == expected


def test_prompts_from_standard_input(run, generator, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("She was\nSir\n"))
    shown = run("--prompts", "-", *GREEDY, "--json")[1]
    assert [json.loads(line)["prompt"] for line in shown.splitlines()] == ["She was", "Sir"]


def test_a_json_schema(run, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    for seed in range(5):
        shown = run("She:", "--json-schema", file, "--max-new-tokens", 40, "--seed", seed)[1]
        assert 0 <= json.loads(shown.removeprefix("She:"))["age"] <= 99


def test_a_regular_expression_and_a_grammar(run, tmp_path):
    shown = run("In", "--regex", r" (Bath|Lyme)\.", "--seed", 1)[1]
    assert shown in ("In Bath.\n", "In Lyme.\n")
    file = tmp_path / "grammar.lark"
    file.write_text('start: " " ("Anne" | "Emma") "!"')
    assert run("Oh", "--grammar", file, "--seed", 1)[1] in ("Oh Anne!\n", "Oh Emma!\n")


def test_a_line_ends_where_a_line_feed_is(run, tmp_path):
    file = tmp_path / "prompts"
    file.write_bytes("She\u2028was\r\nSir\x0cWalter\n".encode())
    shown = run("--prompts", file, "--json", *GREEDY)[1]
    assert [json.loads(line)["prompt"] for line in shown.splitlines()] == [
        "She\u2028was",
        "Sir\x0cWalter",
    ]


def test_one_negative_prompt_for_prompts_in_batches(run, tmp_path):
    file = tmp_path / "prompts"
    file.write_text("She was\nSir\nAnne\n")
    options = ["--prompts", file, "--guidance-scale", "2", "--negative-prompt", "Oh", *GREEDY]
    alone = run(*options)
    assert alone[0] == 0
    assert run(*options, "--batch-size", "2") == alone


def test_groups_of_beams_keep_to_a_form_in_every_batch(generator):
    forms = [StructuredOutput.from_regex(generator.tokenizer, r" (Bath|Lyme|London)\.")]
    groups = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}
    results = generator(["He is in", "In", "from"], batch_size=3, logits_processor=forms, **groups)
    for prompt, [result] in zip(["He is in", "In", "from"], results, strict=True):
        text = result["generated_text"].removeprefix(prompt)
        assert text in (" Bath.", " Lyme.", " London.")


def test_a_model_whose_own_config_asks_for_what_is_not_there(tmp_path, capsys):
    """The message's advice for the command line works."""
    shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    config = tmp_path / "checkpoint/generation_config.json"
    original = config.read_text()
    arguments = ["generate", str(tmp_path / "model"), "She was", "--max-new-tokens", "4"]
    config.write_text(json.dumps(json.loads(original) | {"dola_layers": "low", "use_cache": False}))
    export_model(tmp_path / "checkpoint", tmp_path / "model")
    assert main(arguments) == 2
    assert "export again from a checkpoint whose file does not set it" in capsys.readouterr().err
    config.write_text(json.dumps(json.loads(original) | {"use_cache": False}))
    export_model(tmp_path / "checkpoint", tmp_path / "model")
    assert main(arguments) == 0


def test_a_model_whose_own_config_asks_for_beams(tmp_path, capsys):
    shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    config = tmp_path / "checkpoint/generation_config.json"
    values = json.loads(config.read_text()) | {"num_beams": 2, "do_sample": False}
    config.write_text(json.dumps(values))
    export_model(tmp_path / "checkpoint", tmp_path / "model")
    assert main(["generate", str(tmp_path / "model"), "She was", "--max-new-tokens", "4"]) == 0
    assert capsys.readouterr().out.startswith("She was")
    assert main(["generate", str(tmp_path / "model"), "She was", "--stream"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a", "--stream", "--json"], "--json prints whole results; leave out --stream"),
        (["--prompts", "x", "--stream"], "--prompts prints whole results; leave out --stream"),
        (["--interactive", "--json"], "--interactive writes to the terminal; leave out --prompts"),
        (["--interactive", "--beams", "2"], "--interactive has one result; leave out --beams"),
        (["a", "--negative-prompt", "b"], "--negative-prompt needs a weight; pass --guidance-sc"),
        (["--prompts", "/nowhere"], "/nowhere cannot be read: No such file or directory; name an"),
        (["a", "--json-schema", "/nowhere"], "/nowhere cannot be read: No such file"),
        (["a", "--regex", "("], "the regular expression '(' cannot be used"),
        (["a", "--draft", "/nowhere"], "'/nowhere' is neither a directory nor a hub id"),
        (["a", "--beams", "0"], "num_beams is 0; a whole number of at least 1"),
        (["a", "--prompt-lookup", "0"], "prompt_lookup_num_tokens is 0; a whole number of at"),
        (["a", "--stop", ""], "stop_strings holds ''; texts of at least one character"),
        (
            ["a", "--beams", "2", "--stream"],
            "--stream prints one text as it comes, and there are 1",
        ),
        (
            ["a", "--num-return-sequences", "2", "--stream"],
            "--stream prints one text as it comes, and there are 2",
        ),
        (
            ["a", "--negative-prompt", "b", "--guidance-scale", "1"],
            "--negative-prompt needs a weight",
        ),
        (["a", "--batch-size", "2"], "--batch-size is for several prompts; pass --prompts FILE"),
        (["a", "--num-assistant-tokens", "2"], "--num-assistant-tokens is for a draft"),
        (["a", "b"], "generate takes MODEL and PROMPT, and 3 were given; quote the prompt"),
        (["a", "--prompts", "x"], "generate takes MODEL alone, and 2 were given"),
        (["--prompts", "x", "--batch-size", "0"], "batch_size is 0; a whole number of at least"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_in_one_line(run, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("She\n")
    status, shown, errors = run(*options)
    assert status == 2
    assert shown == ""
    assert errors.startswith(f"gptneo-onnx: error: {message}")
    assert errors.count("\n") == 1


def test_a_file_that_is_no_text_or_empty(run, tmp_path):
    file = tmp_path / "prompts"
    file.write_bytes(b"\xff\xfe\n")
    assert "prompts is not UTF-8" in run("--prompts", file)[2]
    file.write_text("\n\n")
    assert "holds no prompt; write one a line" in run("--prompts", file)[2]


def test_a_schema_that_is_too_large(run, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(" " * 2**21)
    assert "at most 1048576 are read" in run("a", "--json-schema", file)[2]
