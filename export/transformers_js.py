"""The layout that transformers.js loads: a folder onnx/ with a graph for each of its dtypes.

Names: https://github.com/huggingface/transformers.js/blob/main/packages/transformers/src/utils/dtypes.js
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
)

FOLDER = "onnx"
_DECLARATION = "transformers.js_config"
_FILES = {
    (Precision.FP32, DataType.FLOAT32): "model.onnx",
    (Precision.FP16, DataType.FLOAT16): "model_fp16.onnx",
    (Precision.INT8, DataType.FLOAT32): "model_quantized.onnx",
    (Precision.INT4, DataType.FLOAT32): "model_q4.onnx",
    (Precision.INT4, DataType.FLOAT16): "model_q4f16.onnx",
}


def graph_file(numbers: NumberFormat) -> str:
    """Return the file name that transformers.js asks for to get a graph of this number format.

    Raises:
        InputError: transformers.js has no name for it.
    """
    name = _FILES.get((numbers.precision, numbers.activations))
    if name is None:
        raise InputError(
            f"transformers.js has no name for precision {numbers.precision.value} with "
            f"{numbers.activations.value} activations; fp32, fp16, int8 and int4 have one"
        )
    return name


def declare_weights(directory: Path, graphs: Sequence[str]) -> None:
    """Declare in config.json that each graph's weights are in one file beside it."""
    config = read_json_object(directory / CONFIG_FILE)
    config[_DECLARATION] = {"use_external_data_format": dict.fromkeys(graphs, 1)}
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


def is_export(directory: Path) -> bool:
    """Return whether a directory holds an export in this layout, and nothing else."""
    try:
        declared = read_json_object(directory / CONFIG_FILE)[_DECLARATION]
        graphs = set(declared["use_external_data_format"])
    except (ModelFileError, KeyError, TypeError):
        return False
    exported = {CONFIG_FILE, GENERATION_CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE}
    for graph in graphs:
        exported |= {f"{FOLDER}/{graph}", f"{FOLDER}/{graph}_data"}
    present = (path for path in directory.rglob("*") if path.name != FOLDER or not path.is_dir())
    return all(path.relative_to(directory).as_posix() in exported for path in present)
