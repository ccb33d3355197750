"""Perplexity by both definitions, against the float64 oracle and at the command line."""

import json
import math
import re

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from plain_generation import log_softmax
from reference import ReferenceGPTNeo

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.documents import Document
from gptneo_onnx.runtime.evaluation import perplexity as module
from gptneo_onnx.runtime.evaluation.journal import Journal
from gptneo_onnx.runtime.evaluation.perplexity import perplexity
from gptneo_onnx.runtime.evaluation.scoring import score
from gptneo_onnx.runtime.evaluation.windows import rolling_windows

# Windows of 7 in a context of 48, over the embedded model's tokenizer.
SHAPE = Shape(vocab_size=4096, window_size=7, max_position_embeddings=48)
TEXTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be on "
    "his first entering a neighbourhood, this truth is so well fixed in the minds of the families, "
    "that he is considered the rightful property of some one or other of their daughters.",
    "She was",
    "",
    "Emma",
    "caf\u00e9 na\u00efve \U0001f600  two  spaces\nand a line",
    "x",
]
END = "<|endoftext|>"


@pytest.fixture
def checkpoint(tmp_path, random):
    directory = write_checkpoint(tmp_path / "checkpoint", SHAPE, random)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((EMBEDDED_CHECKPOINT / name).read_bytes())
    return directory


@pytest.fixture
def directory(checkpoint, tmp_path):
    return export_model(checkpoint, tmp_path / "export", graph=("fused", "portable"))


@pytest.fixture(params=["model.onnx", "portable.onnx"])
def model(request, directory):
    return GPTNeoForCausalLM.from_pretrained(directory, device="cpu", file_name=request.param)


@pytest.fixture
def tokenizer(directory):
    return Tokenizer.from_pretrained(directory)


@pytest.fixture
def oracle(checkpoint):
    """The oracle's log likelihoods [scored] of a window's targets, as a function."""
    reference = ReferenceGPTNeo.open(checkpoint)

    def scores(window):
        rows = log_softmax(reference.logits(window.inputs))[-len(window.targets) :]
        return rows[np.arange(len(rows)), window.targets]

    return scores


def documents(*texts):
    return [Document(text, str(number)) for number, text in enumerate(texts or TEXTS)]


def test_log_likelihoods_are_the_models(model, tokenizer, oracle):
    windows = [
        window
        for text in TEXTS
        for window in rolling_windows(np.array(tokenizer.encode(text), np.int64), 5, 48)
    ]
    for slots in (1, 4):
        found = dict(score(model.engine.decoder(slots), windows))
        assert sorted(found) == [*range(len(windows))]
        for index, window in enumerate(windows):
            expected = oracle(window)
            np.testing.assert_allclose(found[index].log_likelihoods, expected, atol=2e-4)


@pytest.mark.parametrize("stride", [None, 10])
def test_rolling_perplexity_is_the_oracles(model, tokenizer, oracle, stride):
    end = tokenizer.eos_token_id
    windows = [
        window
        for text in TEXTS
        for window in rolling_windows(np.array(tokenizer.encode(text), np.int64), end, 48, stride)
    ]
    likelihood = sum(oracle(window).sum() for window in windows)
    tokens = sum(len(window.targets) for window in windows)
    words = sum(len(re.split(r"\s+", text)) for text in TEXTS)
    size = sum(len(text.encode()) for text in TEXTS)
    found = perplexity(model, tokenizer, documents(), stride=stride)
    assert (found.documents, found.tokens) == (len(TEXTS), tokens)
    assert found.log_likelihood == pytest.approx(likelihood, rel=1e-5)
    assert found.token_perplexity == pytest.approx(math.exp(-likelihood / tokens), rel=1e-4)
    assert found.word_perplexity == pytest.approx(math.exp(-likelihood / words), rel=1e-4)
    assert found.byte_perplexity == pytest.approx(math.exp(-likelihood / size), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(-likelihood / size / math.log(2), rel=1e-4)
    losses = [-oracle(window).sum() / len(window.targets) for window in windows]
    assert 0 < found.standard_error < found.token_perplexity * np.std(losses)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_cards_perplexity_is_a_mean_over_batches(model, tokenizer, oracle, batch_size):
    """Chunks of 49 tokens of one stream, normalized by ftfy, end tokens between documents."""
    texts = [TEXTS[0], TEXTS[0].replace("fi", "\ufb01"), TEXTS[4]]
    end = tokenizer.eos_token_id
    fixed = [text.replace("\ufb01", "fi") for text in texts]
    stream = np.array([token for text in fixed for token in [end, *tokenizer.encode(text)]])
    chunks = [stream[start : start + 49] for start in range(0, len(stream) - 48, 49)]
    losses = [
        -oracle(type("Chunk", (), {"inputs": chunk[:-1], "targets": chunk[1:]})).mean()
        for chunk in chunks
    ]
    complete = len(losses) // batch_size * batch_size
    batches = np.array(losses[:complete]).reshape(-1, batch_size).mean(axis=1)
    found = perplexity(model, tokenizer, documents(*texts), protocol="card", batch_size=batch_size)
    assert found.tokens == 48 * len(chunks)
    assert found.token_perplexity == pytest.approx(float(np.exp(batches).mean()), rel=1e-4)


def test_the_cards_bits_per_byte_do_not_depend_on_the_incomplete_chunk(model, tokenizer):
    """49 of some 80 tokens are a chunk; the others count only for tokens per byte."""
    found = perplexity(model, tokenizer, documents(TEXTS[0]), protocol="card")
    loss = -found.log_likelihood / found.tokens
    ids, size = tokenizer.encode(TEXTS[0]), len(TEXTS[0].encode())
    assert found.tokens == 48 < len(ids)
    assert found.bits_per_byte == pytest.approx(loss / math.log(2) * len(ids) / size)
    values = found.as_dict()
    assert values["word_perplexity"] is values["byte_perplexity"] is None


def test_bits_per_byte_use_the_tokens_per_byte_that_are_passed(model, tokenizer):
    """As the card's figure for the Pile: loss * 0.29335 / ln 2."""
    card = {"protocol": "card", "tokens_per_byte": 0.29335}
    found = perplexity(model, tokenizer, documents(TEXTS[0]), **card)
    loss = -found.log_likelihood / found.tokens
    assert found.bits_per_byte == pytest.approx(loss * 0.29335 / math.log(2))
    assert found.as_dict()["bits_per_byte"] == found.bits_per_byte


def test_only_empty_documents_are_refused(model, tokenizer):
    with pytest.raises(InputError, match="nothing to score in 2 documents: all are empty"):
        perplexity(model, tokenizer, documents("", ""))


def test_too_little_for_a_chunk_is_refused(model, tokenizer):
    with pytest.raises(InputError, match="protocol card needs more than 48 tokens"):
        perplexity(model, tokenizer, documents("one"), protocol="card")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"stride": 0}, "stride is 0; 1 to 48"),
        ({"stride": 49}, "stride is 49; 1 to 48"),
        ({"protocol": "harness"}, "protocol is 'harness'; rolling or card is allowed"),
        ({"detokenize": "ptb"}, "detokenize is 'ptb'; wikitext is allowed"),
        ({"protocol": "card", "stride": 3}, "card takes texts as they are"),
        ({"batch_size": 2}, "batch_size is 2; 1 is allowed, and more with protocol card"),
    ],
)
def test_arguments_out_of_range_are_refused(model, tokenizer, arguments, match):
    with pytest.raises(InputError, match=match):
        perplexity(model, tokenizer, documents(), **arguments)


def test_another_models_tokenizer_is_refused(export_shape, tokenizer):
    small = GPTNeoForCausalLM.from_pretrained(export_shape(Shape(vocab_size=60)))
    with pytest.raises(ModelFileError, match="tokens, the model 60: it belongs to another model"):
        perplexity(small, tokenizer, documents())


def test_an_interrupted_measurement_resumes(model, tokenizer, tmp_path, monkeypatch):
    """Nothing is scored twice, and the result is the same to the last digit."""
    measurement = {"texts": "these"}
    monkeypatch.setattr(module, "WINDOWS_READ_AHEAD", 2)
    expected = perplexity(model, tokenizer, documents())
    path = tmp_path / "journal"
    perplexity(model, tokenizer, documents(), journal=Journal.open(path, measurement))
    lines = path.read_text().splitlines()
    scored = []
    monkeypatch.setattr(
        module, "score", lambda *args: (scored.append(len(args[1])), score(*args))[1]
    )
    path.write_text("\n".join(lines[:4]) + '\n{"window": 3, "log_lik')
    found = perplexity(model, tokenizer, documents(), journal=Journal.open(path, measurement))
    assert found == expected
    assert sum(scored) == len(lines) - 4
    with pytest.raises(InputError, match="is of another measurement"):
        Journal.open(path, {"texts": "others"})


class TestCommand:
    @pytest.fixture
    def run(self, directory, tmp_path, capsys):
        def run(*arguments, text=TEXTS[0]):
            file = tmp_path / "text.txt"
            if isinstance(text, bytes):
                file.write_bytes(text)
            elif text is not None:
                file.write_text(text)
            status = main(["perplexity", str(directory), str(file), *map(str, arguments)])
            return status, *capsys.readouterr()

        return run

    def test_it_prints_a_table_or_json(self, run):
        status, table, _ = run()
        assert status == 0
        assert re.search(r"^token perplexity +\d+\.\d{4} ± \d", table, re.MULTILINE)
        status, out, _ = run("--json")
        assert f"{json.loads(out)['word_perplexity']:.4f}" in table

    def test_a_single_window_has_no_error_in_valid_json(self, run):
        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        _, out, _ = run("--json", text="Emma")
        found = json.loads(out, parse_constant=refuse)
        assert found["standard_error"] is None
        assert found["token_perplexity"] > 1

    def test_it_resumes(self, run, tmp_path):
        first = run("--json", "--resume", tmp_path / "journal")
        assert run("--json", "--resume", tmp_path / "journal") == first
        status, _, error = run("--json", "--resume", tmp_path / "journal", text="another")
        assert status == 2
        assert "is of another measurement" in error

    @pytest.mark.parametrize(
        ("text", "arguments", "match"),
        [
            ("", [], "text.txt is empty; a text is expected"),
            (b"caf\xe9", [], "text.txt is not UTF-8: byte 3 is 0xe9"),
            ("x", ["--protocol", "card"], "card needs more than 48 tokens"),
            ("text", ["--stride", "0"], "stride is 0; 1 to 48"),
            ("text", ["--tokens-per-byte", "0.3"], "tokens_per_byte is 0.3; with protocol card"),
            ("text", ["--protocol", "card", "--tokens-per-byte", "0"], "tokens_per_byte is 0.0;"),
            (None, [], "text.txt cannot be read: No such file"),
            ("x", ["-", "--resume", "journal"], "--resume needs texts that can be read again"),
        ],
    )
    def test_bad_input_is_told_in_one_line(self, run, text, arguments, match):
        status, out, error = run(*arguments, text=text)
        assert (status, out) == (2, "")
        assert match in error
        assert error.count("\n") == 1
