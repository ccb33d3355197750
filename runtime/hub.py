"""Finds the files of a tokenizer that is named by a directory, or by a Hugging Face hub id."""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from gptneo_onnx.models.chat_template import CHAT_TEMPLATE_FOLDER
from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.models.hub_cache import cached_snapshot, hub_cache_folder, is_hub_id
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.models.tokenizer_files import READ_FILES, has_tokenizer

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = ("1", "ON", "YES", "TRUE")
_ALTERNATIVE = "pass a directory that holds tokenizer.json (or vocab.json and merges.txt)"


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
    if hub.local_files_only or _is_offline():
        if cached is None:
            raise InputError(
                f"the tokenizer of {name} is not in the cache {hub.cache_dir or hub_cache_folder()}"
                f", and nothing is fetched (local_files_only, HF_HUB_OFFLINE); {_ALTERNATIVE}"
            )
        return cached
    if cached and _COMMIT.fullmatch(hub.revision or "") and not hub.force_download:
        return cached  # a commit never changes
    try:
        return _fetch(str(name), hub, subfolder)
    except (InputError, MissingDependencyError):
        if cached is None:
            raise
        return cached


def _is_offline() -> bool:
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def _fetch(hub_id: str, hub: HubArguments, subfolder: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"the tokenizer of {hub_id} is not in the cache, and fetching it needs "
            "huggingface_hub: pip install huggingface_hub"
        ) from error
    folder = f"{subfolder.strip('/')}/" if subfolder else ""
    files = (*READ_FILES, CONFIG_FILE, f"{CHAT_TEMPLATE_FOLDER}/*.jinja")
    try:
        fetched = snapshot_download(
            hub_id,
            revision=hub.revision,
            cache_dir=hub.cache_dir,
            token=hub.token,
            force_download=hub.force_download,
            allow_patterns=[f"{folder}{name}" for name in files],
        )
    except Exception as error:  # the hub's client raises whatever its HTTP library raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{hub_id} cannot be fetched from the hub ({reason}); {_ALTERNATIVE}"
        ) from error
    return Path(fetched) / subfolder
