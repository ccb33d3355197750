"""The tasks: their heads, graphs and the inputs and outputs of these."""

from typing import Any

import pytest
from checkpoints import Shape

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.graph import GraphContract, NumberFormat, Precision, fused_contract
from gptneo_onnx.models.portable_graph import portable_contract
from gptneo_onnx.models.tasks import Task

CONFIG = GPTNeoConfig.from_dict(Shape().config | {"num_labels": 3})
FP32 = NumberFormat.of(Precision.FP32)
ROW, TOKENS = ("batch_size",), ("batch_size", "sequence_length")


@pytest.mark.parametrize(
    ("name", "head", "tensors", "columns"),
    [
        ("text-generation-with-past", "GPTNeoForCausalLM", (), 301),
        ("text-generation", "GPTNeoForCausalLM", (), 301),
        ("feature-extraction-with-past", "GPTNeoModel", (), 0),
        ("feature-extraction", "GPTNeoModel", (), 0),
        ("text-classification", "GPTNeoForSequenceClassification", ("score.weight",), 3),
        (
            "token-classification",
            "GPTNeoForTokenClassification",
            ("classifier.weight", "classifier.bias"),
            3,
        ),
        (
            "question-answering",
            "GPTNeoForQuestionAnswering",
            ("qa_outputs.weight", "qa_outputs.bias"),
            2,
        ),
    ],
)
def test_a_task_has_a_head_of_transformers(
    name: str, head: str, tensors: tuple[str, ...], columns: int
) -> None:
    task = Task.named(name)
    assert (task.value, task.head.value, task.columns(CONFIG)) == (name, head, columns)
    assert (task.head.tensors.names if task.head.tensors else ()) == tensors
    assert task.has_past == name.endswith("-with-past")


@pytest.mark.parametrize("name", ["fill-mask", "", None, 3, [], "TEXT_GENERATION"])
def test_another_task_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="task is .*; one of text-generation-with-past, .* is all"):
        Task.named(name)


def shapes(specs: Any) -> dict[str, tuple[int | str, ...]]:
    return {spec.name: spec.axes for spec in specs}


def caches_of(contract: GraphContract) -> tuple[int, int]:
    """Return how many caches go in and how many come out."""
    return (
        sum("past_key_values" in spec.name for spec in contract.inputs),
        sum("present" in spec.name for spec in contract.outputs),
    )


@pytest.mark.parametrize(
    ("name", "results", "hidden_states", "has_positions", "caches"),
    [
        ("text-generation-with-past", {"logits": (*TOKENS, 301)}, [], True, (4, 4)),
        ("text-generation", {"logits": (*TOKENS, 301)}, [], True, (0, 0)),
        ("feature-extraction-with-past", {}, [2], True, (0, 4)),
        ("feature-extraction", {}, [2], True, (0, 0)),
        ("text-classification", {"logits": (*ROW, 3)}, [], False, (0, 0)),
        ("token-classification", {"logits": (*TOKENS, 3)}, [], False, (0, 0)),
        ("question-answering", {"start_logits": TOKENS, "end_logits": TOKENS}, [], False, (0, 0)),
    ],
)
def test_portable_graphs_have_optimums_inputs_and_outputs(
    name: str,
    results: dict[str, tuple[int | str, ...]],
    hidden_states: list[int],
    has_positions: bool,
    caches: tuple[int, int],
) -> None:
    contract = portable_contract(CONFIG, FP32, task=Task(name))
    assert shapes(contract.results) == results
    assert list(contract.hidden_states) == hidden_states
    assert ("position_ids" in shapes(contract.inputs)) == has_positions
    assert caches_of(contract) == caches
    seen = "past_sequence_length + sequence_length" if caches[0] else "sequence_length"
    assert shapes(contract.inputs)["attention_mask"] == ("batch_size", seen)


def test_portable_graphs_give_the_layers_that_are_asked_for_with_every_task() -> None:
    for task in Task:
        contract = portable_contract(CONFIG, FP32, (0, 2), task)
        assert list(contract.hidden_states) == [0, 2]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("text-generation-with-past", 301),
        ("text-classification", 3),
        ("token-classification", 3),
        ("question-answering", 2),
    ],
)
def test_fused_graphs_give_the_heads_numbers_where_they_are_asked_for(
    name: str, columns: int
) -> None:
    contract = fused_contract(CONFIG, FP32, task=Task(name))
    assert shapes(contract.results) == {"logits": ("rows", columns)}
    assert contract.logits.axes == ("rows", columns)
    assert contract.step_inputs == fused_contract(CONFIG, FP32).step_inputs
    assert contract.caches == fused_contract(CONFIG, FP32).caches


def test_a_fused_graph_for_features_has_hidden_states_alone() -> None:
    contract = fused_contract(CONFIG, FP32, (1,), Task.FEATURE_EXTRACTION_WITH_PAST)
    assert "logits_rows" not in shapes(contract.inputs)
    assert contract.results == ()
    assert list(contract.hidden_states) == [1, 2]
    assert caches_of(contract) == (4, 4)


def test_tasks_without_past_have_no_fused_graph() -> None:
    defaults = {task.value: task.graph_kinds[0] for task in Task}
    assert defaults == {task.value: "fused" for task in Task} | {
        "text-generation": "portable",
        "feature-extraction": "portable",
    }
    assert [task.value for task in Task if "genai" in task.graph_kinds] == [
        "text-generation-with-past"
    ]
