"""flax_model.msgpack of a checkpoint."""

from fuzz_weights import weights_target
from wild_weights import save_flax

from gptneo_onnx.export.checkpoint.flax_file import read_flax_file


def save(path, tensors):
    save_flax(path, tensors, chunk_bytes=64)


TARGET = weights_target("flax_model.msgpack", save, read_flax_file)
