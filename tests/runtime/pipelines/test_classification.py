"""The pipelines of text and token classification and of question answering, on the embedded model
with drawn heads; and `gptneo-onnx classify`.

tests/peers/test_classification.py compares their results with transformers'.
"""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from heads import head_logits, with_head
from reference import ReferenceGPTNeo

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import (
    FeatureExtractionPipeline,
    QuestionAnsweringPipeline,
    TextClassificationPipeline,
    TextGenerationPipeline,
    TokenClassificationPipeline,
    Tokenizer,
    pipeline,
)
from gptneo_onnx.runtime.cli.main import main

GOLDEN = Path(__file__).parents[2] / "golden" / "optimum"
TEXT = "Emma Woodhouse was very fond of Mr. Darcy."
TEXTS = [TEXT, "She was", "x", "“My dear Anne,” said Sir Walter. " * 20]
QUESTION = "Who was fond of Mr. Darcy?"


def made(folder, head, labels):
    checkpoint = Path(shutil.copytree(EMBEDDED_CHECKPOINT, folder / "checkpoint"))
    with_head(checkpoint, head, np.random.default_rng(3), labels)
    return export_model(checkpoint, folder / "export", graph=("fused", "portable"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return made(folder, Head.SEQUENCE_CLASSIFICATION, ("no", "perhaps", "yes"))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    return made(folder, Head.TOKEN_CLASSIFICATION, ("O", "PER", "LOC"))


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    return made(tmp_path_factory.mktemp("answerer"), Head.QUESTION_ANSWERING, ("a", "b"))


@pytest.fixture(scope="module", params=["model.onnx", "portable.onnx"])
def classify(request, classifier):
    return pipeline(model=classifier, device="cpu", file_name=request.param)


@pytest.fixture(scope="module", params=["model.onnx", "portable.onnx"])
def tag(request, tagger):
    return pipeline(model=tagger, device="cpu", file_name=request.param)


@pytest.fixture(scope="module", params=["model.onnx", "portable.onnx"])
def answer(request, answerer):
    return pipeline(model=answerer, device="cpu", file_name=request.param)


@pytest.fixture
def typed(monkeypatch):
    """Sets what is typed on standard input."""

    def set_text(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return set_text


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def refused(capsys, arguments, message):
    """Expect a command to end with status 2 and this one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out
    [line] = captured.err.splitlines()
    assert re.search(message, line), line


class TestTask:
    """What pipeline() makes without a task."""

    def test_the_exports_own(self, classifier, tagger, answerer, embedded_export):
        kinds = {
            classifier: TextClassificationPipeline,
            tagger: TokenClassificationPipeline,
            answerer: QuestionAnsweringPipeline,
            embedded_export: TextGenerationPipeline,
        }
        for directory, kind in kinds.items():
            assert type(pipeline(model=directory, device="cpu")) is kind

    def test_that_of_another_exporters_graph(self, embedded_export):
        """By its outputs."""
        kinds = {
            "2.1-text-classification": TextClassificationPipeline,
            "2.1-features": FeatureExtractionPipeline,
            "2.1-with-past": TextGenerationPipeline,
        }
        for name, kind in kinds.items():
            made = pipeline(model=GOLDEN / name, tokenizer=embedded_export, device="cpu")
            assert type(made) is kind

    def test_a_loaded_models(self, classifier):
        model = pipeline(model=classifier, device="cpu").model
        again = pipeline(model=model, tokenizer=classifier)
        assert type(again) is TextClassificationPipeline

    def test_transformers_other_names(self, classifier, tagger):
        assert type(pipeline("sentiment-analysis", classifier)) is TextClassificationPipeline
        assert type(pipeline("ner", tagger)) is TokenClassificationPipeline

    def test_another_than_the_models_is_refused(self, classifier, tagger, embedded_export):
        with pytest.raises(InputError, match="is for text-classification and lacks the head of"):
            pipeline("text-generation", classifier)
        with pytest.raises(InputError, match="is for text-generation and lacks the head of"):
            pipeline("text-classification", embedded_export)
        model = pipeline("ner", tagger).model
        with pytest.raises(InputError, match=r'pipeline\("token-classification"\)'):
            pipeline("question-answering", model, tagger)

    def test_a_classifiers_features(self, classifier):
        features = pipeline("feature-extraction", classifier)(TEXT, pooling="mean")
        assert len(features) == 256


class TestTextClassification:
    def test_scores_are_the_oracles(self, classify, classifier):
        ids = np.array(classify.tokenizer.encode(TEXT))
        checkpoint = classifier.parent / "checkpoint"
        states = ReferenceGPTNeo.open(checkpoint).hidden_states(ids)[-1]
        logits = head_logits(checkpoint, Head.SEQUENCE_CLASSIFICATION, states)
        expected = np.exp(logits) / np.exp(logits).sum()
        found = classify(TEXT, return_all_scores=True)[0]
        assert [each["label"] for each in found] == ["no", "perhaps", "yes"]
        np.testing.assert_allclose([each["score"] for each in found], expected, atol=1e-4)

    def test_batches_change_nothing(self, classify):
        """Without a padding token."""
        for one, other in zip(classify(TEXTS, batch_size=4), classify(TEXTS), strict=True):
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)

    def test_top_k_sorts(self, classify):
        found = classify(TEXT, top_k=None)
        assert sorted(found, key=lambda each: -each["score"]) == found
        assert classify(TEXT, top_k=2) == found[:2]
        assert classify(TEXT) == found[:1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"top_k": 0}, "top_k is 0; a whole number of at least 1"),
            ({"function_to_apply": "relu"}, "function_to_apply is 'relu'; default, sigmoid"),
            ({"truncation": "left"}, "truncation is 'left'; True, False, longest_first"),
            ({"max_length": -1}, "max_length is -1"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"temperature": 1}, "text-classification has no argument 'temperature'"),
        ],
        ids=str,
    )
    def test_arguments_out_of_range(self, classify, arguments, message):
        with pytest.raises(InputError, match=message):
            classify(TEXT, **arguments)

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ("", "the text is empty"),
            ([3], "3 is no text"),
            (7, "the input is of type int"),
            ({"text": TEXT, "pair": TEXT}, 'is no text; a text, or {"text"'),
            ({"text": [TEXT]}, "has no texts"),
            ("x " * 600, "has 1200 tokens, the model's context is 512"),
        ],
        ids=["empty", "number", "int", "names", "list", "long"],
    )
    def test_inputs_that_are_no_texts(self, classify, inputs, message):
        with pytest.raises(InputError, match=message):
            classify(inputs)


class TestTokenClassification:
    def test_tokens_have_their_places(self, tag):
        found = tag(TEXT, ignore_labels=[])
        assert [each["index"] for each in found] == [*range(len(found))]
        assert "".join(TEXT[each["start"] : each["end"]] for each in found) == TEXT

    def test_groups_cover_the_text(self, tag):
        for strategy in ("simple", "first", "average", "max"):
            found = tag(TEXT, aggregation_strategy=strategy, ignore_labels=[])
            assert "".join(TEXT[each["start"] : each["end"]] for each in found) == TEXT
            assert "".join(each["word"] for each in found) == TEXT

    def test_windows_read_what_the_first_one_lacks(self, tag, tagger, caplog):
        tokenizer = Tokenizer.from_pretrained(tagger)
        tokenizer.settings = type(tokenizer.settings)(model_max_length=20)
        short = TokenClassificationPipeline(tag.model, tokenizer, aggregation_strategy="simple")
        arguments = {"ignore_labels": []}
        whole = short(TEXTS[3], stride=5, **arguments)
        assert whole[-1]["end"] == len(TEXTS[3])
        assert not caplog.text
        assert short(TEXTS[3], **arguments)[-1]["end"] < 100
        assert "has more than 20 tokens; the rest is not read" in caplog.text

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"aggregation_strategy": "last"}, "aggregation_strategy is 'last'; one of none"),
            ({"ignore_labels": "O"}, "ignore_labels is 'O'; a list"),
            ({"stride": 3}, "stride is 3, which reads long texts.*pass an aggregation_strategy"),
            ({"stride": -1, "aggregation_strategy": "max"}, "stride is -1"),
        ],
        ids=str,
    )
    def test_arguments_out_of_range(self, tag, arguments, message):
        with pytest.raises(InputError, match=message):
            tag(TEXT, **arguments)


class TestQuestionAnswering:
    def test_an_answer_lies_in_its_context(self, answer):
        found = answer(question=QUESTION, context=TEXT)
        assert TEXT[found["start"] : found["end"]] == found["answer"]
        assert len(answer(question=QUESTION, context=TEXT, top_k=3)) == 3

    def test_windows_of_a_long_context(self, answer):
        found = answer(question=QUESTION, context=TEXTS[3], max_seq_len=32, doc_stride=4)
        assert TEXTS[3][found["start"] : found["end"]] == found["answer"]

    def test_batches_change_nothing(self, answer):
        questions = [{"question": QUESTION, "context": text} for text in TEXTS]
        for one, other in zip(answer(questions, batch_size=4), answer(questions), strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
            assert one["answer"] == other["answer"]

    def test_windows_without_room_for_the_context(self, answer):
        with pytest.raises(InputError, match="windows of 8 tokens, of which .* hold no others"):
            answer(question=QUESTION, context=TEXT, max_seq_len=8)

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({}, "no question was given"),
            ({"question": QUESTION}, "context of type NoneType"),
            ({"question": "", "context": TEXT}, "question is ''; a text that is not empty"),
            ({"question": [QUESTION] * 2, "context": [TEXT]}, "2 questions and 1 contexts"),
            ({"question": QUESTION, "context": TEXT, "top_k": 0}, "top_k is 0"),
            ({"question": QUESTION, "context": TEXT, "doc_stride": 999}, "doc_stride is 999"),
        ],
        ids=str,
    )
    def test_what_cannot_be_asked(self, answer, inputs, message):
        with pytest.raises(InputError, match=message):
            answer(**inputs)


class TestCommand:
    def test_a_text_gets_its_label(self, classifier, capsys):
        [expected] = pipeline(model=classifier)(TEXT)
        assert main(["classify", str(classifier), TEXT]) == 0
        assert lines(capsys) == [f"{expected['score']:7.4f}  {expected['label']}"]

    def test_several_texts_are_shown(self, classifier, capsys):
        main(["classify", str(classifier), TEXT, "She was", "--top-k", "2"])
        found = lines(capsys)
        assert [line.split("  ")[-1] for line in found] == [TEXT, TEXT, "She was", "She was"]

    def test_standard_input_by_lines_as_json(self, classifier, typed, capsys):
        typed("She was\nx\n")
        main(["classify", str(classifier), "--lines", "--json", "--top-k", "3"])
        found = [json.loads(line) for line in lines(capsys)]
        assert [each["source"] for each in found] == ["standard input:1", "standard input:2"]
        assert [len(each["labels"]) for each in found] == [3, 3]

    def test_files(self, classifier, tmp_path, capsys):
        path = tmp_path / "texts.jsonl"
        path.write_text(json.dumps({"body": TEXT}) + "\n")
        main(["classify", str(classifier), "--text", str(path), "--field", "body", "--json"])
        [found] = [json.loads(line) for line in lines(capsys)]
        assert found["source"] == f"{path}:1"

    def test_entities(self, tagger, capsys):
        expected = pipeline(model=tagger, aggregation_strategy="simple")(TEXT)
        main(["classify", str(tagger), TEXT])
        found = lines(capsys)
        assert len(found) == len(expected)
        for line, entity in zip(found, expected, strict=True):
            assert entity["entity_group"] in line
            assert f"({entity['start']}-{entity['end']})" in line

    def test_answers(self, answerer, capsys):
        expected = pipeline(model=answerer)(question=QUESTION, context=TEXT)
        main(["classify", str(answerer), TEXT, "--question", QUESTION, "--json"])
        [found] = [json.loads(line) for line in lines(capsys)]
        assert [each["answer"] for each in found["answers"]] == [expected["answer"]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([TEXT, "--question", "Who?"], "--question is for GPTNeoForQuestionAnswering, and"),
            ([TEXT, "--stride", "3"], "--stride is for GPTNeoForTokenClassification"),
            ([TEXT, ""], "text 2: the text is empty"),
            ([TEXT, "--text", "x.txt"], "texts were given, and files"),
            ([TEXT, "--top-k", "0"], "top_k is 0"),
            (["x " * 600], "text 1: the text .* has 1200 tokens"),
        ],
    )
    def test_refusals(self, classifier, capsys, arguments, message):
        refused(capsys, ["classify", str(classifier), *arguments], message)

    def test_a_model_of_another_task(self, embedded_export, answerer, capsys):
        refused(
            capsys,
            ["classify", str(embedded_export), TEXT],
            "is for text-generation .* gptneo-onnx generate",
        )
        refused(capsys, ["classify", str(answerer), TEXT], "pass --question TEXT")
        message = "is for question-answering .* gptneo-onnx classify --question"
        refused(capsys, ["generate", str(answerer), TEXT], message)
        config = str(answerer / "config.json")
        refused(capsys, ["perplexity", str(answerer), config], message)
        refused(capsys, ["compare", str(answerer), str(answerer), "--text", config], message)

    def test_vectors_of_a_classifiers_hidden_states(self, classifier, typed, capsys):
        typed("She was")
        assert main(["embed", str(classifier), "-"]) == 0
        [line] = lines(capsys)
        assert len(json.loads(line)["embedding"]) == 256
