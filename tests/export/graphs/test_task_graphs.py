"""The graphs of every task against the float64 oracle, past the local window."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from checkpoints import Shape
from numpy.typing import NDArray
from reference import ReferenceGPTNeo
from task_checkpoints import NUM_LABELS, write_task_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.export.check.stepper import GraphStepper
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import NumberFormat, Precision, fused_contract
from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.models.tasks import Head, Task

LENGTH, PAD = 40, 7
SHAPES = [
    Shape(),
    Shape(layers=("local", "global", "local"), hidden_size=36, num_heads=3),  # heads of 12
    Shape(tie_word_embeddings=False, activation_function="gelu"),
]
WITH_HEADS = [task for task in Task if task.head.tensors]
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.2, "w8a8": 0.5, "int4": 1.5}


@pytest.fixture
def made(tmp_path: Path, random: np.random.Generator) -> Any:
    """Exports a checkpoint of a task's class; returns the export and the oracle."""

    def make(
        task: Task, shape: Shape | None = None, config: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Path, ReferenceGPTNeo]:
        checkpoint = tmp_path / "checkpoint"
        write_task_checkpoint(checkpoint, task.head, shape or Shape(), random, **(config or {}))
        out = export_model(checkpoint, tmp_path / "export", task=task, **options)
        return out, ReferenceGPTNeo.open(checkpoint)

    return make


@pytest.fixture
def ids(random: np.random.Generator) -> NDArray[np.int64]:
    return random.integers(PAD + 1, 301, LENGTH)


def session_of(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path: Path, feeds: dict[str, Any]) -> dict[str, NDArray[Any]]:
    session = session_of(path)
    found = session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
    return {value.name: array for value, array in zip(session.get_outputs(), found, strict=True)}


def whole(ids: NDArray[np.int64], mask: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return the inputs of portable graphs without past, for ids [batch, sequence]."""
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids) if mask is None else mask,
        "position_ids": positions,
    }


def difference(found: NDArray[Any], expected: NDArray[np.float64], scale: Any = None) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / (expected if scale is None else scale).std())


def stepper(out: Path, task: Task, precision: str = "fp32") -> GraphStepper:
    config = GPTNeoConfig.from_file(out / "config.json")
    numbers = NumberFormat.of(Precision(precision))
    return GraphStepper.open(out / "model.onnx", fused_contract(config, numbers, (), task), config)


class TestFused:
    @pytest.mark.parametrize("chunk", [LENGTH, 9, 1])
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("task", WITH_HEADS)
    def test_a_head_reads_every_token(
        self, made: Any, ids: NDArray[np.int64], task: Task, shape: Shape, chunk: int
    ) -> None:
        out, oracle = made(task, shape)
        graph = stepper(out, task)
        found = [graph.step(ids[start : start + chunk]) for start in range(0, LENGTH, chunk)]
        assert difference(np.concatenate(found), oracle.head(task.head, ids)) < 1e-4

    def test_features_come_without_logits(self, made: Any, ids: NDArray[np.int64]) -> None:
        task = Task.FEATURE_EXTRACTION_WITH_PAST
        out, oracle = made(task)
        graph = stepper(out, task)
        graph.step(ids[:30])
        graph.step(ids[30:])
        assert difference(graph.hidden_states[2], oracle.hidden_states(ids)[30:]) < 1e-4
        assert "logits" not in [
            value.name for value in session_of(out / "model.onnx").get_outputs()
        ]

    @pytest.mark.parametrize("precision", TOLERANCES)
    @pytest.mark.parametrize("task", WITH_HEADS)
    def test_with_every_precision(
        self, made: Any, ids: NDArray[np.int64], task: Task, precision: str
    ) -> None:
        out, oracle = made(task, precision=precision)
        found = stepper(out, task, precision).step(ids)
        assert found.dtype == np.float32
        assert difference(found, oracle.head(task.head, ids)) < TOLERANCES[precision]


class TestPortable:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("name", ["feature-extraction", "feature-extraction-with-past"])
    def test_features(self, made: Any, ids: NDArray[np.int64], name: str, shape: Shape) -> None:
        out, oracle = made(Task(name), shape, graph="portable", hidden_states=[1])
        found = run(out / "model.onnx", whole(ids[None]))
        every = oracle.all_hidden_states(ids)
        assert difference(found["last_hidden_state"][0], every[-1]) < 1e-4
        assert difference(found["hidden_states.1"][0], every[1]) < 1e-4

    def test_features_with_past_give_the_keys_and_values(
        self, made: Any, ids: NDArray[np.int64]
    ) -> None:
        out, oracle = made(Task.FEATURE_EXTRACTION_WITH_PAST, graph="portable")
        found = run(out / "model.onnx", whole(ids[None]))
        normed = oracle.layer_norm("h.0.ln_1", oracle.all_hidden_states(ids)[0])
        for part, name in (("k", "key"), ("v", "value")):
            flat = oracle.linear(f"h.0.attn.attention.{part}_proj", normed, bias=False)
            expected = oracle.split_heads(flat)
            assert difference(found[f"present.0.{name}"][0], expected) < 1e-4

    def test_text_generation_without_past(self, made: Any, ids: NDArray[np.int64]) -> None:
        out, oracle = made(Task.TEXT_GENERATION)
        found = run(out / "model.onnx", whole(ids[None]))
        assert list(found) == ["logits"]
        assert difference(found["logits"][0], oracle.logits(ids)) < 1e-4

    @pytest.mark.parametrize("shape", SHAPES)
    def test_token_classification(self, made: Any, ids: NDArray[np.int64], shape: Shape) -> None:
        out, oracle = made(Task.TOKEN_CLASSIFICATION, shape, graph="portable")
        found = run(out / "model.onnx", whole(ids[None]))
        expected = oracle.head(Head.TOKEN_CLASSIFICATION, ids)
        assert difference(found["logits"][0], expected) < 1e-4

    def test_question_answering(self, made: Any, ids: NDArray[np.int64]) -> None:
        out, oracle = made(Task.QUESTION_ANSWERING, graph="portable")
        found = run(out / "model.onnx", whole(ids[None]))
        expected = oracle.head(Head.QUESTION_ANSWERING, ids)
        assert difference(found["start_logits"][0], expected[:, 0]) < 1e-4
        assert difference(found["end_logits"][0], expected[:, 1]) < 1e-4

    @pytest.mark.parametrize("precision", TOLERANCES)
    @pytest.mark.parametrize("task", WITH_HEADS)
    def test_with_every_precision(
        self, made: Any, ids: NDArray[np.int64], task: Task, precision: str
    ) -> None:
        out, oracle = made(task, precision=precision, graph="portable")
        found = run(out / "model.onnx", whole(ids[None]))
        expected = oracle.head(task.head, ids)
        if task is Task.TEXT_CLASSIFICATION:
            assert difference(found["logits"], expected[-1:], expected) < TOLERANCES[precision]
        elif task is Task.TOKEN_CLASSIFICATION:
            assert difference(found["logits"][0], expected) < TOLERANCES[precision]
        else:
            ends = np.concatenate([found["start_logits"], found["end_logits"]]).T
            assert difference(ends, expected) < TOLERANCES[precision]


class TestPooling:
    """Text classification in the portable graph: which token of a text counts."""

    TASK = Task.TEXT_CLASSIFICATION

    def logits(self, out: Path, rows: Any, mask: Any) -> NDArray[Any]:
        feeds = whole(np.array(rows), np.array(mask))
        return run(out / "model.onnx", feeds)["logits"]

    @pytest.mark.parametrize("shape", SHAPES)
    def test_texts_padded_on_the_right_are_as_alone(
        self, made: Any, ids: NDArray[np.int64], shape: Shape
    ) -> None:
        out, oracle = made(self.TASK, shape, {"pad_token_id": PAD}, graph="portable")
        lengths = [LENGTH, 11, 1]
        rows = [[*ids[:length], *[PAD] * (LENGTH - length)] for length in lengths]
        mask = [[1] * length + [0] * (LENGTH - length) for length in lengths]
        expected = oracle.head(self.TASK.head, ids)
        found = self.logits(out, rows, mask)
        assert difference(found, expected[[39, 10, 0]], expected) < 1e-4

    def test_padding_on_the_left_counts_as_positions(
        self, made: Any, ids: NDArray[np.int64]
    ) -> None:
        out, oracle = made(self.TASK, config={"pad_token_id": PAD}, graph="portable")
        rows = [[PAD] * 20 + [*ids[:20]]]
        expected = oracle.head(self.TASK.head, ids[:20], np.arange(20, 40))
        found = self.logits(out, rows, [[0] * 20 + [1] * 20])
        assert difference(found, expected[-1:], expected) < 1e-4

    def test_the_token_counts_and_not_the_mask(self, made: Any, ids: NDArray[np.int64]) -> None:
        out, oracle = made(self.TASK, config={"pad_token_id": PAD}, graph="portable")
        rows = [[*ids[:5], PAD, *ids[5:9], PAD], [PAD] * 11]
        found = self.logits(out, rows, np.ones((2, 11), int))
        expected = oracle.head(self.TASK.head, np.array(rows[0]))
        of_padding = oracle.head(self.TASK.head, np.array(rows[1]))
        assert difference(found[:1], expected[9:10], expected) < 1e-4
        assert difference(found[1:], of_padding[:1], expected) < 1e-4

    @pytest.mark.parametrize("pad_token_id", [-1, 301])
    def test_a_pad_token_that_is_no_token_leaves_the_last_column(
        self, made: Any, ids: NDArray[np.int64], pad_token_id: int
    ) -> None:
        out, oracle = made(self.TASK, config={"pad_token_id": pad_token_id}, graph="portable")
        rows = np.stack([ids[:9], ids[9:18]])
        found = self.logits(out, rows, np.ones_like(rows))
        expected = oracle.head(self.TASK.head, rows[1])
        assert difference(found[1:], expected[-1:], expected) < 1e-4

    def test_without_pad_token_a_single_texts_last_column_counts(
        self, made: Any, ids: NDArray[np.int64]
    ) -> None:
        out, oracle = made(self.TASK, graph="portable")
        expected = oracle.head(self.TASK.head, ids)
        found = self.logits(out, ids[None], np.ones((1, LENGTH), int))
        assert difference(found, expected[-1:], expected) < 1e-4

    def test_without_pad_token_the_mask_tells_padding_in_a_batch(
        self, made: Any, ids: NDArray[np.int64]
    ) -> None:
        out, oracle = made(self.TASK, graph="portable")
        rows = [ids, [*ids[:11], *[0] * 29]]
        found = self.logits(out, rows, [[1] * 40, [1] * 11 + [0] * 29])
        expected = oracle.head(self.TASK.head, ids)
        assert difference(found, expected[[39, 10]], expected) < 1e-4


@pytest.mark.parametrize("task", Task)
def test_the_manifest_says_the_task(made: Any, task: Task) -> None:
    out, _ = made(task)
    manifest = Manifest.read(out)
    assert (manifest.task, manifest.graph) == (task, task.graph_kinds[0])


@pytest.mark.parametrize("task", WITH_HEADS)
def test_both_graphs_read_one_weights_file(made: Any, ids: NDArray[np.int64], task: Task) -> None:
    out, oracle = made(task, graph=("fused", "portable"))
    expected = oracle.head(task.head, ids)
    assert difference(stepper(out, task).step(ids), expected) < 1e-4
    found = run(out / "portable.onnx", whole(ids[None]))
    assert {array.shape[0] for array in found.values()} == {1}
    assert expected.shape[1] == (2 if task is Task.QUESTION_ANSWERING else NUM_LABELS)


def test_rounding_by_a_text_goes_with_a_head(
    made: Any, ids: NDArray[np.int64], tmp_path: Path
) -> None:
    """Its calibration needs no head: an untied checkpoint of a classifier has no lm_head."""
    text = tmp_path / "text.txt"
    text.write_text("It is a truth universally acknowledged. " * 40)
    shape = Shape(vocab_size=4096, tie_word_embeddings=False)
    task = Task.TEXT_CLASSIFICATION
    out, oracle = made(task, shape, precision="int8", calibrate=text, tokenizer=EMBEDDED_CHECKPOINT)
    found = stepper(out, task, "int8").step(ids)
    assert difference(found, oracle.head(task.head, ids)) < TOLERANCES["int8"]
