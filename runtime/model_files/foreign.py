"""Find the graphs of a directory that another exporter wrote, by their file names."""

import re
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.manifest import GRAPH_FILE

# transformers.js keeps graphs in this folder, one for each of its dtypes.
FOLDER = "onnx"
_MERGED = "decoder_model_merged.onnx"
_WITHOUT_PAST = "decoder_model.onnx"
_WITH_PAST = "decoder_with_past_model.onnx"
# Optimum wrote these beside each other for one model, before it wrote only model.onnx.
_OPTIMUM_FILES = (_MERGED, _WITHOUT_PAST, _WITH_PAST)
_FILE_NAME = re.compile(rf"({FOLDER}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{{0,199}}\.onnx")


@dataclass(frozen=True)
class ForeignGraphs:
    """The names of a model's graphs, relative to its directory.

    Attributes:
        first: the graph that begins a sequence.
        with_past: the graph that continues it, if `first` cannot.
    """

    first: str
    with_past: str | None = None


def find_graphs(directory: Path, file_name: str | None = None) -> ForeignGraphs | None:
    """Return the graphs of a directory without a manifest, or None if it has none at all.

    Args:
        directory: the model's directory.
        file_name: the graph to take, as optimum.onnxruntime's file_name; it may be in FOLDER.

    Raises:
        InputError: no graph has that name.
        ModelFileError: there are several models, or half of one.
    """
    graphs = [*_graphs_in(directory, ""), *_graphs_in(directory, f"{FOLDER}/")]
    if file_name is not None:
        if not _FILE_NAME.fullmatch(file_name) or file_name not in graphs:
            raise InputError(
                f"file_name is {shown(file_name)}; {directory} has {', '.join(graphs) or 'none'}"
            )
        return ForeignGraphs(file_name)
    for folder in ("", f"{FOLDER}/"):
        in_folder = [name for name in graphs if name.rpartition("/")[0] == folder.rstrip("/")]
        if in_folder:
            if not folder:  # FOLDER has one model in several data types
                _check_one_model(directory, graphs)
            return _choose(directory, folder, in_folder)
    return None


def _graphs_in(directory: Path, folder: str) -> list[str]:
    return sorted(f"{folder}{path.name}" for path in (directory / folder).glob("*.onnx"))


def _check_one_model(directory: Path, graphs: list[str]) -> None:
    if len(graphs) > 1 and not set(graphs) <= set(_OPTIMUM_FILES):
        raise ModelFileError(
            f"{directory} holds several graphs: {', '.join(graphs)}; say which with file_name, "
            "or move the others away"
        )


def _choose(directory: Path, folder: str, graphs: list[str]) -> ForeignGraphs:
    for complete in (f"{folder}{GRAPH_FILE}", f"{folder}{_MERGED}"):
        if complete in graphs:
            return ForeignGraphs(complete)
    first, with_past = f"{folder}{_WITHOUT_PAST}", f"{folder}{_WITH_PAST}"
    if first in graphs:
        return ForeignGraphs(first, with_past if with_past in graphs else None)
    if with_past in graphs:
        raise ModelFileError(
            f"{directory} has {with_past}, but no {_WITHOUT_PAST} to begin with; fetch it as well"
        )
    if len(graphs) > 1:
        raise ModelFileError(
            f"{directory} has no {folder}{GRAPH_FILE}, but {', '.join(graphs)}; "
            "say which with file_name"
        )
    return ForeignGraphs(graphs[0])
