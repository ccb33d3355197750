"""What a model's name leads to: an exported directory, or a checkpoint that can be exported."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.hub_cache import cached_snapshot, hub_cache_folder, is_hub_id
from gptneo_onnx.models.manifest import CONFIG_FILE, MANIFEST_FILE
from gptneo_onnx.runtime.hub import HubArguments, model_snapshot
from gptneo_onnx.runtime.model_files.foreign import FOLDER as FOREIGN_FOLDER

# The files of a checkpoint's directory that an export may depend on.
_SUFFIXES = (".json", ".txt", ".jinja", ".safetensors", ".bin", ".msgpack")
_FOLDERS = ("", "additional_chat_templates")
_PUBLISHED = ("EleutherAI/gpt-neo-125m", "EleutherAI/gpt-neo-1.3B", "EleutherAI/gpt-neo-2.7B")
_MOST_NAMES = 1000


class SourceArguments(TypedDict, total=False):
    """Arguments of from_pretrained() that say which files of a checkpoint are taken.

    The names and meanings are those of transformers and of optimum.onnxruntime.

    Attributes:
        export: whether a checkpoint is exported; None: where there is no graph. False never does,
            True takes the checkpoint of a directory that has graphs too.
        variant: of the weight files: fp16 for model.fp16.safetensors.
        revision, cache_dir, local_files_only, subfolder, token, force_download: for a hub id; see
            HubArguments.
        use_fast, trust_remote_code: change nothing.
    """

    export: bool | None
    variant: str | None
    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    subfolder: str | None
    token: str | bool | None
    force_download: bool
    use_fast: bool
    trust_remote_code: bool | None


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint that was found.

    Attributes:
        label: what the caller called it: a hub id, or the directory's path.
        directory: has its config.json; weights of a hub id may not be fetched yet.
        hub: how a hub id was looked up; None for a directory.
        commit: of a hub id.
    """

    label: str
    directory: Path
    hub: HubArguments | None = None
    commit: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What the checkpoint is, and in which state, for JSON."""
        if self.hub is None:
            return folder_identity(self.directory)
        return {
            "hub_id": self.label,
            "commit": self.commit,
            "subfolder": self.hub.subfolder or "",
            "revision": self.hub.revision,
            "cache_dir": None if self.hub.cache_dir is None else str(self.hub.cache_dir),
        }


def hub_arguments(arguments: Mapping[str, Any]) -> HubArguments:
    """Return those of SourceArguments that are for the hub.

    Raises:
        TypeError: from_pretrained() has no argument of a name.
    """
    for name in arguments:
        if name not in SourceArguments.__annotations__:
            raise TypeError(f"from_pretrained() got an unexpected keyword argument {name!r}")
    names = [field.name for field in fields(HubArguments)]
    return HubArguments(**{name: arguments[name] for name in names if name in arguments})


def find_source(
    model: str | Path, export: bool | None, hub: HubArguments
) -> "CheckpointSource | Path":
    """Return the checkpoint that a name leads to, or a directory that is loaded as it is.

    A directory without a config.json is loaded as it is, too: the runtime says what it lacks.

    Raises:
        InputError: the name leads nowhere.
        MissingDependencyError: a hub id must be fetched, and huggingface_hub is not installed.
    """
    if not isinstance(model, str | os.PathLike):
        raise InputError(
            f"the model is of type {type(model).__name__}; an exported directory, a checkpoint's, "
            "or a hub id is expected"
        )
    name = model if isinstance(model, str) else Path(model).as_posix()
    subfolder = hub.subfolder or ""
    # os.path because Path's methods raise for names that are too long.
    if os.path.isdir(model):  # noqa: PTH112
        directory = Path(model) / subfolder
        return CheckpointSource(name, directory) if _is_exported(directory, export) else directory
    if os.path.isfile(model):  # noqa: PTH113
        raise InputError(
            f"{shown(name)} is a file; name the directory that it is in, and a graph of it by "
            "--file-name (file_name=)"
        )
    is_cached = is_hub_id(name) and cached_snapshot(name, hub.revision, hub.cache_dir) is not None
    if os.path.lexists(model) or not (is_cached or is_hub_id(name, with_owner=True)):
        raise InputError(
            f"{shown(name)} is neither a directory nor a hub id (OWNER/NAME){meant(name)}; name "
            "an exported model, a checkpoint's directory or a hub id"
        )
    try:
        snapshot = model_snapshot(name, hub)
    except InputError as error:
        raise InputError(f"{error}{meant(name)}") from error
    directory = snapshot / subfolder
    if not _is_exported(directory, export):
        return directory
    return CheckpointSource(name, directory, hub, snapshot.name)


def _is_exported(directory: Path, export: bool | None) -> bool:
    """Return whether a directory is a checkpoint that an export is made of."""
    if export is False or not (directory / CONFIG_FILE).is_file():
        return False
    return export is True or not has_graphs(directory)


def has_graphs(directory: Path) -> bool:
    """Return whether a directory is an export, of this project or another one."""
    folders = (directory, directory / FOREIGN_FOLDER)
    return (directory / MANIFEST_FILE).exists() or any(
        any(folder.glob("*.onnx")) for folder in folders
    )


def folder_identity(directory: Path) -> dict[str, Any]:
    """Return a directory's real path, and the sizes and times of the files that matter."""
    files = {}
    for folder in _FOLDERS:
        path = directory / folder
        for file in sorted(path.iterdir()) if path.is_dir() else []:
            if file.suffix in _SUFFIXES and file.is_file():
                status = file.stat()
                name = file.relative_to(directory).as_posix()
                files[name] = [status.st_size, status.st_mtime_ns]
    return {"folder": str(directory.resolve()), "files": files}


def meant(name: str) -> str:
    """Return a question that names what a mistyped name comes closest to, or nothing."""
    close = _close_directory(name) or _close_hub_id(name)
    return f" (did you mean {close}?)" if close else ""


def _close_directory(name: str) -> str | None:
    """Return a model's directory beside the one that was named, if its name is similar."""
    path = Path(name)
    try:
        names = [
            each.name
            for each, _ in zip(path.parent.iterdir(), range(_MOST_NAMES), strict=False)
            if (each / CONFIG_FILE).is_file()
        ]
    except (OSError, ValueError):
        return None
    matches = get_close_matches(path.name, names, n=1)
    return str(path.parent / matches[0]) if matches else None


def _close_hub_id(name: str) -> str | None:
    """Return a published hub id, or one in the cache, whose name is similar."""
    folder = hub_cache_folder()
    try:
        cached = [
            path.name.removeprefix("models--").replace("--", "/", 1)
            for path, _ in zip(folder.glob("models--*"), range(_MOST_NAMES), strict=False)
        ]
    except OSError:
        cached = []
    known = [*cached, *_PUBLISHED]
    for each in known:
        if each.rpartition("/")[2].lower() == name.lower():
            return each
    matches = [] if name in known else get_close_matches(name, known, n=1, cutoff=0.8)
    return matches[0] if matches else None
