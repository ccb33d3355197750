"""Recognises weights that are not read here, and says how to come to some that are."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE

ADAPTER_CONFIG = "adapter_config.json"
_BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/": (
        "is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository"
    ),
    b"GGUF": "is a GGUF file: export the Hugging Face checkpoint that it was converted from",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file of TensorFlow: save the model with PyTorch",
    b"<!DOCTYPE": "is a web page: download the file itself",
    b"<html": "is a web page: download the file itself",
}
# Tensors that only quantizing tools save beside, or in place of, a weight.
_QUANTIZED = {
    ".SCB": "bitsandbytes, 8 bits",
    ".weight_format": "bitsandbytes, 8 bits",
    ".absmax": "bitsandbytes, 4 bits",
    ".quant_map": "bitsandbytes, 4 bits",
    ".g_idx": "GPTQ",
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
}
_LONGEST_NAME = 256
_FLOAT_CHECKPOINT = "export the float checkpoint that they were made from, with --precision int4"


def refuse_other_contents(path: Path) -> None:
    """Raise ModelFileError if a weight file is recognised as something else by how it begins."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    for beginning, what in _BEGINNINGS.items():
        if start.startswith(beginning):
            raise ModelFileError(f"{path} {what}")


def refuse_quantized(path: Path, names: Iterable[str]) -> None:
    """Raise ModelFileError if a file's tensors are those of a tool that quantizes."""
    for name in names:
        for suffix, tool in _QUANTIZED.items():
            if name.endswith(suffix):
                raise ModelFileError(
                    f"{path}: its weights are quantized ({tool}: {shown(name)}); "
                    + _FLOAT_CHECKPOINT
                )


def refuse_adapter(directory: Path) -> None:
    """Raise ModelFileError if the directory holds a PEFT adapter and no model's config.json."""
    if (directory / ADAPTER_CONFIG).is_file() and not (directory / CONFIG_FILE).is_file():
        raise ModelFileError(_adapter(directory))


def unapplied(directory: Path) -> list[str]:
    """Return lines on what transformers does to a directory's weights, and an export does not."""
    lines = []
    quantization = read_json_object(directory / CONFIG_FILE).get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        lines.append(
            f"{directory}: quantization_config of config.json ({shown(method)}) is not applied: "
            "the weights are floating-point numbers, and are exported as they are"
        )
    if (directory / ADAPTER_CONFIG).is_file():
        lines.append(
            f"{directory}: the adapter of {ADAPTER_CONFIG} is not applied; the weights beside it "
            "are exported as they are; --adapter (adapter=) merges one"
        )
    return lines


def describe_other_formats(directory: Path) -> str | None:
    """Return what a directory without weights that are read here has, and what to do; or None."""
    names = sorted(path.name for path in directory.iterdir())
    if ADAPTER_CONFIG in names:
        return _adapter(directory)
    if any(name.endswith(".gguf") for name in names):
        return (
            f"{directory} holds GGUF files only; export the Hugging Face checkpoint that they were "
            "converted from"
        )
    if "zero_to_fp32.py" in names:
        return (
            f"{directory} holds DeepSpeed's ZeRO shards; run its zero_to_fp32.py, and export what "
            "that writes"
        )
    if "tf_model.h5" in names:
        return (
            f"{directory} holds TensorFlow's tf_model.h5 only, and transformers has no GPT-Neo in "
            "TensorFlow; export the checkpoint in PyTorch"
        )
    if any(name.startswith("model.ckpt") and name.endswith(".index") for name in names):
        return (
            f"{directory} holds a mesh-tensorflow checkpoint; convert it with transformers' "
            "load_tf_weights_in_gpt_neo (needs tensorflow), save_pretrained the model, and export "
            "that"
        )
    return None


def _adapter(directory: Path) -> str:
    base = read_json_object(directory / ADAPTER_CONFIG).get("base_model_name_or_path")
    is_name = isinstance(base, str) and base.isprintable() and 0 < len(base) <= _LONGEST_NAME
    name = str(base) if is_name else "BASE"
    return (
        f"{directory} holds only a PEFT adapter (of {shown(base)}); export its base model with it: "
        f"gptneo-onnx export {shlex.quote(name)} OUT --adapter {shlex.quote(str(directory))}"
    )
