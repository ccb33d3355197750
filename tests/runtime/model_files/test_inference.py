"""The sizes that are worked out, against those that ONNX Runtime computes."""

import random as random_module
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from checkpoints import Shape
from onnx import ValueInfoProto
from unwritten_graphs import PUBLISHED, build_unwritten

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.graph_reader import Model
from gptneo_onnx.runtime.model_files.graph_values import Signature
from gptneo_onnx.runtime.model_files.inference import sizes
from gptneo_onnx.runtime.model_files.inference.inputs import portable_inputs
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.operators import PORTABLE
from gptneo_onnx.runtime.model_files.inference.sizes import Number, Size
from gptneo_onnx.runtime.model_files.inference.values import Value
from gptneo_onnx.runtime.model_files.inference.walk import Walk
from gptneo_onnx.runtime.model_files.portable_check import check_portable_graph

GOLDEN = sorted((Path(__file__).parents[2] / "golden/optimum").glob("*/*.onnx"))
CONTEXT = 64
# Sizes of steps: new tokens, and positions before them.
STEPS = [(1, 0), (5, 0), (3, 4), (1, 11)]


def worked_out(path: Path) -> Mapping[str, Value]:
    """Return what is known of every tensor of a graph."""
    config = GPTNeoConfig.from_file(path.parent / "config.json")
    model = Model(memoryview(path.read_bytes()), onnx_schema.PORTABLE)
    weights = {tensor.name for tensor in model.graph().initializers()}
    signatures = {
        value.name: Signature(
            value.tensor_type().element_type,
            tuple(
                axis.size if axis.size is not None else axis.name
                for axis in value.tensor_type().axes or ()
            ),
        )
        for value in model.graph().inputs().values()
        if value.name not in weights
    }
    walk = Walk(PORTABLE, Limits.of(config), lambda node, attributes: None)
    known = walk.run(model.graph(), portable_inputs(config, signatures))
    assert walk.unbounded == []
    return known


class Computed:
    """A graph that gives every tensor that it computes."""

    def __init__(self, path: Path) -> None:
        self.config = GPTNeoConfig.from_file(path.parent / "config.json")
        model = onnx.load(path)
        given = {value.name for value in model.graph.output}
        model.graph.output.extend(
            ValueInfoProto(name=name)
            for node in model.graph.node
            for name in node.output
            if name and name not in given
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, sequence: int, past: int) -> dict[str, Any]:
        names = [value.name for value in self.session.get_outputs()]
        feeds = {
            value.name: self.feed(value, sequence, past) for value in self.session.get_inputs()
        }
        return dict(zip(names, self.session.run(names, feeds), strict=True))

    def feed(self, value: Any, sequence: int, past: int) -> Any:
        match value.name:
            case "input_ids" | "position_ids":
                return np.arange(sequence)[None] + 2
            case "attention_mask":
                return np.ones((1, sequence + past), np.int64)
            case "use_cache_branch":
                return np.array([past > 0])
        shape = (1, self.config.num_heads, past, self.config.head_dim)
        return np.ones(shape, np.float16 if "16" in value.type else np.float32)


def number(known: Number, axes: Mapping[str, int]) -> int | None:
    """Return what a number is for these sizes of axes; None if only its bounds are known."""
    if isinstance(known, int):
        return known
    if known.terms is None:
        return None
    return sum(
        factor * int(np.prod([axes[axis.name] for axis in product], dtype=int))
        for product, factor in known.terms.items()
    )


def assert_is(known: Number, found: int, axes: Mapping[str, int], name: str) -> None:
    assert sizes.least(known) <= found <= sizes.most(known), (name, known, found)
    exact = number(known, axes)
    assert exact is None or exact == found, (name, known, found)


def assert_fits(path: Path, steps: list[tuple[int, int]]) -> int:
    """Compare every tensor for each step; returns how many numbers were compared."""
    known, computed, compared = worked_out(path), Computed(path), 0
    for sequence, past in steps:
        axes = {"batch": 1, sizes.SEQUENCE: sequence, sizes.PAST: past}
        for name, found in computed.run(sequence, past).items():
            value = known[name]
            assert value.dims is not None
            assert len(value.dims) == found.ndim, name
            for size, real in zip(value.dims, found.shape, strict=True):
                assert_is(size, real, axes, name)
            assert found.size <= value.most, name
            assert found.nbytes <= value.bytes, name
            if value.numbers is not None:
                assert len(value.numbers) == found.size, name
                for each, real in zip(value.numbers, found.reshape(-1).tolist(), strict=True):
                    assert_is(each, int(real), axes, name)
                    compared += 1
    return compared


def steps_of(path: Path) -> list[tuple[int, int]]:
    names = {value.name for value in onnx.load(path).graph.input}
    if "use_cache_branch" in names:
        return [(1, 3)]  # the branches differ in what they take
    if not any(name.startswith("past") for name in names):
        return [(sequence, 0) for sequence, past in STEPS if not past]
    single = "with_past" in path.name  # was traced with one token
    return [step for step in STEPS if step[0] == 1 or not single]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_tensors_of_optimums_graphs_have_the_sizes_that_were_worked_out(path: Path) -> None:
    compared = assert_fits(path, steps_of(path))
    assert compared > 50 or "merged" in path.name  # of those, the operators are in branches


@pytest.mark.parametrize(
    "numbers",
    [NumberFormat.of(each) for each in Precision if each is not Precision.BF16],
    ids=str,
)
def test_tensors_of_our_graphs_have_the_sizes_that_were_worked_out(
    tmp_path: Path, numbers: NumberFormat
) -> None:
    shape = Shape(hidden_size=48, num_heads=3, max_position_embeddings=CONTEXT)
    built = build_unwritten(tmp_path, shape, "portable", numbers)
    assert_fits(built.path, STEPS)


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_shapes_are_within_the_limits(
    tmp_path: Path, precision: Precision, name: str
) -> None:
    built = build_unwritten(tmp_path, PUBLISHED[name], "portable", NumberFormat.of(precision))
    assert check_portable_graph(built.path, built.config).unbounded == ()


# Numbers.


def axes_of(random: random_module.Random) -> dict[str, int]:
    sequence = random.randint(1, CONTEXT)
    return {
        "batch": 1,
        sizes.SEQUENCE: sequence,
        sizes.PAST: random.randint(0, CONTEXT - sequence),
    }


NUMBERS: tuple[Number, ...] = (
    0, 1, 2, -3, 64, 2**40,
    sizes.axis("batch", 1, 1),
    sizes.axis(sizes.SEQUENCE, 1, CONTEXT),
    sizes.axis(sizes.PAST, 0, CONTEXT - 1),
    Size(-5, 9),
)  # fmt: skip
OPERATIONS = {
    "add": (sizes.add, lambda a, b: a + b),
    "subtract": (sizes.subtract, lambda a, b: a - b),
    "multiply": (sizes.multiply, lambda a, b: a * b),
    "smaller": (sizes.smaller, min),
    "larger": (sizes.larger, max),
    "divide": (sizes.divide, lambda a, b: int(a / b) if abs(a) < 2**50 else a // b),
    "remainder": (sizes.remainder, lambda a, b: a % b),
}


def test_numbers_keep_within_their_bounds(random: np.random.Generator) -> None:
    """Sizes from several operations are right for any sizes that the axes may have."""
    source = random_module.Random(int(random.integers(2**32)))
    for _ in range(3000):
        axes = axes_of(source)
        pool = [(each, _one_of(each, axes, source)) for each in NUMBERS]
        for _ in range(5):
            name = source.choice([*OPERATIONS])
            (left, a), (right, b) = source.choice(pool), source.choice(pool)
            if name in ("divide", "remainder") and (
                sizes.least(right) <= 0 or sizes.least(left) < 0
            ):
                continue
            together, plain = OPERATIONS[name]
            result = together(left, right)
            expected = plain(a, b)
            if abs(expected) > 2**50:
                continue
            assert_is(result, expected, axes, name)
            pool.append((result, expected))


def _one_of(each: Number, axes: Mapping[str, int], random: random_module.Random) -> int:
    exact = number(each, axes)
    return random.randint(sizes.least(each), sizes.most(each)) if exact is None else exact


def test_sums_of_past_and_sequence_are_within_the_context() -> None:
    past, sequence = NUMBERS[8], NUMBERS[7]
    total = sizes.add(past, sequence)
    assert (sizes.least(total), sizes.most(total)) == (1, CONTEXT)
    assert sizes.subtract(total, past) == sequence
    assert sizes.exact_quotient(sizes.multiply(sequence, 6), sequence) == 6
    assert sizes.exact_quotient(sizes.multiply(total, 6), 6) == total
