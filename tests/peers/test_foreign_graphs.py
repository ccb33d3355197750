"""Graphs of Optimum as other tools change them: the check refuses none, and knows all sizes.

As transformers.js' conversion does: 8 bits, 4 bits, float16. And as ONNX Runtime saves a graph that
it optimized.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.runtime.model_files.portable_check import check_portable_graph
from gptneo_onnx.runtime.model_files.portable_interface import PortableInterface

OPTIMUM = Path(__file__).parents[1] / "golden/optimum"
GRAPHS = sorted(OPTIMUM.glob("*/*.onnx"))
Change = Callable[[Path, Path], Any]


def in_8_bits(source: Path, target: Path, **options: Any) -> None:
    from onnxruntime.quantization import quantize_dynamic

    extra = {"EnableSubgraph": True, "MatMulConstBOnly": True}
    quantize_dynamic(str(source), str(target), extra_options=extra, **options)


def in_8_bits_by_channel(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType

    in_8_bits(source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QUInt8)


def in_4_bits(source: Path, target: Path) -> None:
    pytest.importorskip("onnx_ir")  # the quantizer imports it
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=32, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def in_4_bits_of_bitsandbytes(source: Path, target: Path) -> None:
    from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

    quantizer = MatMulBnb4Quantizer(onnx.load(source), 0, 64)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def in_float16(source: Path, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    if any(node.op_type == "If" for node in model.graph.node):
        pytest.skip("ONNX Runtime cannot load what its converter makes of branches")
    converted = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    onnx.save(converted, target)


def optimized(level: str) -> Change:
    def change(source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    change.__name__ = f"optimized_{level.lower()}"
    return change


CHANGES: tuple[Change, ...] = (
    in_8_bits, in_8_bits_by_channel, in_4_bits, in_4_bits_of_bitsandbytes, in_float16,
    optimized("BASIC"), optimized("EXTENDED"), optimized("ALL"),
)  # fmt: skip


@pytest.mark.parametrize("source", GRAPHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_tools_make_of_optimums_graphs_is_known(
    tmp_path: Path, source: Path, change: Change
) -> None:
    target = tmp_path / "model.onnx"
    change(source, target)
    shutil.copyfile(source.parent / "config.json", tmp_path / "config.json")
    config = GPTNeoConfig.from_file(tmp_path / "config.json")
    signature = check_portable_graph(target, config)
    assert signature.unbounded == ()
    PortableInterface.recognise(target, signature, config)
