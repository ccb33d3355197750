"""pytorch_model.bin of a checkpoint: a zip archive with a pickle."""

from fuzz_weights import weights_target
from torch_archive import save_torch

from gptneo_onnx.export.checkpoint.torch_file import read_torch_file

TARGET = weights_target("pytorch_model.bin", save_torch, read_torch_file)
