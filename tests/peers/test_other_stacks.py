"""Our graphs in the stacks that they are made for: Optimum, OpenVINO and onnxruntime-genai.

Each continues prompts greedily, far past the embedded model's window of 64, and must give the
tokens that this project's runtime gives.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from embedded_texts import NEW_TOKENS, PROMPTS, left_padded
from plain_generation import left_padded as left_padded_ids
from wild_heads import HEADS

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

LONG_TEXT = (Path(__file__).parents[2] / "examples/train_tiny/corpus/persuasion.txt").read_text()


@pytest.mark.parametrize("shape", [Shape(), Shape(layers=("local",) * 3, num_heads=2)])
def test_names_types_and_axes_are_optimums(export_shape, shape):
    from optimum.exporters.onnx.model_configs import GPTNeoOnnxConfig
    from transformers import GPTNeoConfig

    directory = export_shape(shape, graph="portable")
    config = GPTNeoConfig.from_pretrained(directory)
    theirs = GPTNeoOnnxConfig(
        config, task="text-generation", use_past=True, use_past_in_inputs=True
    )
    graph = onnx.load(directory / "model.onnx", load_external_data=False).graph
    for values, axes in ((graph.input, theirs.inputs), (graph.output, theirs.outputs)):
        found = {
            value.name: {
                index: axis.dim_param
                for index, axis in enumerate(value.type.tensor_type.shape.dim)
                if axis.dim_param
            }
            for value in values
        }
        assert found == axes
    floats = [v.type.tensor_type.elem_type for v in graph.input if v.name.startswith("past")]
    assert set(floats) == {onnx.TensorProto.FLOAT}


@pytest.fixture(params=["alone", "beside the fused graph"])
def optimum_model(request, two_graphs, tmp_path):
    from optimum.onnxruntime import ORTModelForCausalLM

    if request.param == "alone":
        directory = export_model(EMBEDDED_CHECKPOINT, tmp_path / "alone", graph="portable")
        return ORTModelForCausalLM.from_pretrained(directory)
    return ORTModelForCausalLM.from_pretrained(two_graphs, file_name="portable.onnx")


def test_optimum_generates_the_same(optimum_model, two_graphs, expected):
    import torch

    ids, mask = (torch.from_numpy(array) for array in left_padded(two_graphs))
    tokens = optimum_model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=None,
    )
    assert tokens.tolist() == expected.tolist()


def test_optimum_misses_an_input_of_the_fused_graph(embedded_export):
    """As docs/other-stacks.md says: it loads any model.onnx, and the first step fails."""
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    model = ORTModelForCausalLM.from_pretrained(embedded_export)
    with pytest.raises(ValueError, match="Input seqlens_k is required by model but not provided"):
        model.generate(input_ids=torch.tensor([[1, 2]]), max_new_tokens=2)


@pytest.fixture(scope="module")
def text():
    """Ids [300] of a text, nearly five windows, and transformers' logits [300, vocab] for it."""
    import torch
    from transformers import GPTNeoForCausalLM as Original

    ids = np.array(Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT).encode(LONG_TEXT))[:300]
    assert len(ids) == 300
    with torch.no_grad():
        original = Original.from_pretrained(EMBEDDED_CHECKPOINT, dtype=torch.float32).eval()
        return ids, original(torch.from_numpy(ids)[None]).logits[0].numpy()


def difference(stack, logits, expected):
    """Return the largest difference by the logits' spread; print it for the README (pytest -s)."""
    largest = float(np.abs(logits - expected).max() / expected.std())
    print(f"\nlogits of {stack} differ by at most {largest:.1e} of their spread")
    return largest


def test_logits_of_our_runtime(two_graphs, text):
    ids, expected = text
    for name in ("model.onnx", "portable.onnx"):
        model = GPTNeoForCausalLM.from_pretrained(two_graphs, device="cpu", file_name=name)
        assert difference(f"our runtime, {name}", model(ids[None]).logits[0], expected) < 1e-4


def test_logits_of_optimum(optimum_model, text):
    import torch

    ids, expected = text
    logits = optimum_model(
        input_ids=torch.from_numpy(ids)[None], attention_mask=torch.ones((1, 300), dtype=int)
    ).logits[0]
    assert difference("Optimum", logits.numpy(), expected) < 1e-4


OPENVINO = """
import json, sys
import numpy as np
import openvino

graph, prompts, new_tokens = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
ids, mask = np.array(prompts["ids"]), np.array(prompts["mask"])
past = {}
for value in model.inputs:
    if value.any_name.startswith("past"):
        shape = value.partial_shape
        heads, size = shape[1].get_length(), shape[3].get_length()
        past[value.any_name] = np.zeros((len(ids), heads, 0, size), np.float32)
step, texts = ids, ids
for number in range(new_tokens):
    positions = np.maximum(mask.cumsum(1) - 1, 0)[:, -step.shape[1] :]
    feeds = {"input_ids": step, "attention_mask": mask, "position_ids": positions, **past}
    found = {value.any_name: array for value, array in model(feeds).items()}
    if number == 0:
        np.save("logits.npy", found["logits"])
    past = {name: found["present" + name[15:]] for name in past}
    step = found["logits"][:, -1].argmax(-1)[:, None]
    texts = np.concatenate([texts, step], axis=1)
    mask = np.concatenate([mask, np.ones_like(step)], axis=1)
print(json.dumps(texts.tolist()))
"""


def run_in_openvino(two_graphs, folder, ids, mask, new_tokens):
    """Return the generated ids and the prompts' logits."""
    python = os.environ.get("GPTNEO_ONNX_OPENVINO")
    if python is None:
        pytest.skip("needs OpenVINO: make test-peers installs it")
    prompts = json.dumps({"ids": ids.tolist(), "mask": mask.tolist()})
    done = subprocess.run(
        [
            Path(python).absolute(),
            "-c",
            OPENVINO,
            two_graphs / "portable.onnx",
            prompts,
            str(new_tokens),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), np.load(folder / "logits.npy")


def test_openvino_generates_the_same(two_graphs, expected, tmp_path):
    found, _ = run_in_openvino(two_graphs, tmp_path, *left_padded(two_graphs), NEW_TOKENS)
    assert found == expected.tolist()


def test_logits_of_openvino(two_graphs, text, tmp_path):
    ids, expected = text
    mask = np.ones((1, 300), np.int64)
    _, logits = run_in_openvino(two_graphs, tmp_path, ids[None], mask, 1)
    assert difference("OpenVINO", logits[0], expected) < 1e-4


GENAI = """
import json, sys
import numpy as np
import onnxruntime_genai

directory, prompts, new_tokens = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = onnxruntime_genai.Model(directory)

def generate(rows):
    length = max(map(len, rows))
    ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=length + new_tokens, batch_size=len(rows))
    generator = onnxruntime_genai.Generator(model, parameters)
    generator.append_tokens(ids)
    while not generator.is_done():
        generator.generate_next_token()
    found = [generator.get_sequence(row).tolist() for row in range(len(rows))]
    return [sequence[length:] for sequence in found]

def logits(prompt):
    # After every token from the 200th on.
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(prompt) + 1, batch_size=1)
    generator = onnxruntime_genai.Generator(model, parameters)
    rows = []
    for part in (prompt[:200], *([token] for token in prompt[200:])):
        generator.append_tokens(np.array([part], np.int32))
        rows.append(np.array(generator.get_output("logits")).reshape(-1))
    np.save("logits.npy", np.stack(rows))

if new_tokens:
    print(json.dumps([generate(prompts), [generate([prompt])[0] for prompt in prompts]]))
else:
    logits(prompts[0])
"""


def run_in_genai(folder, prompts, new_tokens):
    directory = export_model(EMBEDDED_CHECKPOINT, folder / "genai", graph="genai")
    return run_genai(directory, folder, prompts, new_tokens)


def run_genai(directory, folder, prompts, new_tokens):
    python = os.environ.get("GPTNEO_ONNX_GENAI")
    if python is None:
        pytest.skip("needs onnxruntime-genai: make test-peers installs it")
    done = subprocess.run(
        [Path(python).absolute(), "-c", GENAI, directory, json.dumps(prompts), str(new_tokens)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_logits_of_onnxruntime_genai(tmp_path, text):
    ids, expected = text
    run_in_genai(tmp_path, [ids.tolist()], 0)
    logits = np.load(tmp_path / "logits.npy")
    assert difference("onnxruntime-genai", logits, expected[199:]) < 1e-4


def test_onnxruntime_genai_generates_the_same(tmp_path, two_graphs, expected):
    """In a batch, padded on the right, and each prompt alone."""
    encoded = [Tokenizer.from_pretrained(two_graphs).encode(prompt) for prompt in PROMPTS]
    together, alone = json.loads(run_in_genai(tmp_path, encoded, NEW_TOKENS))
    expected_rows = expected[:, -NEW_TOKENS:].tolist()
    for rows in (together, alone):
        for row, expected_row in zip(rows, expected_rows, strict=True):
            assert len(row) >= 100
            assert row == expected_row[: len(row)]


@pytest.fixture(params=["of 4", "of 5", "of 20"])
def padded(request, tmp_path, random):
    """A checkpoint whose heads are no multiples of 8, its graphs, and a ragged batch."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint", HEADS[request.param], random)
    out = export_model(checkpoint, tmp_path / "out", graph=("genai", "portable"))
    return checkpoint, out, [random.integers(1, 301, length).tolist() for length in (17, 9, 3)]


def transformers_tokens(checkpoint, prompts, new_tokens):
    """Return what transformers continues each prompt with, greedily."""
    import torch
    from transformers import GPTNeoForCausalLM as Original

    original = Original.from_pretrained(checkpoint, dtype=torch.float32).eval()
    rows = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        arguments = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": None}
        found = original.generate(ids, attention_mask=torch.ones_like(ids), **arguments)
        rows.append(found[0, len(prompt) :].tolist())
    return rows


def test_openvino_with_padded_heads(padded, tmp_path):
    checkpoint, out, prompts = padded
    ids, mask = left_padded_ids(prompts)
    found, _ = run_in_openvino(out, tmp_path, ids, mask, 40)
    rows = [row[ids.shape[1] :] for row in found]
    assert rows == transformers_tokens(checkpoint, prompts, 40)


def test_onnxruntime_genai_with_padded_heads(padded, tmp_path):
    """In a batch, and each prompt alone; what it writes before the context ends."""
    checkpoint, out, prompts = padded
    together, alone = json.loads(run_genai(out, tmp_path, prompts, 40))
    expected = transformers_tokens(checkpoint, prompts, 40)
    for rows in (together, alone):
        for row, expected_row in zip(rows, expected, strict=True):
            assert len(row) >= 20
            assert row == expected_row[: len(row)]
