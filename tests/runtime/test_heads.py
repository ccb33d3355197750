"""The classes with a head of labels, on both graphs, against the numpy oracle."""

import copy
import shutil

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from heads import head_logits, with_head
from reference import ReferenceGPTNeo

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import (
    Engine,
    GPTNeoForCausalLM,
    GPTNeoForQuestionAnswering,
    GPTNeoForSequenceClassification,
    GPTNeoForTokenClassification,
    GPTNeoModel,
)

# Sequences of more than the window of 7 tokens.
SHAPE = Shape(vocab_size=67)
PAD = 1
LENGTHS = (40, 3, 17)
MODELS = {
    Head.SEQUENCE_CLASSIFICATION: GPTNeoForSequenceClassification,
    Head.TOKEN_CLASSIFICATION: GPTNeoForTokenClassification,
    Head.QUESTION_ANSWERING: GPTNeoForQuestionAnswering,
}
GRAPHS = ("model.onnx", "portable.onnx")


class Case:
    """A checkpoint with a head, its export, and what the oracle makes of it."""

    def __init__(self, folder, head, **config):
        random = np.random.default_rng(11)
        self.head = head
        self.checkpoint = write_checkpoint(folder / "checkpoint", SHAPE, random)
        with_head(self.checkpoint, head, random, **config)
        self.export = export_model(self.checkpoint, folder / "export", graph=("fused", "portable"))
        self.oracle = ReferenceGPTNeo.open(self.checkpoint)

    def model(self, graph):
        return MODELS[self.head].from_pretrained(self.export, device="cpu", file_name=graph)

    def logits(self, sequence, positions=None):
        states = self.oracle.hidden_states(np.asarray(sequence), positions)
        return head_logits(self.checkpoint, self.head, states)


@pytest.fixture(scope="module", params=MODELS, ids=lambda head: head.value)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp("head"), request.param, pad_token_id=PAD)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier whose config.json names no pad token."""
    return Case(tmp_path_factory.mktemp("head"), Head.SEQUENCE_CLASSIFICATION)


@pytest.fixture
def sequences(random):
    return [random.integers(2, SHAPE.vocab_size, length) for length in LENGTHS]


def padded(sequences, side):
    width = max(map(len, sequences))
    ids, mask = np.full((len(sequences), width), PAD), np.zeros((len(sequences), width), int)
    for row, sequence in enumerate(sequences):
        part = slice(len(sequence)) if side == "right" else slice(width - len(sequence), None)
        ids[row, part], mask[row, part] = sequence, 1
    return ids, mask


def of_call(output):
    """What a call returns as logits [batch, ..., columns]."""
    if hasattr(output, "start_logits"):
        return np.stack([output.start_logits, output.end_logits], axis=-1)
    return output.logits


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_ragged_batch_is_exact(case, sequences, graph, side):
    """Positions are the columns' numbers, padding included, as in transformers."""
    ids, mask = padded(sequences, side)
    found = of_call(case.model(graph)(ids, attention_mask=mask))
    assert found.dtype == np.float32
    for row, sequence in enumerate(sequences):
        expected = case.logits(sequence, np.flatnonzero(mask[row]))
        if case.head is Head.SEQUENCE_CLASSIFICATION:
            np.testing.assert_allclose(found[row], expected[-1], atol=1e-4)
        else:
            np.testing.assert_allclose(found[row, mask[row] == 1], expected, atol=1e-4)
            assert not found[row, mask[row] == 0].any()


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_sequences_are_read_as_if_each_were_alone(case, sequences, graph, batch_size):
    found = dict(case.model(graph).of_sequences(sequences, batch_size))
    for index, sequence in enumerate(sequences):
        expected = case.logits(sequence)
        if case.head is Head.SEQUENCE_CLASSIFICATION:
            expected = expected[-1]
        np.testing.assert_allclose(found[index], expected, atol=1e-4)


def test_a_prompt_is_read_in_chunks(case, sequences):
    model = case.model("model.onnx")
    whole = of_call(model(sequences[0][None]))
    model.engine.prefill_chunk = 9
    np.testing.assert_allclose(of_call(model(sequences[0][None])), whole, atol=1e-5)


def test_positions_may_be_given(case, sequences):
    positions = np.arange(40)[::-1] + 5
    found = of_call(case.model("model.onnx")(sequences[0][None], position_ids=positions[None]))
    expected = case.logits(sequences[0], positions)
    if case.head is Head.SEQUENCE_CLASSIFICATION:
        expected = expected[-1]
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_models_copy_by_their_directory(case, sequences):
    model = case.model("model.onnx")
    found = copy.deepcopy(model)(sequences[1][None])
    np.testing.assert_array_equal(of_call(found), of_call(model(sequences[1][None])))


class TestTheTokenThatClassifies:
    """The rightmost that is not pad_token_id, whatever the mask says."""

    def test_pad_tokens_at_the_end_of_a_text_do_not_count(self, tmp_path):
        case = Case(tmp_path, Head.SEQUENCE_CLASSIFICATION, pad_token_id=PAD)
        for graph in GRAPHS:
            model = case.model(graph)
            for ids, last in (([5, 6, PAD, PAD], 1), ([5, PAD, 6, PAD], 2), ([PAD] * 3, 0)):
                expected = case.logits(ids[: last + 1])[-1]
                np.testing.assert_allclose(model([ids]).logits[0], expected, atol=1e-4)
                [(_, alone)] = model.of_sequences([np.array(ids)])
                np.testing.assert_allclose(alone, expected, atol=1e-4)

    @pytest.mark.parametrize("graph", GRAPHS)
    def test_without_a_pad_token_it_is_the_last_column(self, classifier, graph, sequences):
        model = classifier.model(graph)
        expected = classifier.logits(sequences[2])[-1]
        np.testing.assert_allclose(model(sequences[2][None]).logits[0], expected, atol=1e-4)
        for batch_size in (1, 3):
            found = dict(model.of_sequences(sequences, batch_size))
            np.testing.assert_allclose(found[2], expected, atol=1e-4)

    def test_without_a_pad_token_a_batch_is_refused(self, classifier):
        with pytest.raises(InputError, match="no pad_token_id, and input_ids has 2 sequences"):
            classifier.model("model.onnx")([[5, 6], [7, 8]])

    def test_a_masked_token_cannot_classify(self, classifier):
        with pytest.raises(InputError, match="its column 2, which attention_mask masks"):
            classifier.model("model.onnx")([[5, 6, 7]], attention_mask=[[1, 1, 0]])


class TestAnotherTask:
    def test_every_class_refuses_the_other_heads(self, case):
        for head, model_class in {**MODELS, Head.CAUSAL_LM: GPTNeoForCausalLM}.items():
            if head is case.head:
                continue
            message = f"and lacks the head of {head.value}; use it with {case.head.value}"
            with pytest.raises(InputError, match=message):
                model_class.from_pretrained(case.export)
            with pytest.raises(InputError, match=message):
                model_class(case.model("model.onnx"))

    def test_a_language_model_is_no_classifier(self, embedded_export):
        for model_class in MODELS.values():
            with pytest.raises(InputError, match="text-generation and lacks.*gptneo-onnx generate"):
                model_class.from_pretrained(embedded_export)

    def test_its_hidden_states_are_features(self, case, sequences):
        model = GPTNeoModel(case.model("model.onnx"))
        found = model(sequences[0][None]).last_hidden_state[0]
        np.testing.assert_allclose(found, case.oracle.hidden_states(sequences[0]), atol=1e-3)

    def test_a_graph_without_a_manifest_is_recognised(self, case, sequences, tmp_path):
        """As one of another exporter, by its outputs and config.json."""
        for name in ("config.json", "portable.onnx", "model.onnx_data"):
            shutil.copy(case.export / name, tmp_path)
        model = MODELS[case.head].from_pretrained(tmp_path, device="cpu")
        expected = case.model("portable.onnx")(sequences[1][None])
        np.testing.assert_array_equal(of_call(model(sequences[1][None])), of_call(expected))

    def test_an_engine_has_its_task(self, case):
        assert Engine.load(case.export, device="cpu").task.head is case.head
