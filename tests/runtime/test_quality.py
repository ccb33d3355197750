"""What quantized weights cost on the embedded model, on a novel that it was not trained on."""

from pathlib import Path

import numpy as np
import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.engine import device

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parent.parent.parent / "examples/train_tiny/corpus"
HELD_OUT = CORPUS / "persuasion.txt"
CONTEXT, WINDOWS = 512, 24

# tests/runtime/test_quantized.py says what is promised elsewhere.
exact_sums = pytest.mark.skipif(
    device.saturates_int8_sums(), reason="needs VNNI or AMX: sums of full range are cut off here"
)


@pytest.fixture(scope="module")
def windows():
    """Ids [windows, context], spread over the novel."""
    tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ids = np.array(tokenizer.encode(HELD_OUT.read_text(encoding="utf-8")))
    starts = np.linspace(0, len(ids) - CONTEXT, WINDOWS).astype(int)
    return np.stack([ids[start : start + CONTEXT] for start in starts])


def log_probabilities(directory, windows):
    model = GPTNeoForCausalLM.from_pretrained(directory, device="cpu")
    logits = np.stack([model(window[None]).logits[0] for window in windows])
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def perplexity(likelihoods, windows):
    return np.exp(-np.take_along_axis(likelihoods[:, :-1], windows[:, 1:, None], -1).mean())


@pytest.fixture(scope="module")
def exact(embedded_export, windows):
    return log_probabilities(embedded_export, windows)


@pytest.mark.parametrize(
    ("options", "loss", "divergence"),
    [
        ({"precision": "fp16"}, 0.0005, 0.0001),
        ({"precision": "int8"}, 0.005, 0.002),
        ({"precision": "w8a8"}, 0.005, 0.002),
        pytest.param({"precision": "w8a8", "full_range": True}, 0.005, 0.002, marks=exact_sums),
        ({"precision": "int4"}, 0.04, 0.04),
    ],
    ids=str,
)
def test_perplexity_and_divergence_stay_within_bounds(
    tmp_path, windows, exact, options, loss, divergence
):
    export = export_model(EMBEDDED_CHECKPOINT, tmp_path / "export", **options)
    found = log_probabilities(export, windows)
    assert perplexity(found, windows) < perplexity(exact, windows) * (1 + loss)
    assert (np.exp(exact) * (exact - found)).sum(-1).mean() < divergence
    # No better than it can be either: this is another model than float32's.
    assert (found != exact).any()


@pytest.mark.parametrize(("precision", "divergence"), [("w8a8", 0.0008), ("int4", 0.01)])
def test_reading_a_text_first_costs_less(tmp_path, windows, exact, precision, divergence):
    """Of another novel: a third of what int4 costs without."""
    export = export_model(
        EMBEDDED_CHECKPOINT,
        tmp_path / "export",
        precision=precision,
        calibrate=CORPUS / "emma.txt",
    )
    found = log_probabilities(export, windows)
    assert perplexity(found, windows) < perplexity(exact, windows) * 1.01
    assert (np.exp(exact) * (exact - found)).sum(-1).mean() < divergence


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_float16_activations_cost_nothing_more(tmp_path, windows, exact, precision):
    """As CUDA takes them; the CPU computes the same graph, slowly."""
    export = export_model(
        EMBEDDED_CHECKPOINT, tmp_path / "export", precision=precision, activations="fp16"
    )
    few = windows[:4]
    found = log_probabilities(export, few)
    bound = {"int8": 0.002, "int4": 0.04}[precision]
    assert (np.exp(exact[:4]) * (exact[:4] - found)).sum(-1).mean() < bound
