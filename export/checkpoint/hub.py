"""Fetches a checkpoint that is named by a Hugging Face hub id."""

import os
from pathlib import Path
from typing import Any

from gptneo_onnx.export.checkpoint.adapters.adapter_tensors import ADAPTER_FILES
from gptneo_onnx.export.checkpoint.weight_files import WEIGHT_FILES, find_weights, has_weights
from gptneo_onnx.export.checkpoint.weights_elsewhere import not_a_directory
from gptneo_onnx.models.errors import (
    InputError,
    MissingDependencyError,
    ModelFileError,
    shown,
)
from gptneo_onnx.models.hub_cache import cached_snapshot, hub_cache_folder, is_commit, is_hub_id
from gptneo_onnx.models.manifest import CONFIG_FILE

_SMALL_FILES = ["*.json", "merges.txt", "*.jinja"]
_ALTERNATIVE = (
    "pass a directory that holds config.json and model.safetensors (or pytorch_model.bin)"
)
_ADAPTER = "pass a directory that holds adapter_config.json and adapter_model.safetensors"
_TOKENIZER = "pass a directory that holds tokenizer.json (or vocab.json and merges.txt)"


def local_checkpoint(
    checkpoint: str | Path,
    revision: str | None = None,
    variant: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    subfolder: str = "",
    force_download: bool = False,
) -> Path:
    """Return the directory of a checkpoint: the path itself, or where a hub id's files are cached.

    Files that are not in the cache yet are fetched: safetensors if there are any, else PyTorch's,
    else Flax's. Where they cannot be fetched, the cache's are taken if they are whole.

    Args:
        checkpoint: a directory, or a hub id.
        revision: the branch, tag or commit of a hub id.
        variant: of the weight files.
        cache_dir: the folder of the cache; None for the user's.
        local_files_only: whether nothing is fetched.
        token: for a private repository; None takes the one that is stored on this machine.
        subfolder: the folder of a hub id that has the checkpoint.
        force_download: whether to fetch what the cache has.

    Raises:
        InputError: neither an existing directory nor a hub id that can be fetched.
        MissingDependencyError: it is a hub id, and huggingface_hub is not installed.
    """
    path = Path(checkpoint)
    # os.path because Path's methods raise for names that are too long.
    if os.path.isdir(path):  # noqa: PTH112
        return path
    if os.path.isfile(path) and (advice := not_a_directory(str(checkpoint))):  # noqa: PTH113
        raise InputError(f"{shown(str(checkpoint))} {advice}")
    name = str(checkpoint)
    if os.path.lexists(path) or not is_hub_id(name, with_owner=True):
        raise InputError(f"{shown(name)} is not a directory; {_ALTERNATIVE}, or a hub id")
    cached = _whole_snapshot(name, revision, variant, cache_dir, subfolder)
    if local_files_only and cached is None:
        raise InputError(
            f"the weights of {name} are not in the cache {cache_dir or hub_cache_folder()}, and "
            f"nothing is fetched (local_files_only, HF_HUB_OFFLINE); {_ALTERNATIVE}, or fetch them "
            "without these"
        )
    if cached and (local_files_only or (is_commit(revision) and not force_download)):
        return cached
    given = {"cache_dir": cache_dir, "force_download": force_download, "token": token}
    options = {name: value for name, value in given.items() if value}
    try:
        return _fetch(name, revision, variant, options, subfolder)
    except (InputError, MissingDependencyError):
        if cached is None:
            raise
        return cached


def _whole_snapshot(
    hub_id: str,
    revision: str | None,
    variant: str | None,
    cache_dir: str | Path | None,
    subfolder: str,
) -> Path | None:
    """Return a hub id's directory in the cache if it has a config and all weights, else None."""
    snapshot = cached_snapshot(hub_id, revision, cache_dir)
    if snapshot is None or not (snapshot / subfolder / CONFIG_FILE).is_file():
        return None
    try:
        find_weights(snapshot / subfolder, variant)
    except ModelFileError:
        return None
    return snapshot / subfolder


def _fetch(
    hub_id: str,
    revision: str | None,
    variant: str | None,
    options: dict[str, Any],
    subfolder: str,
) -> Path:
    folder = f"{subfolder.strip('/')}/" if subfolder else ""
    for file_name in WEIGHT_FILES:
        names = (*_SMALL_FILES, _pattern(file_name, variant))
        patterns = [f"{folder}{name}" for name in names]
        path = _download(hub_id, revision, patterns, _ALTERNATIVE, **options) / subfolder
        if has_weights(path, file_name, variant):
            break
    return path


def local_tokenizer(tokenizer: str | Path, revision: str | None = None) -> Path:
    """Return the directory of a tokenizer: the path itself, or where a hub id's files are cached.

    Raises:
        InputError: neither an existing directory nor a hub id that can be fetched.
        MissingDependencyError: it is a hub id, and huggingface_hub is not installed.
    """
    # os.path because Path's methods raise for names that are too long.
    if os.path.isdir(tokenizer):  # noqa: PTH112
        return Path(tokenizer)
    if os.path.lexists(tokenizer) or not is_hub_id(str(tokenizer)):
        raise InputError(
            f"tokenizer is {shown(str(tokenizer))}, which is not a directory; {_TOKENIZER}, or a "
            "hub id"
        )
    return _download(str(tokenizer), revision, _SMALL_FILES, _TOKENIZER)


def local_adapter(adapter: str | Path) -> Path:
    """Return the directory of an adapter: the path itself, or where a hub id's files are cached.

    Raises:
        InputError: neither an existing directory nor a hub id that can be fetched.
        MissingDependencyError: it is a hub id, and huggingface_hub is not installed.
    """
    # os.path because Path's methods raise for names that are too long.
    if os.path.isdir(adapter):  # noqa: PTH112
        return Path(adapter)
    if os.path.lexists(adapter) or not is_hub_id(str(adapter), with_owner=True):
        raise InputError(
            f"adapter is {shown(str(adapter))}, which is not a directory; {_ADAPTER}, or a hub id"
        )
    for file_name in ADAPTER_FILES:
        path = _download(str(adapter), None, [*_SMALL_FILES, file_name], _ADAPTER)
        if (path / file_name).is_file():
            break
    return path


def _download(
    hub_id: str, revision: str | None, patterns: list[str], alternative: str, **options: Any
) -> Path:
    """Return where a hub id's files of these patterns are cached, fetched if they are not."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            "fetching from the hub needs huggingface_hub: pip install 'gptneo-onnx[export]'"
        ) from error
    try:
        found = snapshot_download(hub_id, revision=revision, allow_patterns=patterns, **options)
        return Path(found)
    except Exception as error:  # the hub's client raises whatever its HTTP library raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{hub_id} cannot be fetched from the hub ({reason}); {alternative} instead"
        ) from error


def _pattern(file_name: str, variant: str | None) -> str:
    """Return a pattern of a weight file's name and its shards', which an index may name freely.

    Shards of a variant are named model.fp16-00001-of-00002.safetensors, and by older versions of
    transformers model-00001-of-00002.fp16.safetensors.
    """
    stem, _, suffix = file_name.rpartition(".")
    stem = "" if suffix == "safetensors" else stem
    return f"{stem}*.{suffix}" if variant is None else f"{stem}*.{variant}*{suffix}"
