"""Opens a GPT-Neo checkpoint in Hugging Face layout: its config, and its tensors, not yet read."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptneo_onnx.export.checkpoint.other_formats import (
    refuse_adapter,
    refuse_other_contents,
    unapplied,
)
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.tensor_names import PREFIX, named_tensors
from gptneo_onnx.export.checkpoint.weight_files import find_weights
from gptneo_onnx.export.checkpoint.weights_elsewhere import missing_config
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.manifest import CONFIG_FILE

__all__ = ["PREFIX", "Checkpoint", "open_checkpoint"]

_LAYER = re.compile(r"h\.(\d{1,6})\.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened.

    Attributes:
        directory: where it lies.
        config: what its config.json says.
        tensors: named without the prefix `transformer.`.
        variant: the variant of its weight files, or None.
        left_out: names of tensors that are no part of this GPT-Neo.
        notes: lines that tell the user what was understood in which way.
        as_transformers: whether from_pretrained of transformers finds the same tensors.
        config_changes: entries of config.json that an adapter changes.
        adapter: the directory of the adapter that the tensors are merged with, or None.
    """

    directory: Path
    config: GPTNeoConfig
    tensors: Mapping[str, StoredTensor]
    variant: str | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    as_transformers: bool = True
    config_changes: Mapping[str, Any] = field(default_factory=dict)
    adapter: Path | None = None

    def tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """Return the weight of that name, not yet read.

        Raises:
            ModelFileError: it is missing, has another shape, or holds whole numbers.
        """
        stored = self.tensors.get(name)
        if stored is None:
            raise self.missing(name)
        if stored.shape == (0,) != shape:
            raise ModelFileError(
                f"{self.directory}: {name} has shape [0]: it was saved under DeepSpeed's ZeRO-3, "
                "which keeps the weights in shards; run the zero_to_fp32.py that lies with them, "
                "and export what it writes"
            )
        if stored.shape != shape:
            raise ModelFileError(
                f"{self.directory}: {name} has shape {list(stored.shape)}, but config.json makes "
                f"it {list(shape)}; use the config.json that was saved with the weights"
            )
        if stored.dtype.kind in "biu":
            raise ModelFileError(
                f"{self.directory}: {name} holds {stored.dtype.name} numbers: the checkpoint is "
                "quantized; export the float32, float16 or bfloat16 one"
            )
        return stored

    def missing(self, name: str) -> ModelFileError:
        """Return the error for a tensor that is not there."""
        if name == "lm_head.weight":
            return ModelFileError(
                f"{self.directory}: the checkpoint has no lm_head.weight, and tie_word_embeddings "
                "of config.json is not true, so that transformers draws a head at random; set it "
                "to true if the token embedding is the head"
            )
        for other in self.left_out:
            if other.endswith(f".{name}"):
                return ModelFileError(
                    f"{self.directory}: the checkpoint has no tensor {name}, but {shown(other)}; "
                    f"save the state dict of the model inside alone, so that it is {PREFIX}{name}"
                )
        return ModelFileError(
            f"{self.directory}: the checkpoint has no tensor {name}, which config.json asks "
            "for; fetch the checkpoint again"
        )


def open_checkpoint(directory: Path, variant: str | None = None) -> Checkpoint:
    """Open model.safetensors, pytorch_model.bin or flax_model.msgpack, whole or sharded.

    Only headers are read, no weights yet.

    Args:
        directory: holds config.json and the weights.
        variant: "fp16" for model.fp16.safetensors, and so on.

    Raises:
        ModelFileError: a file is missing, damaged, of another format, or contradicts config.json.
    """
    refuse_adapter(directory)
    if not (directory / CONFIG_FILE).exists():
        raise missing_config(directory)
    config = GPTNeoConfig.from_file(directory / CONFIG_FILE)
    files, read = find_weights(directory, variant)
    stored: dict[str, StoredTensor] = {}
    for file in files:
        refuse_other_contents(file)
        stored |= read(file)
    named = named_tensors(directory, stored, config.tie_word_embeddings)
    beyond = _beyond(named.tensors, config.num_layers)
    unused = {name for names in beyond.values() for name in names}
    notes = [_layers_note(directory, beyond, config.num_layers)] if beyond else []
    return Checkpoint(
        directory,
        config,
        {name: tensor for name, tensor in named.tensors.items() if name not in unused},
        variant,
        (*named.left_out, *sorted(unused)),
        (*named.notes, *notes, *unapplied(directory)),
        named.as_transformers,
    )


def _beyond(tensors: Mapping[str, StoredTensor], num_layers: int) -> dict[int, list[str]]:
    """Return the names of the tensors of layers that the model does not have, by the layer."""
    beyond: dict[int, list[str]] = {}
    for name in tensors:
        match = _LAYER.match(name)
        if match and int(match[1]) >= num_layers:
            beyond.setdefault(int(match[1]), []).append(name)
    return beyond


def _layers_note(directory: Path, layers: Collection[int], num_layers: int) -> str:
    first, last = min(layers), max(layers)
    which = f"layer {first}" if first == last else f"layers {first} to {last}"
    return (
        f"{directory}: left out, as config.json says that there are {num_layers} layers: {which} "
        "(counted from 0)"
    )
