"""Finds the files of a tokenizer or a model that is named by a Hugging Face hub id."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from gptneo_onnx.models.chat_template import CHAT_TEMPLATE_FOLDER
from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.models.hub_cache import (
    cached_snapshot,
    hub_cache_folder,
    is_commit,
    is_hub_id,
    is_offline,
)
from gptneo_onnx.models.manifest import CONFIG_FILE, MANIFEST_FILE
from gptneo_onnx.models.tokenizer_files import READ_FILES, has_tokenizer

_ALTERNATIVE = "pass a directory that holds tokenizer.json (or vocab.json and merges.txt)"
_A_MODEL = "pass the directory of an export or of a checkpoint"
# Files of an export of this project, and the small ones of a checkpoint.
_EXPORT_FILES = ("*.json", "*.onnx", "*.onnx_data", "*.jinja")


@dataclass(frozen=True)
class HubArguments:
    """Where in a hub the files are, by the names of transformers' from_pretrained().

    Attributes:
        revision: a branch, tag or commit; None for main.
        cache_dir: the folder of the cache; None for the user's.
        local_files_only: whether only the cache is looked at, as with HF_HUB_OFFLINE.
        subfolder: the folder that has the files.
        token: for a private repository; None takes the one that is stored on this machine.
        force_download: whether to fetch what the cache has.
        use_fast, trust_remote_code: change nothing: all tokenizers are fast, and no code is run.
    """

    revision: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    subfolder: str | None = None
    token: str | bool | None = None
    force_download: bool = False
    use_fast: bool = True
    trust_remote_code: bool | None = False


HUB_ARGUMENTS = tuple(field.name for field in fields(HubArguments))


def tokenizer_directory(name: str | Path, hub: HubArguments) -> Path:
    """Return the directory that has a tokenizer's files: a path itself, or where they are cached.

    With the network, what the cache lacks is fetched, as far as huggingface_hub is installed.

    Raises:
        InputError: neither a directory nor a hub id that can be had.
        MissingDependencyError: it is not in the cache, and huggingface_hub is not installed.
    """
    subfolder = hub.subfolder or ""
    # os.path because Path's methods raise for names that are too long.
    if os.path.isdir(name):  # noqa: PTH112
        return Path(name) / subfolder
    if os.path.lexists(name) or not is_hub_id(str(name)):
        raise InputError(
            f"tokenizer is {shown(str(name))}, which is not a directory; pass one with "
            "tokenizer.json, or with vocab.json and merges.txt, or a hub id"
        )
    snapshot = cached_snapshot(str(name), hub.revision, hub.cache_dir)
    cached = snapshot / subfolder if snapshot and has_tokenizer(snapshot / subfolder) else None
    if hub.local_files_only or is_offline():
        if cached is None:
            raise InputError(
                f"the tokenizer of {name} is not in the cache {hub.cache_dir or hub_cache_folder()}"
                f", and nothing is fetched (local_files_only, HF_HUB_OFFLINE); {_ALTERNATIVE}"
            )
        return cached
    if cached and is_commit(hub.revision) and not hub.force_download:
        return cached  # a commit never changes
    files = (*READ_FILES, CONFIG_FILE, f"{CHAT_TEMPLATE_FOLDER}/*.jinja")
    patterns = _in_folder(subfolder, files)
    try:
        subject = f"the tokenizer of {name}"
        return _fetch(str(name), hub, patterns, subject, _ALTERNATIVE) / subfolder
    except (InputError, MissingDependencyError):
        if cached is None:
            raise
        return cached


def model_snapshot(hub_id: str, hub: HubArguments) -> Path:
    """Return the directory of a model's hub id in the cache, as the hub has it now.

    It has the small files at least, and all of them if it is an export of this project. With the
    network, the hub is asked which commit the revision is. Where it does not answer, or
    huggingface_hub is not installed, the cache's will do.

    Raises:
        InputError: it is not in the cache, and cannot be fetched.
        MissingDependencyError: it is not in the cache, and huggingface_hub is not installed.
    """
    subfolder = hub.subfolder or ""
    cached = cached_snapshot(hub_id, hub.revision, hub.cache_dir)
    if cached is not None and not (cached / subfolder / CONFIG_FILE).is_file():
        cached = None
    if hub.local_files_only or is_offline():
        if cached is None:
            raise InputError(
                f"{hub_id} is neither a directory nor in the cache "
                f"{hub.cache_dir or hub_cache_folder()}, and nothing is fetched "
                f"(local_files_only, HF_HUB_OFFLINE); fetch it without them, or {_A_MODEL}"
            )
        return cached
    if cached and is_commit(hub.revision) and not hub.force_download:
        return cached
    try:
        names = _in_folder(subfolder, (CONFIG_FILE, MANIFEST_FILE))
        snapshot = _fetch(hub_id, hub, names, hub_id, _A_MODEL)
        if (snapshot / subfolder / MANIFEST_FILE).is_file():
            names = _in_folder(subfolder, _EXPORT_FILES)
            return _fetch(hub_id, hub, names, hub_id, _A_MODEL)
    except (InputError, MissingDependencyError):
        if cached is None:
            raise
        return cached
    return snapshot


def _in_folder(subfolder: str, names: Iterable[str]) -> list[str]:
    folder = f"{subfolder.strip('/')}/" if subfolder else ""
    return [f"{folder}{name}" for name in names]


def _fetch(
    hub_id: str, hub: HubArguments, patterns: list[str], subject: str, alternative: str
) -> Path:
    """Return where the files of these patterns are cached, fetched if they are not."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{subject} is not in the cache, and fetching it needs huggingface_hub: "
            "pip install huggingface_hub"
        ) from error
    try:
        fetched = snapshot_download(
            hub_id,
            revision=hub.revision,
            cache_dir=hub.cache_dir,
            token=hub.token,
            force_download=hub.force_download,
            allow_patterns=patterns,
        )
    except Exception as error:  # the hub's client raises whatever its HTTP library raises
        raise InputError(
            f"{hub_id} cannot be fetched from the hub ({_reason(error)}); {alternative}"
        ) from error
    return Path(fetched)


def _reason(error: Exception) -> str:
    """Return why the hub's client failed, in one line."""
    name = type(error).__name__
    if name == "RepositoryNotFoundError":
        return "there is no such repository, or it is private and token= is missing"
    if name == "RevisionNotFoundError":
        return "the repository has no such revision"
    return str(error).strip().partition("\n")[0] or name
