"""lm-evaluation-harness on our model and on its own Hugging Face backend: the same numbers.

The tasks are defined here, of every kind that the model card uses (perplexity of documents, last
words, choices, generation), over local data, so that no hub is needed.
"""

import json
import math

import pytest
from checkpoints import Shape, write_checkpoint
from harness_samples import same
from overflowing_checkpoint import overflowing_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.documents import Document, read_documents
from gptneo_onnx.runtime.evaluation.perplexity import perplexity

DIRECTORY = "a,b=c"
OURS = ["--model", "ours", "--device", "auto"]
ARGS = ["--model_args", json.dumps({"pretrained": DIRECTORY})]

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-eval: make test-peers has it")

# Past a window of 7, longer and shorter than a context of 48, empty, and not ASCII.
PAGES = [
    " = Bath = \n \n She had been a beauty @,@ once ; and ( it was said ) he 's her cousin . " * 6,
    "She was",
    "",
    "caf\u00e9 na\u00efve \U0001f600 \u4f60\u597d",
    "Anne Elliot had nothing to say . " * 12,
]
SENTENCES = ["She had been in Bath for a month", "He was a man of sense", "It is a truth"]
ENDS = ["She was his sister,", "Mr. Elliot was here.\n", "In Bath, she said, \n", "Oh"]
CHOICES = [
    {"query": "It is a truth universally", "choices": ["acknowledged", "told by all", "known"]},
    {"query": "She had a good", "choices": ["deal to say", "fortune", "\u00e9tude"]},
]
COMMON = """
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
num_fewshot: 0
"""
TASKS = {
    "pages": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
    "last_words": """
output_type: loglikelihood
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
metric_list: [{metric: perplexity}, {metric: acc}]
""",
    "choices": """
output_type: multiple_choice
doc_to_text: "{{query}}"
doc_to_choice: "{{choices}}"
doc_to_target: 0
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "continued": """
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "."
generation_kwargs: {until: [".", "\\n"], max_gen_toks: 20, do_sample: false}
metric_list: [{metric: exact_match}]
""",
    # Generation's arguments by other names, and stops that begin within the prompt.
    "continued_otherwise": """
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "."
generation_kwargs: {until: ["\n\n", ", and", "\n  "], max_new_tokens: 17, no_repeat_ngram_size: 2}
metric_list: [{metric: exact_match}]
""",
}
ROWS = {
    "pages": [{"page": page} for page in PAGES],
    "last_words": [{"text": text} for text in SENTENCES],
    "choices": CHOICES,
    "continued": [{"text": text} for text in SENTENCES],
    "continued_otherwise": [{"text": text} for text in [*SENTENCES, *ENDS]],
}


@pytest.fixture(params=["embedded", "random"])
def checkpoint(request, tmp_path, random):
    if request.param == "embedded":
        return EMBEDDED_CHECKPOINT
    shape = Shape(vocab_size=4096, window_size=7, max_position_embeddings=48)
    directory = write_checkpoint(tmp_path / "checkpoint", shape, random)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((EMBEDDED_CHECKPOINT / name).read_bytes())
    return directory


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, text in TASKS.items():
        rows = folder / f"{name}.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
        definition = f"task: {name}\n" + COMMON.replace("{file}", str(rows)) + text
        (folder / f"{name}.yaml").write_text(definition)
    return folder


def evaluated(model, arguments, tasks):
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=[*TASKS],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        batch_size=2,
        device="cpu",
        log_samples=True,
        bootstrap_iters=0,
    )


def test_the_numbers_are_the_hugging_face_backends(checkpoint, tasks, tmp_path, monkeypatch):
    from gptneo_onnx.runtime.evaluation import harness

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    out = export_model(checkpoint, tmp_path / "export")
    theirs = evaluated("hf", f"pretrained={checkpoint},dtype=float32", tasks)
    ours = evaluated(harness.NAME, f"pretrained={out}", tasks)
    for task, metrics in theirs["results"].items():
        for name, value in metrics.items():
            found = ours["results"][task][name]
            if isinstance(value, float) and not math.isnan(value):
                assert found == pytest.approx(value, rel=1e-4), (task, name)
    for task in TASKS:
        for expected, found in zip(theirs["samples"][task], ours["samples"][task], strict=True):
            assert found["arguments"] == expected["arguments"]
            assert same(found["filtered_resps"], expected["filtered_resps"]), task


def test_our_own_perplexity_is_the_harnesss(checkpoint, tasks, tmp_path, monkeypatch):
    """And our detokenizer of Wikitext is the harness's."""
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    from gptneo_onnx.runtime.evaluation.wikitext import detokenized

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    theirs = evaluated("hf", f"pretrained={checkpoint},dtype=float32", tasks)["results"]["pages"]
    out = export_model(checkpoint, tmp_path / "export")
    found = perplexity(
        GPTNeoForCausalLM.from_pretrained(out),
        Tokenizer.from_pretrained(out),
        [Document(page, "") for page in PAGES],
    )
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert getattr(found, name) == pytest.approx(theirs[f"{name},none"], rel=1e-4)
    for page in PAGES:
        assert detokenized(page) == wikitext_detokenizer({"page": page})


def test_the_command_runs_the_harness(tasks, tmp_path, monkeypatch, embedded_export):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    out = tmp_path / "results"
    status = main(
        ["lm-eval", str(embedded_export), "--tasks", "pages,last_words", "--include_path",
         str(tasks), "--output_path", str(out)]
    )  # fmt: skip
    assert status == 0
    [results] = out.rglob("*.json")
    assert json.loads(results.read_text())["results"]["pages"]["word_perplexity,none"] > 1


def test_without_the_harness_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.__main__", None)
    from gptneo_onnx.runtime.cli.lm_eval import run_lm_eval

    with pytest.raises(MissingDependencyError, match=r"gptneo-onnx\[eval\]"):
        run_lm_eval(["--tasks", "x"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["DIR", "--tasks", "x"], ["run", *OURS, *ARGS, "--tasks", "x"]),
        (["run", "DIR", "-t", "x"], ["run", *OURS, *ARGS, "-t", "x"]),
        (["DIR", "--device=cuda:1"], ["run", *OURS, *ARGS, "--device=cuda:1"]),
        (["--model=hf", "-a", "pretrained=x"], ["run", "--model=hf", "-a", "pretrained=x"]),
        (["-M", "hf"], ["run", "-M", "hf"]),
        (["--model_args", "pretrained=x"], ["run", *OURS, "--model_args", "pretrained=x"]),
        (["--config", "x.yaml"], ["run", "--config", "x.yaml"]),
        (["ls", "tasks"], ["ls", "tasks"]),
        (["--help"], ["run", "--help"]),
    ],
)
def test_arguments_of_the_command_are_passed_on(tmp_path, monkeypatch, arguments, expected):
    from gptneo_onnx.runtime.cli.lm_eval import _with_model

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b=c").mkdir()
    arguments = [DIRECTORY if argument == "DIR" else argument for argument in arguments]
    assert _with_model(arguments, "ours") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "--tasks", "x"], "'nope' is neither a directory nor a hub id"),
        (["--tasks", "x"], "no model is named; write: gptneo-onnx lm-eval MODEL --tasks"),
        ([], "no model is named"),
    ],
)
def test_a_missing_model_is_reported_in_one_line(arguments, message, capsys):
    assert main(["lm-eval", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_context_without_tokens_is_the_end_token(embedded_export):
    from gptneo_onnx.runtime.evaluation.harness import GPTNeoOnnxLM

    model = GPTNeoOnnxLM(str(embedded_export))
    end = model.eot_token_id
    requests = [(None, [], [2, 3]), (None, [end], [2, 3]), (None, [], [2])]
    without, with_end, _ = model._loglikelihood_tokens(requests, disable_tqdm=True)
    assert without[0] == pytest.approx(with_end[0], rel=1e-5)
    [alone] = model._loglikelihood_tokens(requests[:1], disable_tqdm=True)
    assert alone[0] == pytest.approx(with_end[0], rel=1e-5)


def test_logits_that_are_not_finite_are_refused(tmp_path, random):
    from gptneo_onnx.runtime.evaluation.harness import GPTNeoOnnxLM

    checkpoint = overflowing_checkpoint(tmp_path / "checkpoint", random)
    model = GPTNeoOnnxLM(str(export_model(checkpoint, tmp_path / "out", precision="fp16")))
    ids = model.tok_encode("x y")
    with pytest.raises(ModelFileError, match="the model's logits are not finite numbers"):
        model._loglikelihood_tokens([(None, ids[:1], ids[1:])], disable_tqdm=True)


def test_arguments_that_generate_does_not_know_are_refused(embedded_export):
    from gptneo_onnx.runtime.evaluation.harness import GPTNeoOnnxLM

    model = GPTNeoOnnxLM(str(embedded_export))
    with pytest.raises(InputError, match="mirostat"):
        model._continue(["She was"], {"until": ["."], "mirostat": 2})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"batch_size": "many"}, "batch_size is 'many'; a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size is 0; a whole number"),
        ({"max_length": 1}, "max_length is 1; 2 to 512, the context"),
        ({"max_length": 513}, "max_length is 513; 2 to 512"),
        ({"file_name": "portable.onnx"}, "file_name is 'portable.onnx'"),
    ],
)
def test_arguments_out_of_range_are_refused(embedded_export, arguments, match):
    from gptneo_onnx.runtime.evaluation.harness import GPTNeoOnnxLM

    with pytest.raises(InputError, match=match):
        GPTNeoOnnxLM(str(embedded_export), **arguments)


def test_a_continuation_longer_than_the_context_is_refused(embedded_export):
    from gptneo_onnx.runtime.evaluation.harness import GPTNeoOnnxLM

    model = GPTNeoOnnxLM(str(embedded_export), max_length=4)
    with pytest.raises(InputError, match="a continuation has 5 tokens; 1 to 4"):
        model._loglikelihood_tokens([(("", ""), [1], [2, 3, 4, 5, 6])], disable_tqdm=True)
    [(shorter, _)] = model._loglikelihood_tokens([(None, [1], [2, 3, 4, 5])], disable_tqdm=True)
    [(cut, _)] = model._loglikelihood_tokens([(None, [9, 1], [2, 3, 4, 5])], disable_tqdm=True)
    assert shorter == cut


def test_datasets_saved_to_disk_are_read(tmp_path):
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_dict({"page": PAGES})
    rows.save_to_disk(tmp_path / "rows")
    DatasetDict({"test": rows}).save_to_disk(tmp_path / "splits")
    (tmp_path / "nothing").mkdir()
    documents = read_documents([tmp_path / "rows"], "page")
    assert [document.text for document in documents] == PAGES
    for name, match in (
        ("splits", "splits has the splits test; name the folder of one"),
        ("nothing", "nothing is no dataset that was saved to disk"),
    ):
        with pytest.raises(InputError, match=match):
            list(read_documents([tmp_path / name], "page"))
