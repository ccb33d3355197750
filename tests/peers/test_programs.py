"""The examples' programs: transformers.js and onnxruntime in Node, ONNX Runtime in C++.

Each continues prompts greedily, far past the embedded model's window of 64, and must give the
tokens that this project's runtime gives.
"""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from embedded_texts import NEW_TOKENS, PROMPTS

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer, pipeline

NODE_EXAMPLE = Path(__file__).parents[2] / "examples/node"


@pytest.fixture(scope="module")
def node_modules():
    folder = Path(os.environ.get("GPTNEO_ONNX_NODE", "nowhere")).absolute()
    if not folder.is_dir():
        pytest.skip("needs transformers.js: make test-peers installs it where there is npm")
    return folder


@pytest.fixture(scope="module")
def transformers_js_export(tmp_path_factory):
    out = tmp_path_factory.mktemp("transformers-js") / "model"
    precisions = ["fp32", "fp16", "int8", "int4"]
    return export_model(EMBEDDED_CHECKPOINT, out, layout="transformers.js", precision=precisions)


def generated_by_node(node_modules, program, directory, prompt, *dtype):
    return printed_by_node(node_modules, program, directory, prompt, str(NEW_TOKENS), *dtype)


def printed_by_node(node_modules, program, *arguments):
    done = run_node(node_modules, program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def run_node(node_modules, program, *arguments):
    for file in (*NODE_EXAMPLE.glob("*.mjs"), NODE_EXAMPLE / "package.json"):
        shutil.copyfile(file, node_modules / file.name)
    return subprocess.run(
        ["node", program, *arguments],
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_dtype_that_is_not_there_is_refused(node_modules, tmp_path):
    out = export_model(
        EMBEDDED_CHECKPOINT, tmp_path / "out", layout="transformers.js", precision=["fp32", "int8"]
    )
    for dtype in ("q4", "int8"):
        done = run_node(node_modules, "generate.mjs", out, "She was", "5", dtype)
        expected = (2, "", f"DTYPE is {dtype}; {out} has fp32, q8\n")
        assert (done.returncode, done.stdout, done.stderr) == expected


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("generate.mjs", " --layout transformers.js"),
        ("embed.mjs", " --layout transformers.js"),
        ("fused.mjs", ""),
    ],
)
def test_a_missing_directory_is_refused(node_modules, tmp_path, program, options):
    for directory, message in [
        (tmp_path / "nowhere", f"there is no directory {tmp_path}/nowhere; make it with: "),
        (tmp_path, f"{tmp_path} has no "),
    ]:
        done = run_node(node_modules, program, directory, "She was")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(message)
        assert done.stderr.endswith(f"{options}\n")
        assert "gptneo-onnx export CHECKPOINT" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["generate.mjs", "embed.mjs", "fused.mjs"])
def test_programs_say_how_they_are_called(node_modules, program):
    done = run_node(node_modules, program)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: node {program} OUT ")


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", ""])
def test_a_wrong_number_of_tokens_is_refused(node_modules, two_graphs, count):
    done = run_node(node_modules, "fused.mjs", two_graphs, "She was", count)
    message = f"NEW_TOKENS is {count}; a whole number of at least 1 is allowed\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_text_longer_than_the_context_is_refused(
    node_modules, two_graphs, transformers_js_export
):
    for program, out in (("fused.mjs", two_graphs), ("generate.mjs", transformers_js_export)):
        done = run_node(node_modules, program, out, "She was", "511")
        message = "PROMPT has 2 tokens and NEW_TOKENS is 511; the model holds 512 together\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_vectors_need_hidden_states(node_modules, transformers_js_export):
    done = run_node(node_modules, "embed.mjs", transformers_js_export, "She was")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{transformers_js_export} has no hidden states; make a directory that has them with: "
        "gptneo-onnx export CHECKPOINT OUT --layout transformers.js --hidden-states=-1\n"
    )


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_transformers_js_in_node_generates_the_same(
    node_modules, transformers_js_export, two_graphs, expected, prompt
):
    text = text_of(two_graphs, expected, prompt)
    found = generated_by_node(node_modules, "generate.mjs", transformers_js_export, prompt, "fp32")
    assert found == text


def test_transformers_js_in_node_extracts_the_same_features(node_modules, tmp_path):
    out = tmp_path / "model"
    export_model(EMBEDDED_CHECKPOINT, out, layout="transformers.js", hidden_states=[-1])
    extractor = pipeline(
        "feature-extraction",
        GPTNeoForCausalLM.from_pretrained(out),
        Tokenizer.from_pretrained(out),
        pooling="mean",
    )
    printed = printed_by_node(node_modules, "embed.mjs", out, *PROMPTS)
    found = np.array([json.loads(line) for line in printed.split("\n")])
    np.testing.assert_allclose(found, extractor(PROMPTS), atol=1e-4)


def text_of(two_graphs, expected, prompt):
    """Return the text that our runtime generates from a prompt."""
    tokenizer = Tokenizer.from_pretrained(two_graphs)
    length = len(tokenizer.encode(prompt))
    return tokenizer.decode(expected[PROMPTS.index(prompt), -NEW_TOKENS - length :].tolist())


@pytest.mark.parametrize("prompt", PROMPTS)
def test_onnxruntime_in_node_drives_the_fused_graph(node_modules, two_graphs, expected, prompt):
    """With its caches updated in place, from JavaScript."""
    found = generated_by_node(node_modules, "fused.mjs", two_graphs, prompt)
    assert found == text_of(two_graphs, expected, prompt)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_program_in_cpp_drives_the_fused_graph(two_graphs, expected, prompt):
    program = os.environ.get("GPTNEO_ONNX_CPP")
    if program is None:
        pytest.skip("needs examples/cpp: make test-peers builds it where there are headers")
    ids = Tokenizer.from_pretrained(two_graphs).encode(prompt)
    done = subprocess.run(
        [program, two_graphs, str(NEW_TOKENS)],
        input=" ".join(map(str, ids)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [int(word) for word in done.stdout.split()]
    assert found == expected[PROMPTS.index(prompt), -NEW_TOKENS:].tolist()


@pytest.mark.parametrize("dtype", ["fp16", "q8", "q4"])
def test_transformers_js_runs_every_dtype(
    node_modules, transformers_js_export, two_graphs, expected, dtype
):
    """Rounded weights give another text in the end, but with the same beginning."""
    text = generated_by_node(
        node_modules, "generate.mjs", transformers_js_export, PROMPTS[0], dtype
    )
    assert text.startswith(PROMPTS[0])
    tokenizer = Tokenizer.from_pretrained(two_graphs)
    exact = tokenizer.decode(expected[0].tolist())
    pairs = zip(text, exact, strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    assert shared - len(PROMPTS[0]) > {"fp16": 100, "q8": 20, "q4": 2}[dtype]
