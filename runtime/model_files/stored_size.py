"""How many bytes on disk a model is: a graph, and the weights that it reads."""

from gptneo_onnx.runtime.model_files import onnx_schema
from gptneo_onnx.runtime.model_files.directory import ModelDirectory
from gptneo_onnx.runtime.model_files.graph_reader import Model

_PLACE_ENTRIES = {"location", "offset", "length"}


def stored_bytes(model: ModelDirectory) -> int:
    """Return the bytes of a model's graphs and of the weights that they read.

    In an export of several precisions, a graph reads only parts of the files of others: those parts
    are counted, without the gaps between them. Elsewhere all of its files are counted.
    """
    sizes = [file.stat().st_size for file in model.files]
    if model.manifest is None or not model.manifest.other_numbers:
        return sum(sizes)
    content = memoryview(model.files[0].read_bytes())
    tensors = Model(content, onnx_schema.PORTABLE).graph().initializers()
    places = {tensor.place(_PLACE_ENTRIES, set()) for tensor in tensors if tensor.has_place}
    return sizes[0] + sum(place.length for place in places)
