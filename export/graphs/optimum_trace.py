"""Tracing the portable graph with optimum.exporters.onnx, without any of its weights.

Optimum traces a loaded model and writes its weights with the graph, which takes three times the
model's size in memory and ends at protobuf's 2 GB. Here a model of untouched memory is traced, and
its parameters become inputs of the graph, by their names in a state dict: what they are is put in
by optimum_graph.py.
"""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint

# The newest that PyTorch's tracing exporter takes for GPT-Neo's operators.
OPSET = 18


def trace(source: Checkpoint) -> onnx.ModelProto:
    """The graph of a checkpoint's config: Optimum's inputs, then a parameter for each weight."""
    import torch
    from optimum.exporters.onnx.model_configs import GPTNeoOnnxConfig
    from transformers import GPTNeoConfig

    config = GPTNeoConfig.from_pretrained(source.directory)
    description = GPTNeoOnnxConfig(
        config, task="text-generation", use_past=True, use_past_in_inputs=True
    )
    model = _model_without_weights(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.no_grad(),
        description.patch_model_for_export(model),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of the tracer, about what is constant in it
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder) / "traced.onnx"
        inputs, outputs = description.ordered_inputs(model), description.outputs
        torch.onnx.export(
            model,
            (description.generate_dummy_inputs(framework="pt"),),
            str(path),
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_axes={**inputs, **outputs},
            opset_version=OPSET,
            export_params=False,
            do_constant_folding=False,
            dynamo=False,
        )
        return onnx.load(path)


def _model_without_weights(config: Any) -> Any:
    """Memory that is never written costs nothing; one number in each tensor tells it from others.

    The tracer takes parameters that are equal for one.
    """
    from transformers import GPTNeoForCausalLM
    from transformers.modeling_utils import no_init_weights

    with no_init_weights():
        model: Any = GPTNeoForCausalLM(config).eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.data.view(-1)[0] = number
    return model
