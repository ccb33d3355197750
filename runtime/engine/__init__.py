"""Steps of a model: token ids in, logits out."""

from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime

require_onnx_runtime()
