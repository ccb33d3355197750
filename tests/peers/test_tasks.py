"""The portable graphs of every task in Optimum, against transformers' classes of them.

Optimum's own check of an export, and its classes with ragged batches past the local window. The
two tasks that Optimum does not export for GPT-Neo are run by its classes all the same.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import Shape
from reference import ReferenceGPTNeo
from task_checkpoints import write_task_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import ModelFileError
from gptneo_onnx.models.labels import Labels
from gptneo_onnx.models.tasks import PAST_SUFFIX, Head, Task

PAD = 7
LENGTHS = (30, 12, 1)  # the window is 7
OPTIMUMS = [task for task in Task if task.is_optimums]
CLASSES = {
    Head.CAUSAL_LM: "ORTModelForCausalLM",
    Head.NONE: "ORTModelForFeatureExtraction",
    Head.SEQUENCE_CLASSIFICATION: "ORTModelForSequenceClassification",
    Head.TOKEN_CLASSIFICATION: "ORTModelForTokenClassification",
    Head.QUESTION_ANSWERING: "ORTModelForQuestionAnswering",
}
SHAPES = [
    Shape(),
    Shape(layers=("local", "global", "local"), hidden_size=36, num_heads=3, peak=6.0),
    Shape(tie_word_embeddings=False, activation_function="gelu"),
]


@pytest.fixture
def write(tmp_path: Path, random: np.random.Generator) -> Any:
    def write(head: Head, shape: Shape | None = None, **config: Any) -> Path:
        settings = {"pad_token_id": PAD} | config
        return write_task_checkpoint(
            tmp_path / "checkpoint", head, shape or Shape(), random, **settings
        )

    return write


def original(checkpoint: Path, head: Head) -> Any:
    import torch
    import transformers

    torch.set_flush_denormal(True)
    model = getattr(transformers, head.value).from_pretrained(checkpoint, dtype=torch.float32)
    return model.eval()


def optimums(task: Task, directory: Path, **options: Any) -> Any:
    import optimum.onnxruntime

    return getattr(optimum.onnxruntime, CLASSES[task.head]).from_pretrained(directory, **options)


def ragged(random: np.random.Generator, side: str, pad: int = PAD) -> dict[str, Any]:
    """Return ids and mask of texts of several lengths, padded on one side."""
    import torch

    longest = max(LENGTHS)
    mask = np.stack([np.arange(longest) < length for length in LENGTHS])
    if side == "left":
        mask = mask[:, ::-1]
    ids = np.where(mask, random.integers(PAD + 1, 301, mask.shape), pad)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
    }


def compare(found: Any, expected: Any, batch: dict[str, Any]) -> None:
    """Compare every result [batch, ...] of Optimum's model, tokens only where it has tokens."""
    names = ("logits", "start_logits", "end_logits", "last_hidden_state")
    compared = [name for name in names if getattr(expected, name, None) is not None]
    assert compared
    for name in compared:
        theirs, ours = getattr(expected, name).detach().numpy(), np.asarray(getattr(found, name))
        assert ours.shape == theirs.shape
        difference = np.abs(ours - theirs)
        if theirs.shape[:2] == batch["input_ids"].shape:
            difference = difference[batch["attention_mask"].numpy().astype(bool)]
        assert difference.max() / theirs.std() < 1e-4


def optimum_config(task: Task, directory: Path) -> Any:
    from optimum.exporters.onnx.model_configs import GPTNeoOnnxConfig
    from transformers import GPTNeoConfig

    return GPTNeoOnnxConfig(
        GPTNeoConfig.from_pretrained(directory),
        task=task.value.removesuffix(PAST_SUFFIX),
        use_past=task.has_past,
        use_past_in_inputs=task is Task.TEXT_GENERATION_WITH_PAST,
    )


@pytest.mark.parametrize("exporter", ["direct", "optimum"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("task", OPTIMUMS)
def test_optimums_own_check_passes(
    write: Any, tmp_path: Path, task: Task, shape: Shape, exporter: str
) -> None:
    import torch
    from optimum.exporters.onnx import validate_model_outputs

    checkpoint = write(task.head, shape)
    out = export_model(checkpoint, tmp_path / "out", task=task, graph="portable", exporter=exporter)
    config = optimum_config(task, out)
    for seed in (random.seed, np.random.seed, torch.manual_seed):  # Optimum draws its inputs
        seed(0)
    validate_model_outputs(
        config,
        original(checkpoint, task.head),
        out / "model.onnx",
        list(config.outputs),
        atol=1e-4,
    )


@pytest.mark.parametrize("task", OPTIMUMS)
def test_names_types_and_axes_are_those_that_optimum_writes(
    write: Any, tmp_path: Path, task: Task
) -> None:
    from optimum.exporters.onnx import main_export

    checkpoint = write(task.head)
    ours = export_model(checkpoint, tmp_path / "ours", task=task, graph="portable")
    main_export(
        str(checkpoint),
        tmp_path / "theirs",
        task=task.value,
        library_name="transformers",
        do_validation=False,
    )
    assert signature(ours) == signature(tmp_path / "theirs")


def signature(directory: Path) -> Any:
    graph = onnx.load(directory / "model.onnx", load_external_data=False).graph
    return [
        {
            value.name: (
                value.type.tensor_type.elem_type,
                [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
            )
            for value in values
        }
        for values in (graph.input, graph.output)
    ]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("task", [task for task in Task if task is not Task.TEXT_GENERATION])
def test_optimums_class_gives_transformers_results(
    write: Any,
    tmp_path: Path,
    random: np.random.Generator,
    task: Task,
    shape: Shape,
    side: str,
) -> None:
    checkpoint = write(task.head, shape)
    out = export_model(checkpoint, tmp_path / "out", task=task, graph="portable")
    batch = ragged(random, side)
    model = original(checkpoint, task.head)
    inputs = dict(batch)
    if not task.head.tensors:
        # Where a graph takes position_ids, they are the caller's to say.
        positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
        inputs["position_ids"] = positions
    compare(optimums(task, out)(**inputs), model(**inputs), batch)


@pytest.mark.parametrize("task", [Task.TEXT_GENERATION, Task.TEXT_GENERATION_WITH_PAST])
def test_optimum_generates_with_and_without_past(
    write: Any, tmp_path: Path, random: np.random.Generator, task: Task
) -> None:
    checkpoint = write(task.head)
    out = export_model(checkpoint, tmp_path / "out", task=task, graph="portable")
    model = optimums(task, out, use_cache=task.has_past)
    batch = ragged(random, "left")
    settings = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None}
    expected = original(checkpoint, task.head).generate(**batch, **settings)
    assert model.generate(**batch, **settings).tolist() == expected.tolist()


class TestPooling:
    TASK = Task.TEXT_CLASSIFICATION

    def test_the_token_counts_and_not_the_mask(
        self, write: Any, tmp_path: Path, random: np.random.Generator
    ) -> None:
        import torch

        checkpoint = write(self.TASK.head)
        out = export_model(checkpoint, tmp_path / "out", graph="portable")
        ids = torch.from_numpy(random.integers(PAD + 1, 301, (4, 25)))
        ids[0, 20:] = ids[1, 4] = ids[2] = PAD
        mask = torch.ones_like(ids)
        batch = {"input_ids": ids, "attention_mask": mask}
        expected = original(checkpoint, self.TASK.head)(**batch)
        compare(optimums(self.TASK, out)(**batch), expected, batch)

    @pytest.mark.parametrize("pad_token_id", [-1, 301, 400])
    def test_a_pad_token_outside_the_vocabulary(
        self, write: Any, tmp_path: Path, random: np.random.Generator, pad_token_id: int
    ) -> None:
        checkpoint = write(self.TASK.head, pad_token_id=pad_token_id)
        out = export_model(checkpoint, tmp_path / "out", graph="portable")
        batch = ragged(random, "right")
        expected = original(checkpoint, self.TASK.head)(**batch)
        compare(optimums(self.TASK, out)(**batch), expected, batch)

    def test_without_pad_token_transformers_takes_one_text(
        self, write: Any, tmp_path: Path, random: np.random.Generator
    ) -> None:
        checkpoint = write(self.TASK.head, pad_token_id=None)
        out = export_model(checkpoint, tmp_path / "out", graph="portable")
        batch = ragged(random, "right")
        model, ours = original(checkpoint, self.TASK.head), optimums(self.TASK, out)
        with pytest.raises(ValueError, match="Cannot handle batch sizes > 1"):
            model(**batch)
        found = ours(**batch).logits
        for row, length in enumerate(LENGTHS):
            # As it is alone, without its padding, and with it.
            alone = {name: values[row : row + 1, :length] for name, values in batch.items()}
            expected = model(**alone).logits.detach().numpy()
            assert np.allclose(found[row], expected[0], atol=1e-4)
            padded = {name: values[row : row + 1] for name, values in batch.items()}
            compare(ours(**padded), model(**padded), padded)

    def test_optimum_cannot_trace_without_pad_token(self, write: Any, tmp_path: Path) -> None:
        checkpoint = write(self.TASK.head, pad_token_id=None)
        with pytest.raises(ModelFileError, match="config.json names no pad_token_id, which exp"):
            export_model(checkpoint, tmp_path / "out", exporter="optimum")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("task", Task)
def test_every_task_is_verified(write: Any, tmp_path: Path, task: Task, precision: str) -> None:
    lines: list[str] = []
    export_model(
        write(task.head),
        tmp_path / "out",
        task=task,
        graph=[kind for kind in task.graph_kinds if kind != "genai"],
        precision=precision,
        hidden_states=[1],
        verify=True,
        report=lines.append,
    )
    verified = [line for line in lines if line.startswith("verify: ")]
    of_states = [line for line in verified if "hidden states" in line]
    kinds = [kind for kind in task.graph_kinds if kind != "genai"]
    assert len(of_states) == (len(kinds) if precision == "fp32" or task.head is Head.NONE else 0)


@pytest.mark.parametrize("head", [head for head in Head if head.tensors])
def test_the_oracle_has_transformers_heads(
    write: Any, random: np.random.Generator, head: Head
) -> None:
    import torch

    checkpoint = write(head)
    ids = random.integers(PAD + 1, 301, 30)
    output = original(checkpoint, head)(torch.from_numpy(ids)[None])
    found = ReferenceGPTNeo.open(checkpoint).head(head, ids)
    if head is Head.QUESTION_ANSWERING:
        expected = torch.stack([output.start_logits[0], output.end_logits[0]], dim=1)
    else:
        expected = output.logits[0]
    rows = found[-1] if head is Head.SEQUENCE_CLASSIFICATION else found
    assert np.allclose(rows, expected.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_labels": 1},
        {"num_labels": 5},
        {"num_labels": None},
        {"num_labels": 0},
        {"num_labels": -2},
        {"num_labels": True},
        {"num_labels": 4, "label2id": {"a": 0}},
        {"id2label": None, "num_labels": 3},
        {"id2label": {}},
        {"id2label": {"0": "a", "1": "b"}, "num_labels": 9},
        {"id2label": {"1": "a", "0": "b"}, "label2id": {"a": 1, "b": 0}},
        {"id2label": {" 2 ": "a", "01": "b", "1": "c"}},
        {"problem_type": "multi_label_classification"},
        {"problem_type": None},
    ],
)
def test_labels_are_read_as_transformers_reads_them(values: dict[str, Any]) -> None:
    from transformers import GPTNeoConfig

    theirs, ours = GPTNeoConfig(**values), Labels.from_dict(values)
    assert dict(ours.id2label) == theirs.id2label
    assert dict(ours.label2id) == (theirs.label2id or {})
    assert (ours.count, ours.problem_type) == (theirs.num_labels, theirs.problem_type)


@pytest.mark.parametrize(
    "values",
    [
        {"num_labels": "3"},
        {"num_labels": 2.0},
        {"id2label": ["a"]},
        {"id2label": {"a": "b"}},
        {"label2id": [1]},
        {"problem_type": "ranking"},
    ],
)
def test_labels_that_transformers_refuses_are_refused(values: dict[str, Any]) -> None:
    from transformers import GPTNeoConfig

    with pytest.raises((ValueError, TypeError)):
        GPTNeoConfig(**values)
    with pytest.raises(ModelFileError):
        Labels.from_dict(values)
