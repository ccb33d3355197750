"""Comparisons of two models, against the float64 oracle of each and at the command line."""

import json
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from checkpoints import Shape, write_checkpoint
from overflowing_checkpoint import overflowing_checkpoint
from plain_generation import log_softmax
from reference import ReferenceGPTNeo
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.compare import _names
from gptneo_onnx.runtime.cli.compared_models import about_models, about_run
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.documents import Document
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.evaluation.comparison import Comparison, compare
from gptneo_onnx.runtime.evaluation.comparison_report import comparison_page
from gptneo_onnx.runtime.evaluation.perplexity import perplexity
from gptneo_onnx.runtime.evaluation.windows import rolling_windows
from gptneo_onnx.runtime.model_files.stored_size import stored_bytes

# Windows of 7 in a context of 48, over the embedded model's tokenizer.
SHAPE = Shape(vocab_size=4096, window_size=7, max_position_embeddings=48)
TEXTS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be on "
    "his first entering a neighbourhood, this truth is so well fixed in the minds of the families.",
    "She was",
    "",
    "caf\u00e9 na\u00efve \U0001f600  two  spaces\nand <b>a</b> line",
    "x",
]
DOCUMENTS = [Document(text, f"text {number}") for number, text in enumerate(TEXTS)]


def with_tokenizer(checkpoint):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (checkpoint / name).write_bytes((EMBEDDED_CHECKPOINT / name).read_bytes())
    return checkpoint


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two models that have nothing in common but their shape, and a longer context."""
    folder = tmp_path_factory.mktemp("two")
    shapes = (SHAPE, SHAPE.but(max_position_embeddings=60))
    return [
        with_tokenizer(write_checkpoint(folder / str(seed), shape, np.random.default_rng(seed)))
        for seed, shape in enumerate(shapes)
    ]


@pytest.fixture(scope="module")
def exports(checkpoints):
    graphs = ("fused", "portable")
    return [
        export_model(checkpoint, checkpoint.parent / f"out{checkpoint.name}", graph=graphs)
        for checkpoint in checkpoints
    ]


@pytest.fixture(params=["model.onnx", "portable.onnx"])
def models(request, exports):
    """The first with the fused graph; the second reads chunks of another length."""
    first = GPTNeoForCausalLM.from_pretrained(exports[0], device="cpu")
    second = GPTNeoForCausalLM.from_pretrained(exports[1], file_name=request.param)
    first.engine.prefill_chunk, second.engine.prefill_chunk = 11, 7
    return first, second


@pytest.fixture
def tokenizer(exports):
    return Tokenizer.from_pretrained(exports[0])


@pytest.fixture(scope="module")
def expected(checkpoints):
    """Log probabilities [2][tokens, vocab] by both oracles, targets and the tokens before each."""
    tokenizer = Tokenizer.from_pretrained(checkpoints[0])
    oracles = [ReferenceGPTNeo.open(checkpoint) for checkpoint in checkpoints]
    rows, targets, context = ([], []), [], []
    for text in TEXTS:
        ids = np.array(tokenizer.encode(text), np.int64)
        for window in rolling_windows(ids, tokenizer.eos_token_id, 48):
            for oracle_rows, oracle in zip(rows, oracles, strict=True):
                logits = oracle.logits(window.inputs)
                oracle_rows.append(log_softmax(logits)[-len(window.targets) :])
            targets.append(window.targets)
            context.append(len(window.context) + np.arange(len(window.targets)))
    first, second = map(np.concatenate, rows)
    return first, second, np.concatenate(targets), np.concatenate(context)


def test_every_token_is_measured_as_the_oracles_measure_it(models, tokenizer, expected):
    first, second, targets, context = expected
    found = compare(*models, tokenizer, DOCUMENTS)
    rows = np.arange(len(targets))
    losses = -np.stack([first[rows, targets], second[rows, targets]])
    divergences = (np.exp(first) * (first - second)).sum(-1)
    assert (found.documents, found.tokens) == (len(TEXTS), len(targets))
    assert found.bytes == sum(len(text.encode()) for text in TEXTS)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.divergences, divergences, rtol=1e-3, atol=1e-3)
    assert (found.context == context).all()
    assert (found.agrees == (first.argmax(-1) == second.argmax(-1))).mean() > 0.99
    assert found.token_perplexity == pytest.approx(np.exp(losses.mean(axis=1)), rel=1e-3)


def test_figures_follow_from_the_tokens(models, tokenizer):
    found = compare(*models, tokenizer, DOCUMENTS)
    values = json.loads(json.dumps(found.as_dict()))
    ppl, other = values["token_perplexity"]
    assert values["perplexity_change"] == pytest.approx(other / ppl - 1)
    change = found.losses[1] - found.losses[0]
    error = other / ppl * change.std(ddof=1) / np.sqrt(found.tokens)
    assert values["perplexity_change_error"] == pytest.approx(error)
    assert values["mean_divergence"] == pytest.approx(found.divergences.mean())
    assert values["max_divergence"] == found.divergences.max()
    assert values["agreement"] == found.agrees.mean()
    bits = found.losses.sum(axis=1) / found.bytes / np.log(2)
    assert values["bits_per_byte"] == pytest.approx(bits.tolist())


def test_the_largest_differences_say_where_they_are(models, tokenizer, expected):
    first, second, targets, _ = expected
    found = compare(*models, tokenizer, DOCUMENTS, largest=5)
    order = np.argsort(-found.divergences)[:5]
    assert [place.divergence for place in found.largest] == found.divergences[order].tolist()
    starts = np.cumsum([0, *(len(tokenizer.encode(text)) for text in TEXTS)])
    for place, row in zip(found.largest, order, strict=True):
        document = int(np.searchsorted(starts, row, side="right")) - 1
        assert (place.source, place.token) == (f"text {document}", row - starts[document])
        assert place.actual == tokenizer.decode(int(targets[row]))
        preceding = tokenizer.decode(tokenizer.encode(TEXTS[document])[: place.token])
        assert preceding.endswith(place.before)
        assert place.before or not place.token
        for choices, expected_rows in zip(place.choices, (first, second), strict=True):
            likeliest = np.argsort(-expected_rows[row])[:3]
            assert [token for token, _ in choices] == [tokenizer.decode(int(i)) for i in likeliest]
            shares = [share for _, share in choices]
            np.testing.assert_allclose(shares, np.exp(expected_rows[row, likeliest]), rtol=1e-3)


def test_a_model_does_not_differ_from_itself(exports, tokenizer):
    pair = [GPTNeoForCausalLM.from_pretrained(exports[0]) for _ in range(2)]
    found = compare(*pair, tokenizer, DOCUMENTS)
    assert found.divergences.max() == 0
    assert found.agrees.all()
    assert found.perplexity_change == (0, 0)
    assert found.largest == ()
    with refused(InputError, "this model is at work in another call"):
        compare(pair[0], pair[0], tokenizer, DOCUMENTS)


def test_texts_and_models_that_cannot_be_compared_are_refused(models, tokenizer, export_shape):
    with refused(InputError, "there is nothing to read in 2 documents"):
        compare(*models, tokenizer, [Document("", "a"), Document("", "b")])
    other = GPTNeoForCausalLM.from_pretrained(export_shape(Shape(vocab_size=5000)))
    with refused(InputError, "vocabularies of 4096 and 5000 tokens; only models of one vocabulary"):
        compare(models[0], other, tokenizer, DOCUMENTS)
    small = GPTNeoForCausalLM.from_pretrained(export_shape(Shape()))
    with refused(ModelFileError, "the tokenizer has 4096 tokens, the model 301: it belongs"):
        compare(small, models[0], tokenizer, DOCUMENTS)


def test_logits_that_are_not_finite_are_refused(tmp_path, random, models, tokenizer):
    checkpoint = overflowing_checkpoint(tmp_path / "checkpoint", random)
    directory = export_model(checkpoint, tmp_path / "export", precision="fp16")
    broken = GPTNeoForCausalLM.from_pretrained(directory)
    for pair, name in (((models[0], broken), "second"), ((broken, models[0]), "first")):
        with refused(ModelFileError, f"text 4: logits of the {name} model are not finite numbers"):
            compare(*pair, tokenizer, [Document("x y", "text 4")])
    with refused(ModelFileError, "the model's logits are not finite numbers; export it in another"):
        perplexity(broken, tokenizer, [Document("x y", "text 4")])


def test_an_infinite_perplexity_is_null_in_json():
    found = Comparison(
        documents=1,
        bytes=4,
        losses=np.array([[1.0, 2.0], [1e4, 2e4]]),
        divergences=np.array([1e4, 2e4]),
        agrees=np.array([True, False]),
        context=np.array([1, 2]),
        largest=(),
    )
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["token_perplexity"] == [pytest.approx(np.exp(1.5)), None]
    assert values["perplexity_change"] is None
    assert "inf" in comparison_page(found, ("a", "b"))


def test_the_page_loads_nothing_and_shows_texts_as_they_are(models, tokenizer):
    found = compare(*models, tokenizer, DOCUMENTS, largest=100)
    facts = [("size on disk", "1 <MB>", "2 MB")]
    page = comparison_page(found, ("fp32 <a>", '"int8"'), facts, ["on <Monday>"])
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    for text in ("fp32 &lt;a&gt;", "1 &lt;MB&gt;", "on &lt;Monday&gt;", "&quot;int8&quot;"):
        assert text in page
    assert not re.search(r"(src|href)=|https?:|url\(|@import", page)
    assert page.count('class="chart"') == 4


class Outline(HTMLParser):
    """The cells of a page's tables by rows, its headings, and what was opened and never closed."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.headings, self.open = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br", "wbr", "line"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag):
        if tag != "line":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["h1"], ["h2"]):
            self.headings[-1] += data
        elif {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def test_the_page_says_what_was_compared_and_how(models, tokenizer):
    found = compare(*models, tokenizer, DOCUMENTS)
    outline = Outline(comparison_page(found, ("a", "b"), [("device", "cpu", "cuda:0")]))
    assert outline.open == []
    assert outline.headings == [
        "b beside a",
        "Divergence by context",
        "Loss by context",
        "Difference of the losses by context",
        "Divergence through the texts",
        "Where they differ most",
    ]
    assert outline.rows[0] == ["", "a", "b"]
    assert ["device", "cpu", "cuda:0"] in outline.rows
    values = {row[0]: row[2] for row in outline.rows if len(row) == 3}
    assert values["divergence, maximum"] == f"{found.divergences.max():.3g}"
    percentile = np.quantile(found.divergences, 0.99)
    assert values["divergence, 99th percentile"] == f"{percentile:.3g}"


def test_the_difference_of_the_losses_is_drawn_about_a_line_at_zero():
    """B's losses are 1 nat more in the first half of the context, and equal in the second."""
    count = 40
    losses = np.full((2, count), 3.0)
    losses[1, : count // 2] += 1
    found = Comparison(
        documents=1,
        bytes=count,
        losses=losses,
        divergences=np.ones(count),
        agrees=np.ones(count, bool),
        context=np.arange(count),
        largest=(),
    )
    page = comparison_page(found, ("a", "b"))
    chart = page.split("Difference of the losses by context</h2>")[1].split("<h2>")[0]
    assert "b minus a" in chart
    [zero] = re.findall(r'class="zero"[^>]* y1="([^"]*)"', chart)
    [path] = re.findall(r' d="M([^"]*)"', chart)
    assert [float(place.split()[1]) for place in path.split("L")] == [0, float(zero)]


def test_a_page_of_equal_models_says_so(exports, tokenizer):
    pair = [GPTNeoForCausalLM.from_pretrained(exports[0]) for _ in range(2)]
    page = comparison_page(compare(*pair, tokenizer, DOCUMENTS[1:2]), ("a", "b"))
    assert page.count("They do not differ anywhere.") == 2


class TestFacts:
    def test_of_exports(self, exports, checkpoints, tmp_path):
        small = export_model(checkpoints[1], tmp_path / "small", precision=["fp32", "int4"])
        first = Engine.load(exports[0], device="cpu")
        second = Engine.load(small, device="cpu", precision="int4")
        os.utime(small / "model.int4.onnx_data", (0, 2**31))
        facts = {fact: values for fact, *values in about_models(first, second)}
        assert facts["size on disk"][1] == readable_size(stored_bytes(second.directory))
        assert facts["graph"] == ["model.onnx", "model.int4.onnx"]
        assert facts["precision"] == ["fp32, fp32 activations", "int4, fp32 activations"]
        assert facts["written"][1] == "2038-01-19 03:14 UTC"
        assert facts["provider"] == ["CPUExecutionProvider"] * 2

    def test_of_what_records_no_precision(self, checkpoints, tmp_path):
        out = export_model(checkpoints[0], tmp_path / "js", layout="transformers.js")
        engine = Engine.load(out, device="cpu")
        facts = {fact: value for fact, value, _ in about_models(engine, engine)}
        assert facts["precision"] == "not recorded"
        assert facts["graph"] == "onnx/model.onnx"

    def test_of_a_run(self):
        date, package, stack = about_run(datetime(2026, 2, 3, 4, 5, tzinfo=UTC))
        assert date == "2026-02-03 04:05 UTC"
        assert package.startswith("gptneo-onnx ")
        assert stack == f"ONNX Runtime {onnxruntime.__version__}"


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("out/fp32", "out/int8", ("fp32", "int8")),
        ("a/out", "b/out", ("a/out", "b/out")),
        ("out", "out/portable.onnx", ("out", "portable.onnx")),
    ],
)
def test_names_are_the_parts_that_tell_models_apart(first, second, names):
    assert _names(Path(first), Path(second)) == names


def test_the_current_folder_has_a_name_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _names(Path(), Path("other")) == (tmp_path.name, "other")
    same = _names(Path(), Path())
    assert same[0] == same[1] != ""


class TestCommand:
    @pytest.fixture
    def text(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text("\n".join(text.replace("\n", " ") for text in TEXTS if text) + "\n")
        return path

    def test_a_table_and_a_page(self, exports, text, tmp_path, capsys):
        report = tmp_path / "report.html"
        command = ["compare", *map(str, exports), "--text", str(text), "--lines"]
        assert main([*command, "--report", str(report)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["out0", "out1"]
        assert lines[1].startswith("token perplexity")
        assert re.search(r"^perplexity, change +[+-]\d+\.\d{3}% ± \d+\.\d{3}%$", lines[2])
        assert re.fullmatch(r"compared +\d+ tokens of 4 documents", lines[9])
        assert len(lines) == 10 + 3
        assert f"of {text}:" in lines[10]
        outline = Outline(report.read_text(encoding="utf-8"))
        facts = {row[0]: row[1:] for row in outline.rows if len(row) == 3}
        assert facts["precision"] == ["fp32, fp32 activations"] * 2
        assert facts["device"] == ["cpu"] * 2
        assert facts["provider"] == ["CPUExecutionProvider"] * 2
        assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "report.html"}

    def test_a_report_that_cannot_be_written_costs_no_figures(
        self, exports, text, tmp_path, monkeypatch, capsys
    ):
        """A disk that fills up after the check before the work."""
        monkeypatch.setattr("gptneo_onnx.runtime.cli.compare.check_writable", lambda *_: None)
        command = ["compare", *map(str, exports), "--text", str(text), "--json"]
        assert main([*command, "--report", str(tmp_path / "nowhere/page.html")]) == 2
        captured = capsys.readouterr()
        assert json.loads(captured.out)["documents"] == 1
        assert "page.html cannot be written: No such file" in captured.err

    def test_graphs_of_one_directory(self, exports, text, capsys):
        graphs = [str(exports[0] / name) for name in ("model.onnx", "portable.onnx")]
        command = ["compare", *graphs, "--text", str(text), "--json", "--largest", "0"]
        assert main([*command, "--max-divergence", "1e-8"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert 0 < found["max_divergence"] < 1e-8
        assert found["agreement"] == 1
        assert found["largest"] == []

    def test_a_graph_in_transformers_js_folder(self, checkpoints, exports, text, tmp_path, capsys):
        out = export_model(checkpoints[0], tmp_path / "js", layout="transformers.js")
        command = ["compare", str(exports[0]), str(out / "onnx/model.onnx"), "--text", str(text)]
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["max_divergence"] < 1e-8

    def test_a_missing_graph(self, exports, text, capsys):
        missing = str(exports[0] / "nope.onnx")
        assert main(["compare", str(exports[0]), missing, "--text", str(text)]) == 2
        error = capsys.readouterr().err
        assert f"there is no {missing}; name a directory, or one of its graphs" in error

    def test_a_divergence_above_the_bound_gives_status_1(self, exports, text, capsys):
        command = ["compare", *map(str, exports), "--text", str(text)]
        assert main([*command, "--max-divergence", "0.001"]) == 1
        captured = capsys.readouterr()
        assert "divergence, mean" in captured.out
        assert re.search(
            r"the mean divergence is [\d.]+, beyond --max-divergence 0.001\n", captured.err
        )

    @pytest.mark.parametrize(
        ("content", "arguments", "message"),
        [
            (b"", [], "text.txt is empty; a text is expected"),
            (b"caf\xe9", [], "text.txt is not UTF-8: byte 3 is 0xe9; convert it first"),
            (b"a", ["--report", "page.png"], "--report is page.png; a name in .html is allowed"),
            (
                b"a",
                ["--report", "no/page.html"],
                "no/page.html cannot be written: No such file",
            ),
            (b"a", ["--largest", "-1"], "--largest is -1; a number of at least 0 is allowed"),
            (b"a", ["--max-divergence", "nan"], "--max-divergence is nan; 0 or more is allowed"),
            (b"a", ["--device-b", "tpu"], "tpu"),
            (b"a", ["--report", "text.txt"], "--report is text.txt; a name in .html"),
        ],
    )
    def test_bad_input_is_one_line(
        self, exports, tmp_path, monkeypatch, capsys, content, arguments, message
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "text.txt").write_bytes(content)
        assert main(["compare", *map(str, exports), "--text", "text.txt", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]

    def test_a_tokenizer_of_another_model_is_refused(self, exports, tmp_path, text, capsys):
        checkpoint = write_checkpoint(tmp_path / "c", SHAPE, np.random.default_rng(0))
        content = json.loads((EMBEDDED_CHECKPOINT / "tokenizer.json").read_text())
        vocab = content["model"]["vocab"]
        vocab["x"], vocab["y"] = vocab["y"], vocab["x"]
        (checkpoint / "tokenizer.json").write_text(json.dumps(content))
        out = export_model(checkpoint, tmp_path / "out")
        assert main(["compare", str(exports[0]), str(out), "--text", str(text)]) == 2
        error = capsys.readouterr().err
        assert "reads it as other tokens than that of the model that it is held against" in error
        assert error.count("\n") == 1
