"""Exports of today's optimum-cli in our runtime, against transformers; and --exporter optimum.

Exports of older versions are golden files: tests/golden/optimum.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from plain_generation import left_padded
from task_checkpoints import write_task_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import (
    GPTNeoForCausalLM,
    GPTNeoForSequenceClassification,
    GPTNeoModel,
    Tokenizer,
)

SHAPE = Shape(layers=("global", "local"), window_size=7, max_position_embeddings=64, vocab_size=301)


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", SHAPE, random)


def by_optimum_cli(checkpoint, out, *arguments):
    program = Path(sys.executable).parent / "optimum-cli"
    command = [program, "export", "onnx", "--model", checkpoint, *arguments, out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def expected_tokens(model, ids, mask, **arguments):
    import torch

    return model.generate(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        do_sample=False,
        pad_token_id=0,
        **arguments,
    ).tolist()


@pytest.mark.parametrize("task", ["text-generation-with-past", "text-generation"])
def test_optimum_clis_exports_run(transformers_model, checkpoint, tmp_path, random, task):
    out = by_optimum_cli(checkpoint, tmp_path / "optimum", "--task", task)
    model = GPTNeoForCausalLM.from_pretrained(out, device="cpu")
    prompts = [random.integers(1, SHAPE.vocab_size, length) for length in (3, 17, 9)]
    ids, mask = left_padded(prompts)
    peer = transformers_model(checkpoint)
    peer.generation_config.eos_token_id = None
    for arguments in ({}, {"num_beams": 3}):
        expected = expected_tokens(peer, ids, mask, max_new_tokens=40, **arguments)
        tokens = model.generate(ids, mask, max_new_tokens=40, eos_token_id=None, **arguments)
        assert tokens.tolist() == expected


@pytest.mark.parametrize("task", ["feature-extraction", "feature-extraction-with-past"])
def test_optimum_clis_exports_for_features_run(checkpoint, tmp_path, random, task):
    import torch
    import transformers

    out = by_optimum_cli(checkpoint, tmp_path / "optimum", "--task", task)
    sequences = [random.integers(1, SHAPE.vocab_size, length) for length in (3, 40, 9)]
    peer = transformers.GPTNeoModel.from_pretrained(checkpoint).eval()
    for index, states in GPTNeoModel.from_pretrained(out).of_sequences(sequences, batch_size=3):
        expected = peer(torch.tensor(sequences[index])[None]).last_hidden_state[0]
        expected = expected.detach().numpy()
        np.testing.assert_allclose(states, expected, atol=1e-4 * expected.std())


def test_optimum_clis_classifiers_run(tmp_path, random):
    import torch
    import transformers

    head = Head.SEQUENCE_CLASSIFICATION
    checkpoint = tmp_path / "classifier"
    write_task_checkpoint(checkpoint, head, SHAPE, random, pad_token_id=1)
    out = by_optimum_cli(checkpoint, tmp_path / "optimum", "--task", "text-classification")
    ids, mask = left_padded([random.integers(2, SHAPE.vocab_size, n) for n in (40, 3, 17)])
    ids[mask == 0] = 1
    peer = transformers.GPTNeoForSequenceClassification.from_pretrained(checkpoint).eval()
    model = GPTNeoForSequenceClassification.from_pretrained(out)
    for batch in ((ids, mask), (ids[:, ::-1].copy(), mask[:, ::-1].copy())):
        tensors = [torch.from_numpy(array) for array in batch]
        expected = peer(tensors[0], attention_mask=tensors[1]).logits.detach().numpy()
        found = model(*batch).logits
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())


def test_optimum_clis_export_of_the_embedded_model_is_a_whole_directory(tmp_path, embedded_export):
    """With its tokenizer: it needs no other files."""
    out = by_optimum_cli(
        EMBEDDED_CHECKPOINT, tmp_path / "optimum", "--task", "text-generation-with-past"
    )
    model = GPTNeoForCausalLM.from_pretrained(out, device="cpu")
    ours = GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu")
    ids = [Tokenizer.from_pretrained(out).encode("It is a truth universally acknowledged")]
    arguments = {"max_new_tokens": 150, "do_sample": True, "seed": 1}
    assert model.generate(ids, **arguments).tolist() == ours.generate(ids, **arguments).tolist()


@pytest.fixture
def traced(checkpoint, tmp_path):
    lines = []
    out = export_model(checkpoint, tmp_path / "traced", exporter="optimum", report=lines.append)
    return out, lines


def test_the_traced_graph_is_compared_over_three_windows(traced):
    _, lines = traced
    compared = [line for line in lines if line.startswith("verify:")]
    assert len(compared) == 3
    assert all(f"of {min(3 * 7 + 65, 64)} tokens" in line for line in compared)


def test_the_traced_graph_is_optimums(traced, checkpoint, tmp_path):
    """It has the operators of Optimum's own export in a layer, and its names and axes."""
    out, _ = traced
    theirs = by_optimum_cli(checkpoint, tmp_path / "optimum", "--task", "text-generation-with-past")
    graphs = [
        onnx.load(folder / "model.onnx", load_external_data=False).graph for folder in (out, theirs)
    ]
    softmax = [sum(node.op_type == "Softmax" for node in graph.node) for graph in graphs]
    assert softmax[0] == softmax[1] == len(SHAPE.layers)
    for values in ("input", "output"):
        ours, optimums = (
            {
                value.name: [axis.dim_param or None for axis in value.type.tensor_type.shape.dim]
                for value in getattr(graph, values)
            }
            for graph in graphs
        )
        assert ours.keys() == optimums.keys()
        for name, axes in ours.items():
            named = [axis for axis in axes if axis]
            assert named == [axis for axis in optimums[name] if axis in named]


@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_is_stored_once_in_one_file(tmp_path, random, tied):
    shape = SHAPE.but(tie_word_embeddings=tied)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    for _ in range(2):  # Optimum appends to the files of an earlier export
        out = export_model(checkpoint, tmp_path / "traced", exporter="optimum")
    graph = onnx.load(out / "model.onnx", load_external_data=False).graph
    vocabulary = [w for w in graph.initializer if shape.vocab_size in w.dims]
    assert len(vocabulary) == (1 if tied else 2)
    files = {
        entry.value
        for w in graph.initializer
        for entry in w.external_data
        if entry.key == "location"
    }
    assert files == {"model.onnx_data"}
    assert not any(
        node.op_type == "Transpose" and node.input[0] in {w.name for w in graph.initializer}
        for node in graph.node
    )
    assert all(
        len(attribute.t.raw_data) < 1024 for node in graph.node for attribute in node.attribute
    )
    smallest = sum(
        np.prod(w.dims, dtype=int) * (1 if w.data_type == onnx.TensorProto.BOOL else 4)
        for w in graph.initializer
    )
    pages = 4096 * len(graph.initializer)
    assert smallest <= (out / "model.onnx_data").stat().st_size < smallest + pages


def test_the_traced_graph_runs_here_and_in_optimum(traced, checkpoint, transformers_model, random):
    from optimum.onnxruntime import ORTModelForCausalLM

    out, _ = traced
    prompts = [random.integers(1, SHAPE.vocab_size, length) for length in (3, 17, 9)]
    ids, mask = left_padded(prompts)
    peer = transformers_model(checkpoint)
    optimum = ORTModelForCausalLM.from_pretrained(out)
    for model in (peer, optimum):
        model.generation_config.eos_token_id = None
    expected = expected_tokens(peer, ids, mask, max_new_tokens=40)
    assert expected_tokens(optimum, ids, mask, max_new_tokens=40) == expected
    ours = GPTNeoForCausalLM.from_pretrained(out, device="cpu")
    assert ours.generate(ids, mask, max_new_tokens=40, eos_token_id=None).tolist() == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"graph": "fused"},
        {"graph": ("portable", "fused")},
        {"precision": "int8"},
        {"layout": "transformers.js"},
    ],
)
def test_optimum_traces_one_graph_in_float32(checkpoint, tmp_path, arguments):
    with pytest.raises(
        InputError, match="exporter optimum traces graph portable in precision fp32"
    ):
        export_model(checkpoint, tmp_path / "out", exporter="optimum", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_failed_trace_leaves_nothing(checkpoint, tmp_path):
    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ModelFileError):
        export_model(broken, tmp_path / "out", exporter="optimum")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "checkpoint"]
