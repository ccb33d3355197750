"""Graphs for other stacks in them: Optimum, transformers.js, OpenVINO and onnxruntime-genai.

Each continues prompts far past the embedded model's window of 64, greedily, and has to give what
this project's runtime gives.
"""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import Shape

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

PROMPTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune",
    "She was",
    "Emma",
]
NEW_TOKENS = 150
NODE_EXAMPLE = Path(__file__).parents[2] / "examples/node"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Both graphs of the embedded model, on one weights file."""
    out = tmp_path_factory.mktemp("portable") / "export"
    return export_model(EMBEDDED_CHECKPOINT, out, graph=("fused", "portable"))


@pytest.fixture(scope="module")
def expected(export):
    """Our runtime's greedy ids [prompts, length], padded on the left."""
    model = GPTNeoForCausalLM.from_pretrained(export, device="cpu", slots=len(PROMPTS))
    ids, mask = left_padded(export)
    return model.generate(ids, mask, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)


def left_padded(export):
    encoded = [Tokenizer.from_pretrained(export).encode(prompt) for prompt in PROMPTS]
    length = max(map(len, encoded))
    ids = np.array([[0] * (length - len(each)) + each for each in encoded])
    mask = np.array([[0] * (length - len(each)) + [1] * len(each) for each in encoded])
    return ids, mask


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
def optimum_model(request, export, tmp_path):
    from optimum.onnxruntime import ORTModelForCausalLM

    if request.param == "alone":
        directory = export_model(EMBEDDED_CHECKPOINT, tmp_path / "alone", graph="portable")
        return ORTModelForCausalLM.from_pretrained(directory)
    return ORTModelForCausalLM.from_pretrained(export, file_name="portable.onnx")


def test_optimum_generates_the_same(optimum_model, export, expected):
    import torch

    ids, mask = (torch.from_numpy(each) for each in left_padded(export))
    found = optimum_model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=None,
    )
    assert found.tolist() == expected.tolist()


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
    for name in (program, "package.json"):
        shutil.copyfile(NODE_EXAMPLE / name, node_modules / name)
    done = subprocess.run(
        ["node", program, directory, prompt, str(NEW_TOKENS), *dtype],
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_transformers_js_in_node_generates_the_same(
    node_modules, transformers_js_export, export, expected, prompt
):
    text = text_of(export, expected, prompt)
    found = generated_by_node(node_modules, "generate.mjs", transformers_js_export, prompt, "fp32")
    assert found == text


def text_of(export, expected, prompt):
    """The text that our runtime makes of a prompt."""
    tokenizer = Tokenizer.from_pretrained(export)
    length = len(tokenizer.encode(prompt))
    return tokenizer.decode(expected[PROMPTS.index(prompt), -NEW_TOKENS - length :].tolist())


@pytest.mark.parametrize("prompt", PROMPTS)
def test_onnxruntime_in_node_drives_the_fused_graph(node_modules, export, expected, prompt):
    """Its caches bound in place, from JavaScript."""
    found = generated_by_node(node_modules, "fused.mjs", export, prompt)
    assert found == text_of(export, expected, prompt)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_program_in_cpp_drives_the_fused_graph(export, expected, prompt):
    program = os.environ.get("GPTNEO_ONNX_CPP")
    if program is None:
        pytest.skip("needs examples/cpp: make test-peers builds it where there are headers")
    ids = Tokenizer.from_pretrained(export).encode(prompt)
    done = subprocess.run(
        [program, export, str(NEW_TOKENS)],
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
    node_modules, transformers_js_export, export, expected, dtype
):
    """Rounded weights give other texts in the end; they begin alike."""
    text = generated_by_node(
        node_modules, "generate.mjs", transformers_js_export, PROMPTS[0], dtype
    )
    assert text.startswith(PROMPTS[0])
    tokenizer = Tokenizer.from_pretrained(export)
    exact = tokenizer.decode(expected[0].tolist())
    pairs = zip(text, exact, strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    assert shared - len(PROMPTS[0]) > {"fp16": 100, "q8": 20, "q4": 2}[dtype]


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
for _ in range(new_tokens):
    positions = np.maximum(mask.cumsum(1) - 1, 0)[:, -step.shape[1] :]
    feeds = {"input_ids": step, "attention_mask": mask, "position_ids": positions, **past}
    found = {value.any_name: array for value, array in model(feeds).items()}
    past = {name: found["present" + name[15:]] for name in past}
    step = found["logits"][:, -1].argmax(-1)[:, None]
    texts = np.concatenate([texts, step], axis=1)
    mask = np.concatenate([mask, np.ones_like(step)], axis=1)
print(json.dumps(texts.tolist()))
"""


def test_openvino_generates_the_same(export, expected):
    python = os.environ.get("GPTNEO_ONNX_OPENVINO")
    if python is None:
        pytest.skip("needs OpenVINO: make test-peers installs it")
    ids, mask = left_padded(export)
    prompts = json.dumps({"ids": ids.tolist(), "mask": mask.tolist()})
    done = subprocess.run(
        [python, "-c", OPENVINO, export / "portable.onnx", prompts, str(NEW_TOKENS)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected.tolist()


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

print(json.dumps([generate(prompts), [generate([prompt])[0] for prompt in prompts]]))
"""


def test_onnxruntime_genai_generates_the_same(tmp_path, export, expected):
    """In a batch, padded on the right, and alone."""
    python = os.environ.get("GPTNEO_ONNX_GENAI")
    if python is None:
        pytest.skip("needs onnxruntime-genai: make test-peers installs it")
    directory = export_model(EMBEDDED_CHECKPOINT, tmp_path / "genai", graph="genai")
    encoded = [Tokenizer.from_pretrained(export).encode(prompt) for prompt in PROMPTS]
    done = subprocess.run(
        [python, "-c", GENAI, directory, json.dumps(encoded), str(NEW_TOKENS)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    together, alone = json.loads(done.stdout)
    wanted = expected[:, -NEW_TOKENS:].tolist()
    for found in (together, alone):
        for row, ids in zip(found, wanted, strict=True):
            assert len(row) >= 100
            assert row == ids[: len(row)]
