"""pipeline("feature-extraction") and `gptneo-onnx embed` on the embedded model."""

import io
import json
import sys

import numpy as np
import pytest
from overflowing_checkpoint import overflowing_checkpoint
from reference import ReferenceGPTNeo
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import (
    FeatureExtractionPipeline,
    GPTNeoForCausalLM,
    GPTNeoModel,
    Tokenizer,
    pipeline,
)
from gptneo_onnx.runtime.cli.main import main

TEXTS = [
    "She was",
    "It is a truth universally acknowledged, that a single man in possession of a good fortune",
    "x",
    "caf\u00e9 \U0001f600",
    "Emma Woodhouse, handsome, clever, and rich, " * 12,
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("features") / "export"
    return export_model(
        EMBEDDED_CHECKPOINT, out, graph=("fused", "portable"), hidden_states=[2, -1]
    )


@pytest.fixture(scope="module", params=["model.onnx", "portable.onnx"])
def extractor(request, directory):
    model = GPTNeoForCausalLM.from_pretrained(directory, file_name=request.param)
    return pipeline("feature-extraction", model, Tokenizer.from_pretrained(directory))


@pytest.fixture(scope="module")
def oracle():
    """Hidden states [tokens, hidden] of a text."""
    reference = ReferenceGPTNeo.open(EMBEDDED_CHECKPOINT)
    tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)

    def states(text, layer=-1):
        return reference.all_hidden_states(np.array(tokenizer.encode(text)))[layer]

    return states


def test_features_are_hidden_states_in_lists_as_transformers_has_them(extractor, oracle):
    features = extractor(TEXTS[0])
    assert isinstance(features, list)
    assert isinstance(features[0][0][0], float)
    np.testing.assert_allclose(features, oracle(TEXTS[0])[None], atol=1e-3)
    several = extractor(TEXTS)
    assert [np.shape(each)[:1] for each in several] == [(1,)] * len(TEXTS)
    assert several[0] == features


def test_an_iterator_gives_an_iterator(extractor):
    each = extractor(iter(TEXTS), return_tensors=True)
    assert next(each).dtype == np.float32
    assert len(list(each)) == len(TEXTS) - 1


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("layer", [-1, 2])
def test_pooled_features_of_a_batch_are_as_if_alone(extractor, oracle, batch_size, layer):
    for pooling, pool in (("mean", lambda x: x.mean(0)), ("last_token", lambda x: x[-1])):
        found = extractor(
            TEXTS, pooling=pooling, layer=layer, batch_size=batch_size, return_tensors="np"
        )
        for text, features in zip(TEXTS, found, strict=True):
            assert features.dtype == np.float32
            expected = pool(oracle(text, layer))
            np.testing.assert_allclose(features, expected, atol=1e-4 * expected.std())


def test_normalized_features_have_length_one(extractor, oracle):
    found = np.array(extractor(TEXTS, pooling="mean", normalize=True, batch_size=2))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    expected = oracle(TEXTS[1]).mean(0)
    np.testing.assert_allclose(found[1], expected / np.linalg.norm(expected), atol=1e-5)
    tokens = extractor(TEXTS[1], normalize=True, return_tensors=True)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), 1, atol=1e-6)


def test_long_texts_are_cut_where_that_is_asked_for(extractor, oracle):
    long = "Mr. Knightley " * 600
    with refused(InputError, "has 1801 tokens, the model's context is 512; shorten it, or ask for"):
        extractor(long)
    ids = extractor.encode(long, truncation=True)
    assert len(ids) == 512
    found = extractor(long, truncation=True, return_tensors=True)
    kept = extractor.tokenizer.decode(ids)
    np.testing.assert_allclose(found[0], oracle(kept), atol=1e-3)


def test_arguments_of_the_pipeline_are_defaults_of_its_calls(directory):
    extractor = pipeline("feature-extraction", model=directory, pooling="mean", device=-1)
    assert isinstance(extractor, FeatureExtractionPipeline)
    assert np.shape(extractor("She")) == (256,)
    assert np.shape(extractor("She", pooling="none")) == (1, 1, 256)


def test_another_graph_of_the_directory(directory, oracle):
    for task in ("feature-extraction", "text-generation"):
        made = pipeline(task, model=directory, file_name="portable.onnx")
        with refused(InputError, "file_name is 'x.onnx', and the model is loaded already"):
            pipeline(task, made.model, made.tokenizer, file_name="x.onnx")
    extractor = pipeline("feature-extraction", model=directory, file_name="portable.onnx")
    assert extractor.model.hidden_layers == (2, 6)
    np.testing.assert_allclose(extractor(TEXTS[0])[0], oracle(TEXTS[0]), atol=1e-3)


def test_a_loaded_base_model_serves(directory):
    model = GPTNeoModel.from_pretrained(directory)
    extractor = pipeline("feature-extraction", model, Tokenizer.from_pretrained(directory))
    assert np.shape(extractor("She")) == (1, 1, 256)
    with refused(InputError, "text-generation needs a GPTNeoForCausalLM; pass one, or a directory"):
        pipeline("text-generation", model, Tokenizer.from_pretrained(directory))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"pooling": "max"}, "pooling is 'max'; one of none, mean, last_token is allowed"),
        ({"pooling": 1}, "pooling is 1; one of"),
        ({"normalize": 1}, "normalize is 1; True or False"),
        ({"truncation": "left"}, "truncation is 'left'; True or False"),
        ({"batch_size": 0}, "batch_size is 0; a whole number of at least 1"),
        ({"return_tensors": "pt"}, "return_tensors is 'pt'; True and 'np'"),
        ({"return_tensors": np.arange(2)}, r"return_tensors is \(0, 1\); True and 'np'"),
        ({"pooling": np.arange(2)}, r"pooling is \(0, 1\); one of none, mean"),
        ({"layer": 3}, r"hidden states of layer 3 \(it gives 2, 6\); export"),
        ({"layer": 7}, r"layer is 7; 0 \(the embeddings\) to 6"),
        ({"max_new_tokens": 3}, "has no argument 'max_new_tokens'; batch_size, pooling, norm"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(extractor, arguments, match):
    with refused(InputError, match):
        extractor("She was", **arguments)


@pytest.mark.parametrize("text", ["", 3, None, [""], ["She", 3], b"She", {"She": 1}])
def test_texts_that_are_none_are_refused(extractor, text):
    with pytest.raises(InputError):
        extractor(text)


@pytest.mark.parametrize("batch_size", [10**30, np.int64(2)])
def test_any_batch_size_is_as_large_as_the_texts_need(extractor, batch_size):
    found = extractor(TEXTS, pooling="mean", normalize=np.True_, batch_size=batch_size)
    np.testing.assert_allclose(found, extractor(TEXTS, pooling="mean", normalize=True), atol=1e-6)


def test_what_is_no_model_is_refused(directory):
    for wrong in (str(directory), None):
        with refused(InputError, "model is .*; a model loaded with GPTNeoForCausalLM.from_pret"):
            FeatureExtractionPipeline(wrong, Tokenizer.from_pretrained(directory))


def test_a_draft_is_not_for_features(directory):
    with refused(InputError, "feature-extraction has no assistant_model; leave it out"):
        pipeline("feature-extraction", model=directory, assistant_model=directory)


class TestCommand:
    @pytest.fixture
    def lines(self, tmp_path):
        path = tmp_path / "texts.txt"
        path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
        return path

    def test_an_array_has_a_row_for_each_line(self, directory, lines, tmp_path, oracle):
        out = tmp_path / "vectors.npy"
        assert main(["embed", str(directory), str(lines), "--lines", "--out", str(out)]) == 0
        found = np.load(out)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [oracle(text).mean(0) for text in TEXTS], atol=1e-3)
        assert {path.name for path in tmp_path.iterdir()} == {"texts.txt", "vectors.npy"}

    def test_json_lines_say_where_a_text_is_from(self, directory, tmp_path, capsys, oracle):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS))
        arguments = ["--field", "body", "--pooling", "last_token", "--layer", "2", "--normalize"]
        assert main(["embed", str(directory), str(path), *arguments]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [each["source"] for each in found] == [f"{path}:{i}" for i in range(1, 6)]
        for text, each in zip(TEXTS, found, strict=True):
            expected = oracle(text, 2)[-1]
            expected = expected / np.linalg.norm(expected)
            np.testing.assert_allclose(each["embedding"], expected, atol=1e-5)

    def test_printed_numbers_are_the_same_float32(self, directory, lines, tmp_path):
        for out in ("vectors.npy", "vectors.jsonl"):
            command = ["embed", str(directory), str(lines), "--lines", "--out"]
            assert main([*command, str(tmp_path / out)]) == 0
        lines = (tmp_path / "vectors.jsonl").read_text().splitlines()
        read = [json.loads(line) for line in lines]
        printed = np.array([each["embedding"] for each in read], np.float32)
        assert (printed == np.load(tmp_path / "vectors.npy")).all()

    def test_without_pooling_a_text_has_a_vector_for_each_token(
        self, directory, tmp_path, monkeypatch, oracle
    ):
        out = tmp_path / "tokens.npy"
        standard_input = io.TextIOWrapper(io.BytesIO(TEXTS[1].encode()))
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert main(["embed", str(directory), "-", "--pooling", "none", "--out", str(out)]) == 0
        np.testing.assert_allclose(np.load(out), oracle(TEXTS[1]), atol=1e-3)

    def test_the_line_end_of_a_text_is_not_its_last_token(
        self, directory, tmp_path, capsys, oracle
    ):
        path = tmp_path / "text.txt"
        path.write_text(TEXTS[0] + "\n")
        assert main(["embed", str(directory), str(path), "--pooling", "last_token"]) == 0
        found = json.loads(capsys.readouterr().out)["embedding"]
        np.testing.assert_allclose(found, oracle(TEXTS[0])[-1], atol=1e-3)

    def test_a_text_is_not_overwritten(self, directory, tmp_path, capsys):
        path = tmp_path / "texts.jsonl"
        path.write_text('{"text": "She was"}\n')
        assert main(["embed", str(directory), str(path), "--out", str(path)]) == 2
        assert "texts.jsonl is one of the texts, and would be lost" in capsys.readouterr().err
        assert path.read_text() == '{"text": "She was"}\n'

    def test_numbers_that_overflow_are_refused(self, tmp_path, random, capsys):
        checkpoint = overflowing_checkpoint(tmp_path / "checkpoint", random)
        out = export_model(checkpoint, tmp_path / "export", precision="fp16")
        (tmp_path / "texts.txt").write_text("She was\nx\n")
        arguments = [str(out), str(tmp_path / "texts.txt"), "--lines"]
        assert main(["embed", *arguments, "--out", str(tmp_path / "v.npy")]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "texts.txt:2: its hidden states are not finite numbers" in error
        assert not (tmp_path / "v.npy").exists()
        assert not [*tmp_path.glob(".*")]

    @pytest.mark.parametrize(
        ("content", "arguments", "message"),
        [
            (b"", [], "texts.txt is empty; a text is expected"),
            (b"caf\xe9", [], "texts.txt is not UTF-8: byte 3 is 0xe9; convert it first"),
            (
                b"a\n\nb\n",
                ["--lines"],
                "texts.txt:2: the text is empty; features need at least",
            ),
            (
                b"Emma " * 600,
                [],
                "tokens, the model's context is 512; shorten it, or ask for trunc",
            ),
            (b"a", ["--layer", "1"], "hidden states of layer 1 (it gives 2, 6); export"),
            (b"a", ["--layer", "9"], "layer is 9; 0 (the embeddings) to 6"),
            (b"a", ["--out", "vectors.csv"], "--out is vectors.csv; a name in .npy or .jsonl"),
            (b"a", ["--out", "x" * 300 + ".npy"], "cannot be written: File name too long; name an"),
            (b"a", ["--batch-size", "0"], "batch_size is 0; a whole number of at least 1"),
            (
                b"a",
                ["--out", "nowhere/v.npy"],
                "nowhere/v.npy cannot be written: No such file or directory",
            ),
            (
                b"a\nb",
                ["--lines", "--pooling", "none", "--out", "v.npy"],
                "pooling none gives a vector for each token, and 2 texts",
            ),
        ],
    )
    def test_bad_input_is_one_line(
        self, directory, tmp_path, monkeypatch, capsys, content, arguments, message
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "texts.txt").write_bytes(content)
        assert main(["embed", str(directory), "texts.txt", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
