"""What Optimum exports of a GPT-Neo for other tasks than generation, against the numpy oracle.

tests/golden/make_foreign.py makes the directories. The classifier is the golden decoder with a head
of three labels (score.npy), and pads with token 1.
"""

from pathlib import Path

import numpy as np
import pytest
from reference import ReferenceGPTNeo
from safetensors.numpy import save_file

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.runtime import (
    GPTNeoForCausalLM,
    GPTNeoForSequenceClassification,
    GPTNeoForTokenClassification,
    GPTNeoModel,
)

GOLDEN = Path(__file__).parents[1] / "golden"
CLASSIFIER = GOLDEN / "optimum" / "2.1-text-classification"
FEATURES = ("2.1-features", "2.1-features-with-past")
PAD = 1


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("golden")
    with np.load(GOLDEN / "alternating.npz") as arrays:
        (checkpoint / "config.json").write_text(str(arrays["config"]))
        tensors = {name[2:]: arrays[name] for name in arrays.files if name.startswith("t/")}
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    return ReferenceGPTNeo.open(checkpoint)


@pytest.fixture(scope="module")
def classifier():
    return GPTNeoForSequenceClassification.from_pretrained(CLASSIFIER, device="cpu")


@pytest.fixture
def sequences(random):
    """Past the window of 7; no padding token."""
    return [random.integers(2, 67, length) for length in (30, 3, 17)]


def expected_logits(oracle, sequence, positions=None):
    return oracle.hidden_states(sequence, positions)[-1] @ np.load(CLASSIFIER / "score.npy").T


def padded(sequences, side):
    width = max(map(len, sequences))
    ids, mask = np.full((len(sequences), width), PAD), np.zeros((len(sequences), width), int)
    for row, sequence in enumerate(sequences):
        part = slice(len(sequence)) if side == "right" else slice(width - len(sequence), None)
        ids[row, part], mask[row, part] = sequence, 1
    return ids, mask


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_the_oracles(name, oracle, sequences):
    model = GPTNeoModel.from_pretrained(GOLDEN / "optimum" / name, device="cpu")
    assert model.hidden_layers == (2,)
    for batch_size in (1, 3):
        for index, states in model.of_sequences(sequences, batch_size=batch_size):
            expected = oracle.hidden_states(sequences[index])
            np.testing.assert_allclose(states, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("name", FEATURES)
def test_an_export_for_features_has_no_logits(name):
    with pytest.raises(InputError, match="feature-extraction and lacks the head of GPTNeoForCaus"):
        GPTNeoForCausalLM.from_pretrained(GOLDEN / "optimum" / name)


def test_the_tasks_are_recognised():
    tasks = [
        GPTNeoModel.from_pretrained(GOLDEN / "optimum" / name).engine.task
        for name in (*FEATURES, CLASSIFIER.name, "2.1-with-past", "2.1-without-past")
    ]
    assert tasks == [
        Task.FEATURE_EXTRACTION,
        Task.FEATURE_EXTRACTION_WITH_PAST,
        Task.TEXT_CLASSIFICATION,
        Task.TEXT_GENERATION_WITH_PAST,
        Task.TEXT_GENERATION,
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_ragged_batch_is_classified_as_transformers_does(classifier, oracle, sequences, side):
    """Positions are the columns' numbers, so padding on the left shifts them."""
    ids, mask = padded(sequences, side)
    logits = classifier(ids, mask).logits
    for row, sequence in enumerate(sequences):
        positions = np.flatnonzero(mask[row])
        expected = expected_logits(oracle, sequence, positions)
        np.testing.assert_allclose(logits[row], expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_sequences_are_classified_as_if_each_were_alone(classifier, oracle, sequences, batch_size):
    found = dict(classifier.of_sequences(sequences, batch_size))
    for index, sequence in enumerate(sequences):
        np.testing.assert_allclose(found[index], expected_logits(oracle, sequence), atol=1e-4)


def test_the_graphs_labels_are_configs(classifier):
    assert [*classifier.config.labels.id2label.values()] == ["no", "perhaps", "yes"]


def test_a_classifier_refuses_other_classes():
    for model_class in (GPTNeoForCausalLM, GPTNeoForTokenClassification):
        with pytest.raises(InputError, match="is for text-classification.*gptneo-onnx classify"):
            model_class.from_pretrained(CLASSIFIER)
