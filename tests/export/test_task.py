"""Which task an export has: that of the checkpoint, or the one asked for, if it has the head."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, draw_tensors
from refusals import refused
from safetensors.numpy import save_file
from task_checkpoints import draw_head, write_task_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError, ModelFileError
from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.models.tasks import Head, Task
from gptneo_onnx.runtime.cli.main import main

TASKS = {
    Head.CAUSAL_LM: "text-generation-with-past",
    Head.NONE: "text-generation-with-past",
    Head.SEQUENCE_CLASSIFICATION: "text-classification",
    Head.TOKEN_CLASSIFICATION: "token-classification",
    Head.QUESTION_ANSWERING: "question-answering",
}


@pytest.fixture
def write(tmp_path: Path, random: np.random.Generator) -> Any:
    """Write tensors with heads of any classes, under a config.json that names any."""

    def write(*heads: Head, tied: bool = True, **config: Any) -> Path:
        shape = Shape(tie_word_embeddings=tied)
        tensors = draw_tensors(shape, random)
        if Head.CAUSAL_LM not in heads:
            tensors.pop("lm_head.weight", None)
        for head in heads:
            tensors |= draw_head(head, shape, random)
        directory = tmp_path / "checkpoint"
        directory.mkdir()
        values = shape.config | {"num_labels": 3} | config
        values = {name: value for name, value in values.items() if value is not ...}
        (directory / "config.json").write_text(json.dumps(values))
        save_file(tensors, directory / "model.safetensors", {"format": "pt"})
        return directory

    return write


def exported(checkpoint: Path, **options: Any) -> tuple[str, list[str]]:
    """Return the task of the export, and what was reported but for the tokenizer."""
    lines: list[str] = []
    out = export_model(checkpoint, checkpoint.with_name("out"), report=lines.append, **options)
    notes = [line.removeprefix(f"{checkpoint}: ") for line in lines if "tokenizer" not in line]
    return Manifest.read(out).task.value, notes


def told(task: str) -> str:
    """Return the line for a task that was chosen, and is not the usual one."""
    return f"its task is {task}; --task (task=) takes another one"


@pytest.mark.parametrize("head", TASKS)
def test_it_is_the_checkpoints_by_default(
    tmp_path: Path, random: np.random.Generator, head: Head
) -> None:
    checkpoint = write_task_checkpoint(tmp_path / "checkpoint", head, Shape(), random)
    notes = [told(TASKS[head])] if head.tensors else []
    assert exported(checkpoint) == (TASKS[head], notes)
    assert exported(checkpoint, task="auto") == (TASKS[head], notes)


@pytest.mark.parametrize("architectures", [..., None, [], ["GPTNeo"], "GPTNeoForCausalLM", [3]])
def test_without_a_class_of_gpt_neo_the_one_head_tells(write: Any, architectures: Any) -> None:
    checkpoint = write(Head.TOKEN_CLASSIFICATION, architectures=architectures)
    assert exported(checkpoint) == ("token-classification", [told("token-classification")])


def test_without_a_class_several_heads_tell_nothing(write: Any) -> None:
    checkpoint = write(Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING, architectures=None)
    task, (note,) = exported(checkpoint)
    assert task == "text-generation-with-past"
    assert note == (
        "left out, as no part of task text-generation-with-past: classifier.weight, "
        "classifier.bias, qa_outputs.weight, qa_outputs.bias (--task, task=)"
    )


def test_half_a_head_is_none(write: Any) -> None:
    """GPTNeoForTokenClassification has a bias; what only has a weight is another class's."""
    checkpoint = write(architectures=None)
    tensors = draw_tensors(Shape(), np.random.default_rng(0))
    tensors["classifier.weight"] = np.zeros((3, 32), np.float32)
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    task, (note,) = exported(checkpoint)
    assert task == "text-generation-with-past"
    assert "classifier.weight" in note


def test_the_class_counts_before_the_tensors(write: Any) -> None:
    checkpoint = write(Head.SEQUENCE_CLASSIFICATION)
    task, (note,) = exported(checkpoint)
    assert task == "text-generation-with-past"
    assert note.startswith("left out, as no part of task text-generation-with-past: score.weight")


@pytest.mark.parametrize("task", ["text-classification", Task.TEXT_CLASSIFICATION])
def test_another_one_can_be_asked_for(write: Any, task: Any) -> None:
    checkpoint = write(Head.SEQUENCE_CLASSIFICATION)
    assert exported(checkpoint, task=task) == ("text-classification", [])


@pytest.mark.parametrize("head", TASKS)
@pytest.mark.parametrize(
    "task",
    [
        "text-generation-with-past",
        "text-generation",
        "feature-extraction",
        "feature-extraction-with-past",
    ],
)
def test_every_checkpoint_has_features_and_a_tied_head(write: Any, head: Head, task: str) -> None:
    found, notes = exported(write(head, architectures=[head.value]), task=task)
    assert found == task
    assert len(notes) == (1 if head.tensors else 0)


def test_an_untied_head_that_is_not_needed_is_named(write: Any) -> None:
    task, (note,) = exported(write(Head.CAUSAL_LM, tied=False), task="feature-extraction")
    assert task == "feature-extraction"
    assert note.startswith("left out, as no part of task feature-extraction: lm_head.weight")


def test_a_model_without_any_head_gives_features(write: Any) -> None:
    checkpoint = write(tied=False, architectures=["GPTNeoModel"])
    task = "feature-extraction-with-past"
    assert exported(checkpoint) == (task, [told(task)])


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("text-classification", "score.weight"),
        ("token-classification", "classifier.weight"),
        ("question-answering", "qa_outputs.weight"),
        ("text-generation", "lm_head.weight"),
    ],
)
def test_a_head_that_is_missing_is_refused(write: Any, task: str, name: str) -> None:
    checkpoint = write(tied=False)
    message = rf"has no tensor {name}, which task {task} needs .*; it has what task feature-extr"
    with refused(InputError, message):
        exported(checkpoint, task=task)
    assert not checkpoint.with_name("out").exists()


@pytest.mark.parametrize("head", [head for head in Head if head.tensors])
def test_a_class_whose_head_is_missing_is_refused(write: Any, head: Head) -> None:
    with refused(ModelFileError, r"has no tensor .*weight, which task .* needs"):
        exported(write(architectures=[head.value]))


def test_a_head_of_another_size_is_refused(write: Any) -> None:
    checkpoint = write(Head.SEQUENCE_CLASSIFICATION, num_labels=4)
    message = r"score.weight has shape \[3, 32\], but config.json makes it \[4, 32\]; use the conf"
    with refused(ModelFileError, message):
        exported(checkpoint, task="text-classification")


def test_a_head_without_labels_is_refused(write: Any) -> None:
    checkpoint = write(Head.SEQUENCE_CLASSIFICATION, num_labels=0)
    with refused(ModelFileError, "config.json has no labels, which task text-classification"):
        exported(checkpoint, task="text-classification")


@pytest.mark.parametrize(
    ("task", "options", "match"),
    [
        ("summarization", {}, "task is 'summarization'; one of text-generation-with-past, "),
        (None, {}, "task is None; one of text-generation-with-past, "),
        (
            "text-generation",
            {"graph": "fused"},
            "graph is fused, and with task text-generation portable is allowed; a fused graph has "
            "a past, as task text-generation-with-past",
        ),
        ("feature-extraction", {"graph": "fused"}, "as task feature-extraction-with-past"),
        (
            "text-classification",
            {"graph": ["fused", "genai"]},
            "graph is genai, and with task text-classification fused or portable is allowed",
        ),
        (
            "token-classification",
            {"exporter": "optimum"},
            "task is token-classification, which Optimum does not trace for GPT-Neo; take exporter",
        ),
    ],
)
def test_what_does_not_go_with_a_task_is_refused_at_once(
    tmp_path: Path, task: Any, options: dict[str, Any], match: str
) -> None:
    with refused(InputError, match):
        export_model(tmp_path / "nowhere", tmp_path / "out", task=task, **options)


def test_what_does_not_go_with_the_checkpoints_task_is_refused(write: Any) -> None:
    checkpoint = write(
        Head.QUESTION_ANSWERING, architectures=["GPTNeoForQuestionAnswering"], tied=False
    )
    with refused(InputError, "graph is genai, and with task question-answering fused or portable"):
        exported(checkpoint, graph="genai")


def test_a_batch_without_pad_token_is_told(write: Any) -> None:
    checkpoint = write(
        Head.SEQUENCE_CLASSIFICATION, architectures=["GPTNeoForSequenceClassification"]
    )
    _, notes = exported(checkpoint, graph=("fused", "portable"))
    assert notes == [
        told("text-classification"),
        "config.json names no pad_token_id, and transformers then takes one text at a time; the "
        "portable graph takes batches, padded by attention_mask",
    ]
    assert exported(checkpoint)[1] == [told("text-classification")]


def test_the_command_line_has_it(write: Any) -> None:
    checkpoint = write(Head.SEQUENCE_CLASSIFICATION)
    out = checkpoint.with_name("out")
    main(["export", str(checkpoint), str(out), "--task", "text-classification"])
    assert Manifest.read(out).task is Task.TEXT_CLASSIFICATION
