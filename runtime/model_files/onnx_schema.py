"""The messages of onnx.proto3 as far as our own graphs have them: everything else is refused.

portable_check.py allows for more of them, where other exporters write it.
"""

from gptneo_onnx.runtime.model_files.protobuf import Kind, Schema

# Left out, and so refused: training_info, functions, metadata_props (ONNX Runtime can be told to
# take session options from there).
MODEL = Schema(
    "the model",
    {
        1: ("ir_version", Kind.INTEGER),
        2: ("producer_name", Kind.BYTES),
        3: ("producer_version", Kind.BYTES),
        4: ("domain", Kind.BYTES),
        5: ("model_version", Kind.INTEGER),
        6: ("doc_string", Kind.BYTES),
        7: ("graph", Kind.BYTES),
        8: ("opset_import", Kind.SEVERAL_BYTES),
    },
)
OPSET = Schema("an opset", {1: ("domain", Kind.BYTES), 2: ("version", Kind.INTEGER)})
# Left out: sparse_initializer, value_info.
GRAPH = Schema(
    "the graph",
    {
        1: ("node", Kind.SEVERAL_BYTES),
        2: ("name", Kind.BYTES),
        5: ("initializer", Kind.SEVERAL_BYTES),
        10: ("doc_string", Kind.BYTES),
        11: ("input", Kind.SEVERAL_BYTES),
        12: ("output", Kind.SEVERAL_BYTES),
    },
)
# Left out: overload (of a function).
NODE = Schema(
    "an operator",
    {
        1: ("input", Kind.SEVERAL_BYTES),
        2: ("output", Kind.SEVERAL_BYTES),
        3: ("name", Kind.BYTES),
        4: ("op_type", Kind.BYTES),
        5: ("attribute", Kind.SEVERAL_BYTES),
        6: ("doc_string", Kind.BYTES),
        7: ("domain", Kind.BYTES),
    },
)
# Left out: tensors (they may be external too), graphs, and references to a function's attributes.
ATTRIBUTE = Schema(
    "an operator's attribute",
    {
        1: ("name", Kind.BYTES),
        2: ("f", Kind.FLOAT),
        3: ("i", Kind.INTEGER),
        4: ("s", Kind.BYTES),
        8: ("ints", Kind.INTEGERS),
        20: ("type", Kind.INTEGER),
    },
)
# Left out: segment, and every other way than raw_data of holding numbers.
TENSOR = Schema(
    "a weight",
    {
        1: ("dims", Kind.INTEGERS),
        2: ("data_type", Kind.INTEGER),
        8: ("name", Kind.BYTES),
        9: ("raw_data", Kind.BYTES),
        13: ("external_data", Kind.SEVERAL_BYTES),
        14: ("data_location", Kind.INTEGER),
    },
)
PLACE = Schema("a weight's place", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})
VALUE = Schema("an input or output", {1: ("name", Kind.BYTES), 2: ("type", Kind.BYTES)})
TYPE = Schema("an input's or output's type", {1: ("tensor_type", Kind.BYTES)})
TENSOR_TYPE = Schema(
    "an input's or output's type", {1: ("elem_type", Kind.INTEGER), 2: ("shape", Kind.BYTES)}
)
SHAPE = Schema("an input's or output's shape", {1: ("dim", Kind.SEVERAL_BYTES)})
DIMENSION = Schema(
    "an input's or output's axis",
    {1: ("dim_value", Kind.INTEGER), 2: ("dim_param", Kind.BYTES)},
)
