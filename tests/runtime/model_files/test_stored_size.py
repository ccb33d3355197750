"""The size of a model on disk: of its graph and of the weights that it reads, no others."""

import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.model_files.directory import open_model_directory
from gptneo_onnx.runtime.model_files.stored_size import stored_bytes


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    out = tmp_path_factory.mktemp("several") / "export"
    return export_model(
        EMBEDDED_CHECKPOINT, out, precision=["fp32", "int4"], graph=("fused", "portable")
    )


@pytest.mark.parametrize("graph", ["model.onnx", "portable.onnx"])
@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_a_precision_beside_others_is_as_large_as_alone(several, tmp_path, precision, graph):
    name = graph if precision == "fp32" else graph.replace(".onnx", ".int4.onnx")
    out = export_model(
        EMBEDDED_CHECKPOINT, tmp_path / "alone", precision=precision, graph=("fused", "portable")
    )
    alone = sum((out / file).stat().st_size for file in (graph, "model.onnx_data"))
    assert stored_bytes(open_model_directory(out, graph)) == alone
    found = stored_bytes(open_model_directory(several, name))
    assert 0.9 * alone < found <= alone  # but for the gaps between weights


def test_all_files_of_another_layout_count(tmp_path):
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", layout="transformers.js")
    sizes = [file.stat().st_size for file in (out / "onnx").iterdir()]
    assert stored_bytes(open_model_directory(out)) == sum(sizes)
