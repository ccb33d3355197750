"""Tracing the portable graph with optimum.exporters.onnx, without loading any weights.

Optimum traces a loaded model and writes its weights with the graph, which takes three times the
model's size in memory and fails beyond protobuf's 2 GB. Here a model of uninitialised memory is
traced, and its parameters become inputs of the graph, by their names in a state dict. optimum.py
then replaces these by weights from the checkpoint.
"""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.tasks import PAST_SUFFIX, Head, Task

# The newest opset in which PyTorch's tracing exporter has GPT-Neo's operators.
OPSET = 18


def trace(source: Checkpoint, task: Task) -> onnx.ModelProto:
    """Trace a task's graph of a checkpoint's config: Optimum's inputs, then one for each parameter.

    Raises:
        ModelFileError: transformers takes no batches of texts, for want of a pad token.
    """
    if task is Task.TEXT_CLASSIFICATION and not source.config.names_pad_token:
        raise ModelFileError(
            f"{source.directory}: config.json names no pad_token_id, which exporter optimum needs "
            f"for task {task.value}; name one there, or take exporter direct"
        )
    import torch
    from optimum.exporters.onnx.model_configs import GPTNeoOnnxConfig
    from transformers import GPTNeoConfig

    config = GPTNeoConfig.from_pretrained(source.directory, **source.config_changes)
    description = GPTNeoOnnxConfig(
        config,
        task=task.value.removesuffix(PAST_SUFFIX),
        use_past=task.has_past,
        use_past_in_inputs=task is Task.TEXT_GENERATION_WITH_PAST,
    )
    model = _model_without_weights(config, task.head)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.no_grad(),
        description.patch_model_for_export(model),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the tracer's, about values that become constants
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


def _model_without_weights(config: Any, head: Head) -> Any:
    """Make a model whose parameters are uninitialised, and so take up no memory.

    Each gets a distinct first value: the tracer merges parameters that are equal.
    """
    import transformers
    from transformers.modeling_utils import no_init_weights

    with no_init_weights():
        model: Any = getattr(transformers, head.value)(config).eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.data.view(-1)[0] = number
    return model
