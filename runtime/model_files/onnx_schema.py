"""The fields of onnx.proto3 that are read. The reader refuses every other field.

FUSED allows what we write in fused graphs, PORTABLE what other exporters write besides.
"""

from dataclasses import dataclass

from gptneo_onnx.runtime.model_files.protobuf import Kind, Schema


@dataclass(frozen=True)
class ModelSchemas:
    """The messages whose fields depend on who may have written the model."""

    model: Schema
    graph: Schema
    node: Schema
    attribute: Schema
    tensor: Schema
    value: Schema
    value_type: Schema
    dimension: Schema


# Left out: training_info, functions, metadata_props (ONNX Runtime can be told to take session
# options from there).
_MODEL = Schema(
    "the model",
    {
        1: ("ir_version", Kind.INTEGER),
        2: ("producer_name", Kind.BYTES),
        3: ("producer_version", Kind.BYTES),
        4: ("domain", Kind.BYTES),
        5: ("model_version", Kind.INTEGER),
        6: ("doc_string", Kind.BYTES),
        7: ("graph", Kind.BYTES),
        8: ("opset_import", Kind.REPEATED_BYTES),
    },
)
OPSET = Schema("an opset", {1: ("domain", Kind.BYTES), 2: ("version", Kind.INTEGER)})
# Left out: sparse_initializer, value_info.
_GRAPH = Schema(
    "the graph",
    {
        1: ("node", Kind.REPEATED_BYTES),
        2: ("name", Kind.BYTES),
        5: ("initializer", Kind.REPEATED_BYTES),
        10: ("doc_string", Kind.BYTES),
        11: ("input", Kind.REPEATED_BYTES),
        12: ("output", Kind.REPEATED_BYTES),
    },
)
# Left out: overload, which selects a function.
_NODE = Schema(
    "an operator",
    {
        1: ("input", Kind.REPEATED_BYTES),
        2: ("output", Kind.REPEATED_BYTES),
        3: ("name", Kind.BYTES),
        4: ("op_type", Kind.BYTES),
        5: ("attribute", Kind.REPEATED_BYTES),
        6: ("doc_string", Kind.BYTES),
        7: ("domain", Kind.BYTES),
    },
)
# Left out: tensors (they may be external too), graphs, and references to attributes of a function.
_ATTRIBUTE = Schema(
    "an operator's attribute",
    {
        1: ("name", Kind.BYTES),
        2: ("f", Kind.FLOAT),
        3: ("i", Kind.INTEGER),
        4: ("s", Kind.BYTES),
        8: ("ints", Kind.INTEGERS),
        20: ("type", Kind.ENUM),
    },
    enums={"type": range(15)},
)
# Left out: segment, and every field but raw_data that can hold numbers.
_TENSOR = Schema(
    "a weight",
    {
        1: ("dims", Kind.SIZES),
        2: ("data_type", Kind.INTEGER32),
        8: ("name", Kind.BYTES),
        9: ("raw_data", Kind.BYTES),
        13: ("external_data", Kind.REPEATED_BYTES),
        14: ("data_location", Kind.ENUM),
    },
    enums={"data_location": range(2)},
)
PLACE = Schema("a weight's place", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})
_VALUE = Schema("an input or output", {1: ("name", Kind.BYTES), 2: ("type", Kind.BYTES)})
_VALUE_TYPE = Schema("an input's or output's type", {1: ("tensor_type", Kind.BYTES)})
TENSOR_TYPE = Schema(
    "an input's or output's type", {1: ("elem_type", Kind.INTEGER32), 2: ("shape", Kind.BYTES)}
)
SHAPE = Schema("an input's or output's shape", {1: ("dim", Kind.REPEATED_BYTES)})
_DIMENSION = Schema(
    "an input's or output's axis",
    {1: ("dim_value", Kind.INTEGER), 2: ("dim_param", Kind.BYTES)},
    one_of=("dim_value", "dim_param"),
)
PROPERTY = Schema("a property", {1: ("key", Kind.BYTES), 2: ("value", Kind.BYTES)})

FUSED = ModelSchemas(_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _VALUE, _VALUE_TYPE, _DIMENSION)

# Still left out: training_info, functions, sparse_initializer, lists of tensors and of graphs,
# segment, string_data. Lists of numbers are packed; those of weights are not looked into.
PORTABLE = ModelSchemas(
    model=_MODEL.extended({14: ("metadata_props", Kind.REPEATED_BYTES)}),
    graph=_GRAPH.extended(
        {
            13: ("value_info", Kind.REPEATED_BYTES),
            14: ("quantization_annotation", Kind.REPEATED_BYTES),
            16: ("metadata_props", Kind.REPEATED_BYTES),
        }
    ),
    node=_NODE.extended({9: ("metadata_props", Kind.REPEATED_BYTES)}),
    attribute=_ATTRIBUTE.extended(
        {
            5: ("t", Kind.BYTES),
            6: ("g", Kind.BYTES),
            7: ("floats", Kind.FLOATS),
            9: ("strings", Kind.REPEATED_BYTES),
            13: ("doc_string", Kind.BYTES),
        }
    ),
    tensor=_TENSOR.extended(
        {
            4: ("float_data", Kind.BYTES),
            5: ("int32_data", Kind.BYTES),
            7: ("int64_data", Kind.INTEGERS),
            10: ("double_data", Kind.BYTES),
            11: ("uint64_data", Kind.BYTES),
            12: ("doc_string", Kind.BYTES),
        }
    ),
    value=_VALUE.extended(
        {3: ("doc_string", Kind.BYTES), 4: ("metadata_props", Kind.REPEATED_BYTES)}
    ),
    value_type=_VALUE_TYPE.extended({6: ("denotation", Kind.BYTES)}),
    dimension=_DIMENSION.extended({3: ("denotation", Kind.BYTES)}),
)
