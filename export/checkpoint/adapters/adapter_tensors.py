"""Sorts an adapter's tensors by the layers of a GPT-Neo that they belong to."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gptneo_onnx.export.checkpoint.other_formats import refuse_other_contents
from gptneo_onnx.export.checkpoint.safetensors_file import read_safetensors
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.checkpoint.tensor_names import MASK_BUFFER, PREFIX
from gptneo_onnx.export.checkpoint.torch_file import read_torch_file
from gptneo_onnx.models.errors import ModelFileError, shown

ADAPTER_FILES = {
    "adapter_model.safetensors": read_safetensors,
    "adapter_model.bin": read_torch_file,
}
# Attributes in which a PeftModel keeps the model ...
_OUTSIDE = re.compile(r"(?:(?:base_model|model|module|_orig_mod|_fsdp_wrapped_module)\.)*")
# ... and those in which it keeps a layer.
_INSIDE = (
    *("base_layer", "token_adapter"),
    *("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
)
_TRAINED = (
    *("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"),
    *("ia3_l", "trainable_tokens_delta"),
)
BIAS = "lora_B.bias"


@dataclass
class Module:
    """What an adapter holds for one module of the model.

    Attributes:
        name: the module's, without the prefix `transformer.`.
        spelled: its name in the base model, which patterns match.
        trained: the adapter's own tensors, by names such as lora_A; BIAS is that of lora_B.
        replaced: tensors in place of the module's own: weight, bias.
    """

    name: str
    spelled: str
    trained: dict[str, StoredTensor] = field(default_factory=dict)
    replaced: dict[str, StoredTensor] = field(default_factory=dict)


def adapter_file(directory: Path) -> Path:
    """Return the file that holds an adapter's tensors; raises ModelFileError if it is missing."""
    for name in ADAPTER_FILES:
        if (directory / name).is_file():
            return directory / name
    raise ModelFileError(
        f"{directory} holds no weights of an adapter: fetch {' or '.join(ADAPTER_FILES)}"
    )


def read_modules(path: Path) -> dict[str, Module]:
    """Return what an adapter's file holds, by the modules' names.

    Raises:
        ModelFileError: the file is damaged, holds a number that is not finite, or two adapters.
    """
    refuse_other_contents(path)
    stored = ADAPTER_FILES[path.name](path)
    modules: dict[str, Module] = {}
    for name, tensor in stored.items():
        _check_numbers(path, name, tensor)
        _sort(path, name, tensor, modules)
    return modules


def _check_numbers(path: Path, name: str, tensor: StoredTensor) -> None:
    if tensor.dtype.kind in "biu":
        raise ModelFileError(
            f"{path}: {shown(name)} holds {tensor.dtype.name} numbers; floating-point ones are "
            "allowed: save the adapter without quantization"
        )
    if not tensor.shape or tensor.nbytes == 0:
        raise ModelFileError(
            f"{path}: {shown(name)} has shape {list(tensor.shape)}; save the adapter again"
        )
    for rows in tensor.row_blocks():
        if not np.isfinite(rows.astype(np.float32)).all():
            raise ModelFileError(
                f"{path}: {shown(name)} holds numbers that are not finite: the training has "
                "diverged, or the file is damaged"
            )


def _sort(path: Path, name: str, tensor: StoredTensor, modules: dict[str, Module]) -> None:
    """Put a tensor where it belongs among the modules."""
    parts = name[_matched_length(name) :].split(".")
    if "original_module" in parts:  # what modules_to_save replaces
        return
    if "modules_to_save" in parts:
        at = parts.index("modules_to_save")
        if at == len(parts) - 2:  # lm_head.modules_to_save.weight repeats lm_head.weight
            return
        del parts[at : at + 2]  # files of old versions have the adapter's name after it
    parts = [part for part in parts if part not in _INSIDE]
    trained = next((at for at, part in enumerate(parts) if part in _TRAINED), None)
    spelled = ".".join(parts[: -1 if trained is None else trained])
    if MASK_BUFFER.fullmatch(".".join(parts).removeprefix(PREFIX)):
        return
    module = modules.setdefault(
        spelled.removeprefix(PREFIX), Module(spelled.removeprefix(PREFIX), spelled)
    )
    if trained is None:
        target, key = module.replaced, parts[-1]
    else:
        # The adapter's name may follow: lora_A.default.weight.
        target, key = module.trained, BIAS if parts[trained:][-1] == "bias" else parts[trained]
    if key in target:
        raise ModelFileError(
            f"{path}: {shown(target[key].name)} and {shown(name)} are of two adapters; save one "
            "of them alone"
        )
    target[key] = tensor


def _matched_length(name: str) -> int:
    match = _OUTSIDE.match(name)
    return match.end() if match else 0
