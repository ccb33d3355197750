"""pytorch_model.bin from before PyTorch 1.6: a stream of pickles."""

from fuzz_weights import weights_target
from wild_weights import save_legacy

from gptneo_onnx.export.checkpoint.torch_file import read_torch_file

TARGET = weights_target("pytorch_model.bin", save_legacy, read_torch_file)
