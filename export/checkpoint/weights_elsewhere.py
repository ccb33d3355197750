"""Finds weights in another place, or under another name, than from_pretrained looks for.

Training frameworks leave them so. No weights are read: a line says how to come to a checkpoint.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.manifest import CONFIG_FILE, MANIFEST_FILE

# By the names of files and folders in the directory: what it is, and the way out.
_FRAMEWORKS = (
    (
        r"global_step\d+|layer_\d+-model_\d+-model_states\.pt|.*mp_rank_\d+_model_states\.pt",
        "a checkpoint of DeepSpeed; run the zero_to_fp32.py that DeepSpeed saves beside it, or "
        "GPT-NeoX's conversion to Hugging Face, and export what that writes",
    ),
    (
        r"pytorch_model_fsdp_\d+|__\d+_\d+\.distcp",
        "shards of FSDP; join them with `accelerate merge-weights`, and export what that writes",
    ),
    (
        r"latest_checkpointed_iteration\.txt|iter_\d+|mp_rank_\d+(_\d+)?",
        "a checkpoint of Megatron; convert it to Hugging Face's layout, and export that",
    ),
    (
        r"checkpoint_metadata\.json",
        "a checkpoint of nanotron; convert it to Hugging Face's layout, and export that",
    ),
)
_SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
_TRAINER_FOLDER = re.compile(r"checkpoint-(\d{1,18})")
_WEIGHTS = re.compile(r".+\.(safetensors|bin|pt|pth|ckpt|msgpack)")
# What training leaves beside weights.
_STATES = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|training_args|random_states|sampler).*"
)
_FILES = ("model.safetensors", "pytorch_model.bin", "flax_model.msgpack")
_KNOWN = (*_FILES, *(f"{name}.index.json" for name in _FILES))
_MOST_ENTRIES = 10_000


def describe_weights_elsewhere(directory: Path) -> str | None:
    """Return where the weights of a directory seem to be, and what to do; None for no idea."""
    entries = sorted(_entries(directory))
    names = [path.name for path in entries]
    if MANIFEST_FILE in names:
        return (
            f"{directory} is an export, not a checkpoint: `gptneo-onnx generate` takes it as it is"
        )
    for pattern, what in _FRAMEWORKS:
        if any(re.fullmatch(pattern, name) for name in names):
            return f"{directory} holds {what}"
    for name in names:
        if shard := _SHARD.fullmatch(name):
            index = f"{shard[1]}.{shard[2]}.index.json"
            return f"{directory} holds {shown(name)}, but not {index}, which names all: fetch it"
    return _of_folders(directory, entries) or _under_another_name(directory, names)


def missing_config(directory: Path) -> ModelFileError:
    """Return the error for a directory without config.json."""
    found = describe_weights_elsewhere(directory)
    if found is None or CONFIG_FILE in found:
        found = f"{directory / CONFIG_FILE} is missing: copy that of the model that was trained"
    return ModelFileError(found)


def _entries(directory: Path) -> Iterator[Path]:
    for number, path in enumerate(directory.iterdir()):
        if number == _MOST_ENTRIES:
            return
        yield path


def _of_folders(directory: Path, entries: list[Path]) -> str | None:
    """Return the folder to export: the last that a Trainer wrote, else the first with weights."""
    folders = [path for path in entries if path.is_dir() and _holds_weights(path)]
    if not folders:
        return None
    chosen = max(folders, key=lambda path: _steps(path.name))
    return f"{directory} holds no weights, but its folder {shown(chosen.name)} does: export that"


def _steps(name: str) -> int:
    match = _TRAINER_FOLDER.fullmatch(name)
    return int(match[1]) if match else -1


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _KNOWN)


def _under_another_name(directory: Path, names: list[str]) -> str | None:
    for name in names:
        if _WEIGHTS.fullmatch(name) and not _STATES.fullmatch(name) and name not in _KNOWN:
            known = "model.safetensors" if name.endswith(".safetensors") else "pytorch_model.bin"
            return (
                f"{directory} holds {shown(name)}: if those are the model's weights, rename it to "
                f"{known}, beside {CONFIG_FILE}"
            )
    return None


def not_a_directory(checkpoint: str) -> str | None:
    """Return what to do with a file that is passed as a checkpoint; None for no idea."""
    if re.search(r"\.(tar|tgz|tar\.\w+|zip)$", checkpoint):
        return "is an archive: unpack it, and pass the directory"
    if _WEIGHTS.fullmatch(Path(checkpoint).name):
        return (
            f"is a file: pass the directory with it and {CONFIG_FILE}, in which it is named as "
            "save_pretrained names weights (model.safetensors, pytorch_model.bin)"
        )
    return None
