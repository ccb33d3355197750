"""model.safetensors of a checkpoint: its header is mutated as JSON, or the whole file as bytes."""

from fuzz_weights import weights_target
from fuzzing import Random, mutate_bytes, mutate_json
from wild_weights import save_any_safetensors

from gptneo_onnx.export.checkpoint.safetensors_file import read_safetensors


def mutate(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    if length > len(data) or random.random() < 0.3:
        return mutate_bytes(random, data, seeds)
    header = mutate_json(random, data[8 : 8 + length], seeds)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


TARGET = weights_target("model.safetensors", save_any_safetensors, read_safetensors, mutate)
