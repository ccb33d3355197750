"""models/fused_operators.py against the exporter: every form is written, and no other."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from checkpoints import Shape
from onnx import AttributeProto, NodeProto
from unwritten_graphs import PUBLISHED, build_unwritten

from gptneo_onnx.export.graphs.fused import FusedGraph
from gptneo_onnx.models.activations import ACTIVATIONS
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.fused_operators import OperatorForm, fused_operators
from gptneo_onnx.models.graph import NumberFormat, Precision, fused_contract
from gptneo_onnx.models.tasks import Task
from gptneo_onnx.runtime.model_files.fused_check import check_fused_graph

NUMBERS = [
    NumberFormat.of(precision, activations)
    for precision in Precision
    for activations in precision.activations
]
TASKS = [task for task in Task if "fused" in task.graph_kinds]
# One name of each activation function.
FUNCTIONS = [*{function: name for name, function in ACTIVATIONS.items()}.values()]
SHAPES = [
    Shape(),
    Shape(tie_word_embeddings=False, layers=("local", "local")),
    Shape(hidden_size=48, num_heads=4),  # heads of 12, filled up to 16
    Shape(hidden_size=40, num_heads=5, layers=("global",)),  # rows of no whole blocks
    Shape(hidden_size=512, num_heads=4, intermediate_size=96),  # larger blocks
    Shape(hidden_size=64, num_heads=4, intermediate_size=16),
]


def nodes(config: GPTNeoConfig, numbers: NumberFormat, task: Task) -> list[NodeProto]:
    """Return the operators of a fused graph."""
    states = range(config.num_layers + 1)
    graph = FusedGraph(config, fused_contract(config, numbers, states, task), numbers)
    graph.build()
    return graph.graph.nodes


def all_nodes() -> Iterator[tuple[GPTNeoConfig, NodeProto]]:
    """Yield every operator of every kind of fused graph, with its config."""
    for numbers, task, function, shape in product(NUMBERS, TASKS, FUNCTIONS, SHAPES):
        config = GPTNeoConfig.from_dict(shape.but(activation_function=function).config)
        for node in nodes(config, numbers, task):
            yield config, node


def has_form(node: NodeProto, form: OperatorForm) -> bool:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    return (
        (node.domain, node.op_type) == (form.domain, form.operator)
        and (len(node.input), len(node.output)) == (form.inputs, form.outputs)
        and attributes.keys() == form.attributes.keys()
        and all(
            attribute.type == form.attributes[name].kind
            and (
                attribute.type == AttributeProto.FLOAT
                or form.attributes[name].values is None
                or attribute.i in form.attributes[name].values
            )
            for name, attribute in attributes.items()
        )
    )


@pytest.mark.slow
def test_every_operator_that_is_written_has_one_form_and_every_form_is_written() -> None:
    used = set()
    seen: dict[bytes, int] = {}  # the form of operators that differ in names alone
    for config, node in all_nodes():
        same = NodeProto()
        same.CopyFrom(node)
        same.ClearField("name")
        same.input[:], same.output[:] = [""] * len(node.input), [""] * len(node.output)
        key = same.SerializeToString() + str((config.num_heads, config.window_capacity)).encode()
        if key not in seen:
            fitting = [
                place for place, form in enumerate(fused_operators(config)) if has_form(node, form)
            ]
            assert len(fitting) == 1, node
            seen[key] = fitting[0]
        used.add(seen[key])
    assert used == {*range(len(fused_operators(config)))}


def test_every_value_that_an_attribute_may_have_is_written() -> None:
    """Block sizes and types are left out: they follow from the shape."""
    config = GPTNeoConfig.from_dict(Shape().config)
    for form in fused_operators(config):
        for name, attribute in form.attributes.items():
            if name not in ("block_size", "to", "bits"):
                assert attribute.values is None or len(attribute.values) == 1


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_check_accepts_every_number_format(
    tmp_path: Path, numbers: NumberFormat, shape: Shape
) -> None:
    built = build_unwritten(tmp_path, shape.but(tie_word_embeddings=True), "fused", numbers)
    check_fused_graph(built.path, built.contract, built.config)


@pytest.mark.parametrize("numbers", NUMBERS[::3], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_check_accepts_every_activation(
    tmp_path: Path, numbers: NumberFormat, function: str
) -> None:
    shape = Shape(activation_function=function)
    built = build_unwritten(tmp_path, shape, "fused", numbers)
    check_fused_graph(built.path, built.contract, built.config)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_check_accepts_the_published_shapes(
    tmp_path: Path, precision: Precision, name: str
) -> None:
    built = build_unwritten(tmp_path, PUBLISHED[name], "fused", NumberFormat.of(precision))
    check_fused_graph(built.path, built.contract, built.config)
