"""Finding the graph of a directory that another exporter wrote, by the names of its files."""

import re
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.manifest import GRAPH_FILE

# transformers.js keeps graphs in a folder of their own, one for each of its dtypes.
FOLDER = "onnx"
_MERGED = "decoder_model_merged.onnx"
_WITHOUT_PAST = "decoder_model.onnx"
_WITH_PAST = "decoder_with_past_model.onnx"
# What Optimum wrote side by side for one model, before it wrote model.onnx alone.
_OF_ONE_MODEL = (_MERGED, _WITHOUT_PAST, _WITH_PAST)
_FILE_NAME = re.compile(rf"({FOLDER}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{{0,199}}\.onnx")


@dataclass(frozen=True)
class ForeignGraphs:
    """The graph that begins a sequence, and the one that goes on with it if that is another.

    Names are relative to the model's directory.
    """

    first: str
    with_past: str | None = None


def find_graphs(directory: Path, file_name: str | None = None) -> ForeignGraphs | None:
    """The graph of a directory without a manifest, or None if there is none at all.

    Args:
        directory: the model's.
        file_name: which graph to take, as optimum.onnxruntime's file_name; also in FOLDER.

    Raises:
        InputError: no graph has that name.
        ModelFileError: several models are there, or half of one.
    """
    found = [*_graphs_in(directory, ""), *_graphs_in(directory, f"{FOLDER}/")]
    if file_name is not None:
        if not _FILE_NAME.fullmatch(file_name) or file_name not in found:
            raise InputError(
                f"file_name is {shown(file_name)}; {directory} has {', '.join(found) or 'none'}"
            )
        return ForeignGraphs(file_name)
    for folder in ("", f"{FOLDER}/"):
        own = [name for name in found if name.rpartition("/")[0] == folder.rstrip("/")]
        if own:
            _check_one_model(directory, found if not folder else own[:1])
            return _chosen(directory, folder, own)
    return None


def _graphs_in(directory: Path, folder: str) -> list[str]:
    return sorted(f"{folder}{path.name}" for path in (directory / folder).glob("*.onnx"))


def _check_one_model(directory: Path, found: list[str]) -> None:
    """Beside each other, as nobody says which is meant; in FOLDER they are one in several types."""
    if len(found) > 1 and not set(found) <= set(_OF_ONE_MODEL):
        raise ModelFileError(
            f"{directory} holds several graphs: {', '.join(found)}; say which with file_name, "
            "or move the others away"
        )


def _chosen(directory: Path, folder: str, found: list[str]) -> ForeignGraphs:
    for whole in (f"{folder}{GRAPH_FILE}", f"{folder}{_MERGED}"):
        if whole in found:
            return ForeignGraphs(whole)
    first, with_past = f"{folder}{_WITHOUT_PAST}", f"{folder}{_WITH_PAST}"
    if first in found:
        return ForeignGraphs(first, with_past if with_past in found else None)
    if with_past in found:
        raise ModelFileError(
            f"{directory} has {with_past}, but no {_WITHOUT_PAST} to begin with; fetch it as well"
        )
    if len(found) > 1:
        raise ModelFileError(
            f"{directory} has no {folder}{GRAPH_FILE}, but {', '.join(found)}; "
            "say which with file_name"
        )
    return ForeignGraphs(found[0])
