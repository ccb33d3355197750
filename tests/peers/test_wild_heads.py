"""Heads of any size against transformers: every graph, and Optimum's own exports."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from generation_ways import WAYS
from plain_generation import left_padded
from wild_heads import HEADS, TINY_STORIES

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM

NAMES = ("model.onnx", "portable.onnx")
# By the logits' spread; what rounding weights costs, a graph that is wrong goes far beyond.
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.4, "w8a8": 0.6, "int4": 2.5}
ALL = {f"heads {name}": shape for name, shape in HEADS.items()} | TINY_STORIES


def expected_logits(peer, ids):
    import torch

    with torch.no_grad():
        return peer(torch.from_numpy(ids)).logits.numpy()


def expected_tokens(peer, ids, mask, **arguments):
    import torch

    return peer.generate(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        do_sample=False,
        pad_token_id=0,
        max_new_tokens=40,
        **arguments,
    ).tolist()


@pytest.fixture
def checkpoint(request, tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", ALL[request.param], random)


@pytest.fixture
def peer(checkpoint, transformers_model):
    peer = transformers_model(checkpoint)
    peer.generation_config.eos_token_id = None
    return peer


@pytest.mark.parametrize("checkpoint", ALL, indirect=True)
def test_logits_in_every_precision(checkpoint, peer, tmp_path, random):
    ids = random.integers(0, 301, (2, 50))
    expected = expected_logits(peer, ids)
    for precision, tolerance in TOLERANCES.items():
        graphs = ("fused", "portable", "genai")
        out = export_model(checkpoint, tmp_path / precision, graph=graphs, precision=precision)
        for name in NAMES:
            model = GPTNeoForCausalLM.from_pretrained(out, device="cpu", file_name=name)
            assert np.abs(model(ids).logits - expected).max() < tolerance * expected.std()


@pytest.mark.parametrize("checkpoint", [f"heads {name}" for name in HEADS], indirect=True)
@pytest.mark.parametrize("way", ["greedy", "beams", "penalties"])
def test_ragged_batches_give_the_same_tokens(checkpoint, peer, tmp_path, random, way):
    """Far past the window."""
    ids, mask = left_padded([random.integers(1, 301, length) for length in (3, 17, 9)])
    expected = expected_tokens(peer, ids, mask, **WAYS[way])
    out = export_model(checkpoint, tmp_path / "out", graph=("fused", "portable"))
    for name in NAMES:
        model = GPTNeoForCausalLM.from_pretrained(out, device="cpu", file_name=name)
        found = model.generate(ids, mask, max_new_tokens=40, eos_token_id=None, **WAYS[way])
        assert found.tolist() == expected


@pytest.mark.parametrize("checkpoint", ["heads of 4", "heads of 5"], indirect=True)
@pytest.mark.parametrize("task", ["text-generation-with-past", "text-generation"])
def test_optimum_clis_exports_run(checkpoint, peer, tmp_path, random, task):
    out = tmp_path / "optimum"
    program = Path(sys.executable).parent / "optimum-cli"
    command = [program, "export", "onnx", "--model", checkpoint, "--task", task, out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    model = GPTNeoForCausalLM.from_pretrained(out, device="cpu")
    ids, mask = left_padded([random.integers(1, 301, length) for length in (3, 17, 9)])
    for way in ("greedy", "beams"):
        expected = expected_tokens(peer, ids, mask, **WAYS[way])
        found = model.generate(ids, mask, max_new_tokens=40, eos_token_id=None, **WAYS[way])
        assert found.tolist() == expected


@pytest.mark.parametrize("checkpoint", ["heads of 4", "heads of 5"], indirect=True)
def test_both_exporters_verify_themselves(checkpoint, tmp_path):
    for name, options in (
        ("direct", {"graph": ("fused", "portable", "genai"), "verify": True}),
        ("layers", {"graph": ("fused", "portable"), "verify": True, "hidden_states": "all"}),
        ("int8", {"graph": ("fused", "portable"), "verify": True, "precision": "int8"}),
        ("optimum", {"exporter": "optimum"}),
    ):
        lines = []
        export_model(checkpoint, tmp_path / name, report=lines.append, **options)
        assert any(line.startswith("verify: decode") for line in lines)


@pytest.mark.parametrize("checkpoint", ["heads of 4", "heads of 5"], indirect=True)
def test_optimum_runs_ours(checkpoint, peer, tmp_path, random):
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    out = export_model(checkpoint, tmp_path / "out", graph="portable")
    model = ORTModelForCausalLM.from_pretrained(out)
    ids, mask = left_padded([random.integers(1, 301, length) for length in (3, 17, 9)])
    found = model.generate(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=40,
        min_new_tokens=40,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert found.tolist() == expected_tokens(peer, ids, mask)
