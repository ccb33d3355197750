"""Diverse beam search against the transformers that still has it, token for token."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM

OLDER = os.environ.get("GPTNEO_ONNX_OLDER_TRANSFORMERS", "")
SCRIPT = Path(__file__).parents[1] / "support/older_transformers.py"
CALLS = 30

pytestmark = pytest.mark.skipif(not OLDER, reason="run it with: make test-peers")


def draw_call(random, vocab):
    groups = int(random.integers(2, 4))
    beams = groups * int(random.integers(1, 4))
    arguments = {
        "num_beams": beams,
        "num_beam_groups": groups,
        "diversity_penalty": float(random.uniform(0.1, 3)),
        "num_return_sequences": int(random.integers(1, beams + 1)),
        "length_penalty": float(random.choice([0.0, 1.0, 2.0, -1.0])),
        "early_stopping": [True, False, "never"][random.integers(3)],
        "max_new_tokens": int(random.integers(2, 25)),
        "pad_token_id": 3,
        "eos_token_id": [
            0,
            *random.integers(4, vocab, int(random.integers(0, vocab // 6))).tolist(),
        ],
    }
    if random.random() < 0.3:
        arguments["min_new_tokens"] = int(random.integers(1, 8))
    if random.random() < 0.3:
        arguments["repetition_penalty"] = float(random.uniform(1.0, 2.0))
    looks_at_tokens = "repetition_penalty" in arguments
    ids = random.integers(1, vocab, (1 if looks_at_tokens else int(random.integers(1, 4)), 12))
    mask = np.ones_like(ids)
    for row in range(1, len(ids)):
        mask[row, : random.integers(0, 12)] = 0
    return {"ids": ids.tolist(), "mask": mask.tolist(), "arguments": arguments}


@pytest.mark.parametrize("name", ["embedded", "alternating", "small vocabulary"])
def test_the_same_beams(tmp_path, random, name):
    shape = Shape(
        vocab_size=40 if "small" in name else 301, layers=("local", "global"), window_size=6
    )
    checkpoint = (
        EMBEDDED_CHECKPOINT
        if name == "embedded"
        else write_checkpoint(tmp_path / "checkpoint", shape, random)
    )
    model = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "export"))
    calls = [draw_call(random, model.config.vocab_size) for _ in range(CALLS)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(checkpoint)],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(OLDER).resolve())},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for call, (sequences, scores) in zip(calls, json.loads(done.stdout), strict=True):
        ours = model.generate(
            call["ids"],
            call["mask"],
            return_dict_in_generate=True,
            output_scores=True,
            **call["arguments"],
        )
        assert np.abs(ours.sequences_scores - scores).max() < 1e-3, call["arguments"]
        # There a result ends with the first end token, here with the one it was scored by.
        first, *others = call["arguments"]["eos_token_id"]
        generated = ours.sequences[:, 12:]
        generated[np.isin(generated, others)] = first
        assert ours.sequences.tolist() == sequences, call["arguments"]
