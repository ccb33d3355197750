"""The embedded checkpoint: complete, small, and it writes English."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, GPTNeoConfig
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

PERSUASION = Path(__file__).parent.parent.parent / "examples/train_tiny/corpus/persuasion.txt"


def test_it_has_hugging_faces_layout():
    names = {path.name for path in EMBEDDED_CHECKPOINT.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "README.md",
    }


def test_its_window_is_clearly_shorter_than_its_context():
    config = GPTNeoConfig.from_file(EMBEDDED_CHECKPOINT / "config.json")
    assert config.layer_kinds == ("global", "local") * 3
    assert config.window_size * 8 == config.max_position_embeddings
    assert 4000 <= config.vocab_size <= 8000


def bits_per_byte(model: GPTNeoForCausalLM, tokenizer: Tokenizer, text: str) -> float:
    """Disjoint windows of the context, the first token predicted from the end token."""
    context = model.config.max_position_embeddings
    ids = np.array([tokenizer.eos_token_id, *tokenizer.encode(text)])
    nats = 0.0
    for start in range(0, len(ids) - 1, context):
        window = ids[start : start + context + 1]
        logits = model(window[None, :-1]).logits[0].astype(np.float64)
        best = logits.max(-1)
        chosen = logits[np.arange(len(logits)), window[1:]]
        nats += float((best + np.log(np.exp(logits - best[:, None]).sum(-1)) - chosen).sum())
    return nats / math.log(2) / len(text.encode())


@pytest.mark.slow
def test_it_needs_few_bits_for_a_novel_that_it_never_saw(embedded_export):
    """The first 100 kB; the card's figure is for the whole novel."""
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    text = PERSUASION.read_text(encoding="utf-8")[:100_000]
    measured = bits_per_byte(model, tokenizer, text)
    card = (EMBEDDED_CHECKPOINT / "README.md").read_text()
    claimed = float(re.search(r"\*\*([\d.]+) bits per byte\*\*", card)[1])
    assert measured < 1.9
    assert abs(measured - claimed) < 0.1
