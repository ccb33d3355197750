"""The exported graphs: what they compute, and the weights that they read.

Graphs, one for each `--graph`:

- fused.py: ONNX Runtime's fused operators, for this project's runtime.
- portable.py: standard operators with the inputs and outputs of Optimum's exports.
- genai.py: the fused graph with the inputs and outputs of onnxruntime-genai, and its configuration.
- optimum.py: the portable graph traced by Optimum (`--exporter optimum`) and repaired;
  optimum_trace.py does the tracing.

Weights:

- formats.py: which storage format each `--precision` stands for.
- float_format.py, block_format.py, w8a8_format.py: a storage format each: what is stored for a
  layer, and the nodes that multiply by it in fused and in portable graphs.
- head_padding.py: attention's weights for operators that take heads of some sizes only.
- layers.py: a linear layer as formats store it, and a product as they multiply.
- model_weights.py: every weight of the model, in the order of the weights file.

Underneath:

- decoder.py: the base class of the graphs that are built here, with what they have in common.
- builder.py: adds nodes and constants to a graph.
- model_proto.py: the finished ONNX model, with references into the weights file.
"""
