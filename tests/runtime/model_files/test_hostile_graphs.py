"""Well-formed graphs that would end the process, or take its memory, if they were loaded."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from onnx import GraphProto, TensorProto, helper, numpy_helper

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files.directory import PortableModel, open_model_directory
from gptneo_onnx.runtime.model_files.inference.walk import MAX_OPERATORS

KINDS = ("fused", "portable")
LARGE = 800_000_000
# What any result may have in a graph of the shape here, and all that are kept.
RESULT, TOGETHER = 2**24, 2**26


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An export of each kind; never to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    random = np.random.default_rng(7)
    checkpoint = write_checkpoint(folder / "checkpoint", Shape(), random)
    return {kind: export_model(checkpoint, folder / kind, graph=kind) for kind in KINDS}


class Hostile:
    """A copy of an export, whose graph gets operators that change its input ids first."""

    def __init__(self, export: Path, folder: Path, signed: bool) -> None:
        self.directory = Path(shutil.copytree(export, folder / "model"))
        self.signed = signed
        self.model = onnx.load(self.directory / "model.onnx", load_external_data=False)
        for node in self.graph.node:
            node.input[:] = ["ids" if name == "input_ids" else name for name in node.input]
        self.first: list[onnx.NodeProto] = []

    @property
    def graph(self) -> GraphProto:
        return self.model.graph

    def constant(self, name: str, values: object, dtype: type = np.int64) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.first.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def added(self, number: str) -> None:
        """Add a number int64 to the ids."""
        self.node("Add", ["input_ids", number], "ids")

    def largest(self, name: str) -> None:
        """Add the largest element of a tensor to the ids."""
        self.node("ReduceMax", [name], "largest", keepdims=0)
        self.node("Cast", ["largest"], "whole", to=TensorProto.INT64)
        self.added("whole")

    def write(self) -> None:
        nodes = [*self.first, *self.graph.node]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        content = self.model.SerializeToString()
        (self.directory / "model.onnx").write_bytes(content)
        manifest = self.directory / "gptneo_onnx.json"
        if not self.signed:
            manifest.unlink()
            return
        values = json.loads(manifest.read_text())
        record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        values["files"]["model.onnx"] = record
        manifest.write_text(json.dumps(values))

    def refused(self) -> str:
        """Return why it is refused, without the file's name and what to do."""
        self.write()
        with pytest.raises(ModelFileError) as caught:
            open_model_directory(self.directory)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 600
        found = re.fullmatch(
            re.escape(f"{self.directory / 'model.onnx'}: ")
            + "(.*); (?:fetch or export the model again|export the checkpoint again)",
            message,
        )
        assert found
        return found[1]


@pytest.fixture(params=[True, False], ids=["signed", "foreign"])
def portable(request: pytest.FixtureRequest, exports: dict[str, Path], tmp_path: Path) -> Hostile:
    return Hostile(exports["portable"], tmp_path, request.param)


@pytest.fixture
def fused(exports: dict[str, Path], tmp_path: Path) -> Hostile:
    return Hostile(exports["fused"], tmp_path, True)


# Divisions of whole numbers.


def division(graph: Hostile, operator: str, divisor: int, dtype: type = np.int32) -> None:
    graph.constant("most", [np.iinfo(dtype).min], dtype)
    graph.constant("divisor", [divisor], dtype)
    graph.node(operator, ["most", "divisor"], "quotient")
    graph.node("Cast", ["quotient"], "whole", to=TensorProto.INT64)
    graph.added("whole")


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize("divisor", [0, -1])
def test_a_constant_division_that_ends_the_process_is_refused(
    portable: Hostile, operator: str, divisor: int, dtype: type
) -> None:
    division(portable, operator, divisor, dtype)
    assert portable.refused() == (
        f"the operator {operator} 'quotient' divides whole numbers by numbers that are {divisor}, "
        "and 0 and -1 end the process; only what is sure to be neither is divided by"
    )


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_fused_graphs_divide_nothing(fused: Hostile, operator: str) -> None:
    division(fused, operator, -1)
    assert fused.refused() == f"the operator '{operator}' is in no fused graph"


def test_a_divisor_that_is_computed_is_refused(portable: Hostile) -> None:
    portable.node("ReduceMax", ["input_ids"], "divisor", keepdims=0)
    portable.node("Div", ["input_ids", "divisor"], "ids")
    assert portable.refused() == (
        "the operator Div 'ids' divides whole numbers by numbers that are computed, and 0 and -1 "
        "end the process; only what is sure to be neither is divided by"
    )


def test_a_divisor_that_is_0_for_some_lengths_is_refused(portable: Hostile) -> None:
    portable.node("Shape", ["input_ids"], "sizes")
    portable.constant("seven", [1, 7])
    portable.node("Sub", ["sizes", "seven"], "divisor")
    portable.node("Div", ["seven", "divisor"], "quotient")
    portable.node("ReduceSum", ["quotient"], "whole", keepdims=0)
    portable.added("whole")
    assert "divides whole numbers by numbers that are from -6 to 57, and" in portable.refused()


def test_what_divides_by_sizes_and_by_other_numbers_is_opened(portable: Hostile) -> None:
    portable.node("Shape", ["input_ids"], "sizes")
    for name, divisor in (("below", -2), ("above", 1)):
        portable.constant(name, [divisor])
        portable.node("Div", ["sizes", name], f"{name}.quotient")
    portable.node("Mod", ["below.quotient", "sizes"], "rest")
    portable.node("ReduceSum", ["rest"], "whole", keepdims=0)
    portable.added("whole")
    portable.write()
    assert open_model_directory(portable.directory)


# Results that are too large.


def filled(graph: Hostile) -> str:
    graph.constant("shape", [LARGE])
    graph.largest(graph.node("ConstantOfShape", ["shape"], "large"))
    return f"the operator ConstantOfShape 'large' has up to {4 * LARGE} bytes"


def counted(graph: Hostile) -> str:
    for name, number in (("start", 0), ("limit", LARGE), ("step", 1)):
        graph.constant(name, number)
    graph.largest(graph.node("Range", ["start", "limit", "step"], "large"))
    return f"the operator Range 'large' has up to {8 * LARGE} bytes"


def expanded(graph: Hostile) -> str:
    """Not constant: this one is computed when the graph runs."""
    graph.constant("zero", [[0, 0]])
    graph.node("GatherND", ["input_ids", "zero"], "first")
    graph.constant("shape", [LARGE])
    graph.largest(graph.node("Expand", ["first", "shape"], "large"))
    return f"the operator Expand 'large' has up to {8 * LARGE} bytes"


def tiled(graph: Hostile) -> str:
    graph.constant("one", [1.0], np.float32)
    graph.constant("times", [LARGE])
    graph.largest(graph.node("Tile", ["one", "times"], "large"))
    return f"the operator Tile 'large' has up to {4 * LARGE} bytes"


def padded(graph: Hostile) -> str:
    graph.constant("one", [1.0], np.float32)
    graph.constant("pads", [LARGE, 0])
    graph.largest(graph.node("Pad", ["one", "pads"], "large"))
    return f"the operator Pad 'large' has up to {4 * LARGE + 4} bytes"


def one_hot(graph: Hostile) -> str:
    graph.constant("depth", [LARGE])
    graph.constant("values", [0.0, 1.0], np.float32)
    graph.largest(graph.node("OneHot", ["input_ids", "depth", "values"], "large"))
    return f"the operator OneHot 'large' has up to {4 * 64 * LARGE} bytes"


def doubled(graph: Hostile) -> str:
    name = graph.constant("ones", np.ones(1024), np.float32)
    for step in range(30):
        name = graph.node("Concat", [name, name], f"step{step}", axis=0)
    graph.largest(name)
    return f"the operator Concat 'step12' has up to {2**25} bytes"


def multiplied(graph: Hostile) -> str:
    column = graph.constant("column", np.ones((2000, 1)), np.float32)
    row = graph.constant("row", np.ones((1, 3000)), np.float32)
    graph.largest(graph.node("Mul", [column, row], "large"))
    return f"the operator Mul 'large' has up to {4 * 2000 * 3000} bytes"


def matrix_product(graph: Hostile) -> str:
    column = graph.constant("column", np.ones((2000, 1)), np.float32)
    row = graph.constant("row", np.ones((1, 3000)), np.float32)
    graph.largest(graph.node("MatMul", [column, row], "large"))
    return f"the operator MatMul 'large' has up to {4 * 2000 * 3000} bytes"


def of_long_texts(graph: Hostile) -> str:
    """Small for short texts: its size is the fourth power of the text's length."""
    for name, place in (("length", 1), ("first", 0)):
        graph.constant(f"{name}.at", place)
        graph.node("Shape", ["input_ids"], f"{name}.sizes")
        graph.node("Gather", [f"{name}.sizes", f"{name}.at"], name)
    graph.node("Mul", ["length", "length"], "square")
    graph.node("Mul", ["square", "square"], "limit")
    graph.constant("start", 0)
    graph.constant("step", 1)
    graph.largest(graph.node("Range", ["start", "limit", "step"], "large"))
    return f"the operator Range 'large' has up to {8 * 64**4} bytes"


def of_one_length(graph: Hostile) -> str:
    """Large for texts of five tokens alone."""
    graph.constant("at", 1)
    graph.node("Shape", ["input_ids"], "sizes")
    graph.node("Gather", ["sizes", "at"], "length")
    graph.constant("five", 5)
    graph.node("Equal", ["length", "five"], "is_five")
    graph.constant("many", [LARGE])
    graph.constant("few", [1])
    graph.node("Where", ["is_five", "many", "few"], "shape")
    graph.largest(graph.node("ConstantOfShape", ["shape"], "large"))
    return f"the operator ConstantOfShape 'large' has up to {4 * LARGE} bytes"


def of_two_texts(graph: Hostile) -> str:
    """Large for batches alone."""
    graph.constant("at", 0)
    graph.node("Shape", ["input_ids"], "sizes")
    graph.node("Gather", ["sizes", "at"], "texts")
    graph.constant("one", 1)
    graph.node("Sub", ["texts", "one"], "others")
    graph.constant("many", [LARGE])
    graph.node("Mul", ["others", "many"], "shape")
    graph.largest(graph.node("ConstantOfShape", ["shape"], "large"))
    return f"the operator ConstantOfShape 'large' has up to {4 * LARGE} bytes"


def without_data(graph: Hostile) -> str:
    graph.graph.initializer.add(name="large", data_type=1, dims=[LARGE])
    graph.largest("large")
    return f"the weight 'large' has up to {4 * LARGE} bytes"


def in_a_branch(graph: Hostile) -> str:
    graph.constant("condition", True, np.bool_)
    branches = []
    for name, size in (("then", 1), ("else", LARGE)):
        shape = numpy_helper.from_array(np.array([size]), f"{name}.shape")
        node = helper.make_node("ConstantOfShape", [f"{name}.shape"], [name])
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        branches.append(helper.make_graph([node], name, [], [output], [shape]))
    graph.node("If", ["condition"], "large", then_branch=branches[0], else_branch=branches[1])
    graph.largest("large")
    return f"the operator ConstantOfShape 'else' has up to {4 * LARGE} bytes"


LARGE_RESULTS = [
    filled, counted, expanded, tiled, padded, one_hot, doubled, multiplied, matrix_product,
    of_long_texts, of_one_length, of_two_texts, without_data, in_a_branch,
]  # fmt: skip


@pytest.mark.parametrize("add", LARGE_RESULTS)
def test_a_result_that_is_too_large_is_refused(
    portable: Hostile, add: Callable[[Hostile], str]
) -> None:
    expected = add(portable)
    assert portable.refused() == (
        f"{expected}; at most {RESULT} are possible with this config.json"
    )


def test_results_of_constants_are_refused_together(portable: Hostile) -> None:
    portable.constant("shape", [RESULT // 4])
    for number in range(5):
        portable.node("ConstantOfShape", ["shape"], f"filled{number}")
        portable.node("ReduceMax", [f"filled{number}"], f"largest{number}", keepdims=0)
    portable.node("Max", [f"largest{number}" for number in range(5)], "all")
    portable.largest("all")
    message = portable.refused()
    assert re.fullmatch(
        rf"the constants as far as ConstantOfShape 'filled\d' have \d+ bytes; at most {TOGETHER} "
        "are possible with this config.json",
        message,
    )


def test_results_that_are_kept_are_refused_together(portable: Hostile) -> None:
    portable.constant("zero", [[0, 0]])
    portable.node("GatherND", ["input_ids", "zero"], "first")
    portable.constant("shape", [RESULT // 8])
    names = [portable.node("Expand", ["first", "shape"], f"kept{n}") for n in range(5)]
    portable.node("Sum", names, "all")
    portable.largest("all")
    assert portable.refused() == (
        f"the results that are kept at the operator Expand 'kept3' have up to {4 * RESULT + 8} "
        f"bytes; at most {TOGETHER} are possible with this config.json"
    )


def test_products_that_take_hours_are_refused(portable: Hostile) -> None:
    name = portable.constant("matrix", np.ones((1000, 1000)), np.float32)
    for step in range(20):
        name = portable.node("MatMul", [name, "matrix"], f"power{step}")
    portable.largest(name)
    assert re.fullmatch(
        r"the operators as far as MatMul 'power4' take up to \d+ steps; at most \d+ are possible "
        "with this config.json",
        portable.refused(),
    )


def test_fused_graphs_make_nothing_of_constants(fused: Hostile) -> None:
    """All of these operators are in fused graphs."""
    fused.constant("one", [1])
    fused.constant("shape", [LARGE])
    fused.node("Expand", ["one", "shape"], "large")
    fused.node("Max", ["large", "large"], "whole")
    fused.added("whole")
    assert fused.refused() == "the operator Expand 'large' depends on weights and constants alone"


def test_a_fused_graph_with_a_large_result_is_refused(fused: Hostile) -> None:
    fused.constant("shape", [LARGE, 1, 1])
    fused.node("Expand", ["input_ids", "shape"], "large")
    fused.constant("axis", [0])
    fused.node("ReduceMax", ["large", "axis"], "ids", keepdims=0)
    assert fused.refused() == (
        f"the operator Expand 'large' has up to {8 * 64 * LARGE} bytes; at most {RESULT} are "
        "possible with this config.json"
    )


@pytest.mark.parametrize(
    "add",
    [add for add in LARGE_RESULTS if add not in (expanded, doubled, multiplied, matrix_product)],
)
def test_fused_graphs_have_no_other_operators(
    fused: Hostile, add: Callable[[Hostile], str]
) -> None:
    add(fused)
    assert re.fullmatch(
        "the operator '[A-Za-z]+' is in no fused graph"
        "|the operator [A-Za-z]+ .* is no form of it that is in fused graphs of this config.json"
        "|'(large|condition)' (does not lie in one place|has a type or shape that no weight has)",
        fused.refused(),
    )


# The attention of fused graphs, whose kernels address memory by its inputs.


@pytest.mark.parametrize(
    ("place", "name"),
    [(3, "past_key_values.1.key"), (4, "past_key_values.0.key"), (5, "lengths"), (6, "total")],
)
def test_attention_reads_its_own_caches_and_lengths(fused: Hostile, place: int, name: str) -> None:
    fused.constant("lengths", [2**30], np.int32)
    fused.constant("total", 2**30, np.int32)
    for node in fused.graph.node:
        node.input[:] = ["input_ids" if each == "ids" else each for each in node.input]
    attention = next(n for n in fused.graph.node if n.op_type == "GroupQueryAttention")
    attention.input[place] = name
    assert fused.refused() == (
        "the operator GroupQueryAttention 'h.0.attn.attention.attended' has not the caches and "
        "lengths of a layer"
    )


@pytest.mark.parametrize("name", ["num_heads", "kv_num_heads", "local_window_size", "do_rotary"])
def test_attention_has_the_configs_attributes(fused: Hostile, name: str) -> None:
    attention = [n for n in fused.graph.node if n.op_type == "GroupQueryAttention"][1]
    attribute = next(each for each in attention.attribute if each.name == name)
    attribute.i += 1
    fused.node("Identity", ["input_ids"], "ids")
    assert fused.refused().endswith("no form of it that is in fused graphs of this config.json")


# What is refused by name, or by number.


def test_an_operator_that_no_exporter_writes_is_refused(portable: Hostile) -> None:
    portable.node("Einsum", ["input_ids"], "ids", equation="ij->ij")
    assert re.fullmatch(
        r"the operator 'Einsum' of 'ai.onnx' is none of the \d+ that graphs may have here "
        r"\(docs/graphs.md lists them\)",
        portable.refused(),
    )


@pytest.mark.slow
def test_a_graph_of_too_many_operators_is_refused(portable: Hostile) -> None:
    name = "input_ids"
    for step in range(MAX_OPERATORS - len(portable.graph.node) + 1):
        name = portable.node("Identity", [name], f"i{step}")
    portable.node("Identity", [name], "ids")
    assert portable.refused().startswith(("the graph has more than 100000", "a graph has more"))


def test_a_config_of_a_larger_model_is_refused(portable: Hostile) -> None:
    """It would allow larger results."""
    portable.node("Identity", ["input_ids"], "ids")
    portable.write()
    path = portable.directory / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"max_position_embeddings": 2**24}))
    manifest = portable.directory / "gptneo_onnx.json"
    if portable.signed:
        record = {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        listed = json.loads(manifest.read_text())
        listed["files"]["config.json"] = record
        manifest.write_text(json.dumps(listed))
    with pytest.raises(ModelFileError, match=r"a GPT-Neo of 536\d+ weights, the graph has \d+; ex"):
        open_model_directory(portable.directory)


def test_an_attribute_that_is_given_twice_is_refused(portable: Hostile) -> None:
    """Readers take the first or the last."""
    portable.node("Identity", ["input_ids"], "ids")
    concat = next(node for node in portable.graph.node if node.op_type == "Concat")
    concat.attribute.append(helper.make_attribute("axis", 1))
    assert portable.refused() == (
        "the operator 'Concat' has its attribute 'axis' twice, or of another kind than it says"
    )


def test_an_attribute_of_another_kind_than_it_says_is_refused(portable: Hostile) -> None:
    portable.node("Identity", ["input_ids"], "ids")
    concat = next(node for node in portable.graph.node if node.op_type == "Concat")
    concat.attribute[0].f = 1.0
    assert portable.refused() == (
        "the operator 'Concat' has its attribute 'axis' twice, or of another kind than it says"
    )


def test_a_cast_to_texts_is_refused(portable: Hostile) -> None:
    portable.node("Cast", ["input_ids"], "ids", to=TensorProto.STRING)
    assert portable.refused() == (
        "the operator Cast 'ids' is of type 8 of onnx.TensorProto.DataType, as no tensor of a "
        "GPT-Neo is"
    )


# What is not known.


def test_results_whose_size_is_not_known_are_listed(portable: Hostile) -> None:
    portable.node("ReduceMax", ["input_ids"], "limit", keepdims=0)
    portable.constant("start", 0)
    portable.constant("step", 1)
    portable.largest(portable.node("Range", ["start", "limit", "step"], "large"))
    portable.write()
    model = open_model_directory(portable.directory)
    assert isinstance(model, PortableModel)
    assert model.unbounded == ("the operator Range 'large'",)


def test_of_what_the_exporter_writes_all_is_known(exports: dict[str, Path]) -> None:
    model = open_model_directory(exports["portable"])
    assert isinstance(model, PortableModel)
    assert model.unbounded == ()
