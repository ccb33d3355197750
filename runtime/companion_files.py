"""The small files beside a model's graphs may only be in the model's own directory."""

from collections.abc import Iterable
from pathlib import Path

from gptneo_onnx.models.chat_template import CHAT_TEMPLATE_FOLDER
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.manifest import CONFIG_FILE, GENERATION_CONFIG_FILE, MANIFEST_FILE
from gptneo_onnx.models.tokenizer_files import READ_FILES
from gptneo_onnx.runtime.model_files.paths import check_inside


def check_tokenizer_links(directory: Path) -> None:
    """Check the files of a tokenizer in a directory with a graph.

    A directory without a graph, as of a checkpoint or of a tokenizer alone, may have links to
    files elsewhere: people share files between checkpoints by links.

    Raises:
        ModelFileError: a file is a link to a file outside the directory.
    """
    if not _has_graph(directory):
        return
    _check(directory, (CONFIG_FILE, *READ_FILES))
    folder = directory / CHAT_TEMPLATE_FOLDER
    if folder.is_symlink() and not folder.resolve().is_relative_to(directory.resolve()):
        raise ModelFileError(f"{folder} links out of its directory; copy the folder instead")
    _check(directory, (f"{CHAT_TEMPLATE_FOLDER}/{path.name}" for path in folder.glob("*.jinja")))


def check_generation_links(directory: Path) -> None:
    """Check what generate() reads in a directory with a graph; raises as check_tokenizer_links."""
    if _has_graph(directory):
        _check(directory, (CONFIG_FILE, GENERATION_CONFIG_FILE))


def _has_graph(directory: Path) -> bool:
    return (directory / MANIFEST_FILE).exists() or any(
        path for pattern in ("*.onnx", "onnx/*.onnx") for path in directory.glob(pattern)
    )


def _check(directory: Path, names: Iterable[str]) -> None:
    hashed = (directory / MANIFEST_FILE).exists()
    for name in names:
        if (directory / name).is_file():
            check_inside(directory, name, hashed=hashed)
