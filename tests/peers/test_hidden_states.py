"""Hidden states and features against transformers' own, in float32."""

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoModel, pipeline

SHAPES = {
    "windows of 7": Shape(layers=("global", "local", "local", "global")),
    "window of 33": Shape(window_size=33, max_position_embeddings=110),
    "sharply peaked": Shape(peak=8.0),
    "heads of 80": Shape(hidden_size=160, num_heads=2),
    "one layer": Shape(layers=("local",)),
}
TEXTS = [
    "She was",
    "It is a truth universally acknowledged, that",
    "x",
    "caf\u00e9 \U0001f600 " * 40,
]


def spread_difference(states, expected):
    return float(np.abs(states - expected).max() / expected.std())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_layer_of_padded_batches(export_shape, transformers_model, random, shape):
    import torch

    directory = export_shape(shape, graph=("fused", "portable"), hidden_states="all")
    original = transformers_model(directory.parent / "checkpoint").transformer
    length = shape.max_position_embeddings
    ids = random.integers(0, 301, (3, length))
    mask = np.ones_like(ids)
    mask[1, : length // 3] = 0
    mask[2, -5:] = 0
    positions = np.maximum(mask.cumsum(-1) - 1, 0)
    with torch.no_grad():
        expected = original(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            position_ids=torch.from_numpy(positions),
            output_hidden_states=True,
        )
    for file_name in ("model.onnx", "portable.onnx"):
        model = GPTNeoModel.from_pretrained(directory, file_name=file_name)
        output = model(ids, mask, positions, output_hidden_states=True)
        pairs = [(output.last_hidden_state, expected.last_hidden_state)]
        pairs += zip(output.hidden_states, expected.hidden_states, strict=True)
        for ours, theirs in pairs:
            used = mask == 1
            assert spread_difference(ours[used], theirs.numpy()[used]) < 1e-4


def test_the_pipeline_of_the_embedded_model(embedded_export):
    import torch
    import transformers

    theirs = transformers.pipeline(
        "feature-extraction", model=str(EMBEDDED_CHECKPOINT), dtype=torch.float32, device=-1
    )
    ours = pipeline("feature-extraction", model=embedded_export)
    for found, expected in zip(ours(TEXTS, batch_size=4), theirs(TEXTS), strict=True):
        assert np.shape(found) == np.shape(expected)
        assert spread_difference(np.array(found), np.array(expected)) < 1e-4
    assert np.shape(ours(TEXTS[0])) == np.shape(theirs(TEXTS[0]))
