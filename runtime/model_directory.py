"""Opening an exported directory: everything is checked before a session is made."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.graph import GraphContract, fused_contract
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    FileRecord,
    Manifest,
)
from gptneo_onnx.runtime.device import check_onnx_runtime
from gptneo_onnx.runtime.graph_check import check_graph
from gptneo_onnx.runtime.verified_files import FileVerification

# What hubs and people add to a folder; never read.
_IGNORED = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md")


@dataclass(frozen=True)
class ModelDirectory:
    """An exported directory whose files are as its manifest says.

    `verification` may still be hashing the weights: `finish()` it before trusting a result.
    """

    path: Path
    manifest: Manifest
    config: GPTNeoConfig
    contract: GraphContract
    verification: FileVerification

    @property
    def graph(self) -> Path:
        return self.path / GRAPH_FILE

    @property
    def fingerprint(self) -> str:
        """Of graph and weights: what one export computes, another may not."""
        return "-".join(self.manifest.files[name].sha256 for name in (GRAPH_FILE, WEIGHTS_FILE))


def open_model_directory(directory: str | Path) -> ModelDirectory:
    """Open and check an exported directory.

    Raises:
        InputError: there is no such directory, or it holds a checkpoint that was not exported.
        ModelFileError: a file is missing, unlisted, changed or not as we write it.
        MissingDependencyError: the model needs a newer ONNX Runtime.
    """
    path = Path(directory)
    _check_is_exported(path, directory)
    _check_place(path, MANIFEST_FILE)
    manifest = Manifest.read(path)
    if manifest.graph != "fused":
        raise ModelFileError(
            f"{path}: its {GRAPH_FILE} is a {manifest.graph} graph, for other stacks; export with "
            f"--graph fused,{manifest.graph} for this runtime and for them"
        )
    check_onnx_runtime(manifest.least_onnx_runtime)
    _check_files(path, manifest)
    _verify_small_files(path, manifest)
    config = GPTNeoConfig.from_file(path / CONFIG_FILE)
    contract = fused_contract(config, manifest.numbers)
    check_graph(path / GRAPH_FILE, contract)
    weights = {name: manifest.files[name] for name in (WEIGHTS_FILE,)}
    return ModelDirectory(path, manifest, config, contract, FileVerification(path, weights))


def _check_is_exported(path: Path, given: str | Path) -> None:
    if not is_directory(path):
        raise InputError(
            f"{given} is not a directory; a checkpoint or hub id must be exported first: "
            f"gptneo-onnx export {given} OUT"
        )
    if not (path / MANIFEST_FILE).exists() and (path / CONFIG_FILE).is_file():
        raise InputError(
            f"{given} is a checkpoint; export it first: gptneo-onnx export {given} OUT"
        )
    if not (path / MANIFEST_FILE).exists():
        raise InputError(
            f"{given} is not an exported model: it has no {MANIFEST_FILE}; "
            "make one with: gptneo-onnx export CHECKPOINT OUT"
        )


def is_directory(path: str | Path) -> bool:
    """Path.is_dir(), which raises OSError for what is too long to be a path, as prompts may be."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def _check_files(path: Path, manifest: Manifest) -> None:
    for name in (GRAPH_FILE, WEIGHTS_FILE, CONFIG_FILE):
        if name not in manifest.files:
            raise ModelFileError(
                f"{path / MANIFEST_FILE} does not list {name}; export the checkpoint again"
            )
    for name, record in manifest.files.items():
        _check_size(path / name, _check_place(path, name), record)
    for found in path.iterdir():
        name = found.name
        if name in manifest.files or name == MANIFEST_FILE or name in _IGNORED or name[0] == ".":
            continue
        raise ModelFileError(f"{found} is not listed in {MANIFEST_FILE}; remove it")


def _check_place(directory: Path, name: str) -> os.stat_result:
    """The file's status, if it is a regular file and nowhere but in the directory."""
    path = directory / name
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f"{path} is missing; fetch or export the model again") from error
    if path.is_symlink() and not any(map(resolved.is_relative_to, _homes(directory.resolve()))):
        raise ModelFileError(f"{path} links out of its directory; copy the file instead")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file; fetch or export the model again")
    if status.st_nlink > 1:
        raise ModelFileError(f"{path} has another hard link elsewhere; copy the file instead")
    return status


def _homes(directory: Path) -> list[Path]:
    """Where links may lead: a snapshot in Hugging Face's cache links to the blobs beside it."""
    if directory.parent.name == "snapshots":
        return [directory, directory.parent.parent / "blobs"]
    return [directory]


def _check_size(path: Path, status: os.stat_result, record: FileRecord) -> None:
    if status.st_size != record.size:
        raise ModelFileError(
            f"{path} has {status.st_size} bytes, {MANIFEST_FILE} says {record.size}; "
            "fetch or export the model again"
        )


def _verify_small_files(path: Path, manifest: Manifest) -> None:
    """All that is read before the weights: what it says decides how the rest is checked."""
    small = {name: record for name, record in manifest.files.items() if name != WEIGHTS_FILE}
    FileVerification(path, small).finish()
