"""The names of the files that an export writes in each of its number formats."""

from pathlib import Path

from gptneo_onnx.export import transformers_js
from gptneo_onnx.export.arguments import ExportPlan
from gptneo_onnx.export.graph_files import FormatFiles
from gptneo_onnx.models.graph import NumberFormat
from gptneo_onnx.models.manifest import GRAPH_FILE, WEIGHTS_FILE, in_precision


def files_of_formats(plan: ExportPlan, directory: Path) -> list[FormatFiles]:
    """Return the files of each number format: its graphs, and their weights."""
    place = _in_onnx_folder if plan.layout == "transformers.js" else _side_by_side
    return [place(plan, directory, numbers) for numbers in plan.formats]


def _in_onnx_folder(plan: ExportPlan, directory: Path, numbers: NumberFormat) -> FormatFiles:
    graph = directory / transformers_js.FOLDER / transformers_js.graph_file(numbers)
    weights = graph.with_suffix(".onnx_data")
    return FormatFiles(numbers, {"portable": graph}, weights, plan.text_for(numbers))


def _side_by_side(plan: ExportPlan, directory: Path, numbers: NumberFormat) -> FormatFiles:
    def path(name: str) -> Path:
        is_first = numbers == plan.formats[0]
        return directory / (name if is_first else in_precision(name, numbers.precision))

    first, *others = plan.graphs
    graphs = {first: path(GRAPH_FILE)} | {kind: path(f"{kind}.onnx") for kind in others}
    return FormatFiles(numbers, graphs, path(WEIGHTS_FILE), plan.text_for(numbers))
