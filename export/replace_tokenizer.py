"""Gives an export that exists a tokenizer, without reading its weights."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gptneo_onnx.export.output_directory import write_error
from gptneo_onnx.export.replace_directory import replace_directory
from gptneo_onnx.export.tokenizer_files import (
    check_fits,
    tokenizer_source,
    write_tokenizer,
)
from gptneo_onnx.models.chat_template import CHAT_TEMPLATE_FOLDER
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ExportError, InputError, shown
from gptneo_onnx.models.interruption import half_written
from gptneo_onnx.models.manifest import (
    CONFIG_FILE,
    MANIFEST_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    FileRecord,
    Manifest,
    sha256_of,
)
from gptneo_onnx.models.staging import remove_leftovers, staging_directory
from gptneo_onnx.models.tokenizer_files import READ_FILES

_WRITTEN = (TOKENIZER_CONFIG_FILE, TOKENIZER_FILE)


def set_tokenizer(
    export_directory: str | Path,
    tokenizer: Any,
    *,
    revision: str | None = None,
    dry_run: bool = False,
    report: Callable[[str], object] | None = None,
) -> str:
    """Write a tokenizer into an export: the files that export_model(tokenizer=...) writes.

    An export with a manifest is replaced in one step by a directory whose other files are hard
    links, so that it is whole at every moment. In one without (layout transformers.js, exports of
    Optimum), tokenizer.json is taken away first and appears last: whoever looks meanwhile finds a
    model without a tokenizer, never parts of two.

    Args:
        export_directory: what export_model() or another exporter wrote.
        tokenizer: whatever export_model(tokenizer=...) takes.
        revision: the branch, tag or commit of a hub id.
        dry_run: check everything, and write nothing.
        report: called with each line worth telling the user.

    Returns:
        What the tokenizer was read from: a directory, most often.

    Raises:
        InputError: there is no such export or tokenizer, or the tokenizer has ids that the model
            has not.
        MissingDependencyError: a hub id, and huggingface_hub is not installed.
        ModelFileError: the export's config.json or manifest is damaged, or the tokenizer's files.
        ExportError: the export cannot be written; it is as it was.
    """
    out = _export_at(export_directory)
    if not dry_run:
        for leftover in remove_leftovers(out.parent):
            if report is not None:
                report(str(leftover))
    manifest = Manifest.read(out) if (out / MANIFEST_FILE).exists() else None
    vocab_size = GPTNeoConfig.from_file(out / CONFIG_FILE).vocab_size
    with tokenizer_source(tokenizer, revision) as source, tempfile.TemporaryDirectory() as name:
        written = Path(name)
        made = write_tokenizer(source.directory, written, report)
        assert made is not None
        check_fits(made, source, vocab_size)
        if not dry_run:
            _replace(written, out, manifest)
        return source.name


def _replace(written: Path, out: Path, manifest: Manifest | None) -> None:
    try:
        if manifest is None:
            _replace_files(written, out)
        else:
            _replace_directory(written, out, manifest)
    except ExportError:
        raise
    except OSError as error:
        raise write_error(out, error) from error


def _export_at(directory: str | Path) -> Path:
    """Return the path of an export, with links resolved."""
    # os.path because Path's methods raise for names that are too long.
    if not os.path.isdir(directory):  # noqa: PTH112
        raise InputError(
            f"{shown(str(directory))} is not a directory; name an exported model, as "
            "`gptneo-onnx export CHECKPOINT OUT` makes"
        )
    out = Path(directory).resolve()
    if not any((*out.glob("*.onnx"), *out.glob("onnx/*.onnx"))):
        raise InputError(
            f"{shown(str(directory))} has no graph: it is no exported model; make one with: "
            "gptneo-onnx export CHECKPOINT OUT --tokenizer TOKENIZER"
        )
    return out


def _replace_directory(written: Path, out: Path, manifest: Manifest) -> None:
    """Replace an export by one that has the new files, and links to its other ones."""
    with staging_directory(out) as new:
        _link(out, new)
        records = dict(manifest.files)
        for name in _WRITTEN:
            shutil.copyfile(written / name, new / name)
            records[name] = FileRecord((new / name).stat().st_size, sha256_of(new / name))
        replace(manifest, files=records).write(new)
        for name in (*_WRITTEN, MANIFEST_FILE):
            _flush(new / name)
        replace_directory(new, out)


def _link(out: Path, new: Path) -> None:
    """Link the files of an export that stay into another directory."""
    left_out = shutil.ignore_patterns(*_WRITTEN, MANIFEST_FILE)
    try:
        shutil.copytree(
            out, new, symlinks=True, ignore=left_out, copy_function=os.link, dirs_exist_ok=True
        )
    except shutil.Error as error:  # copytree's list of what could not be linked
        raise OSError(None, f"its files cannot be linked ({str(error)[:200]})") from error


def _replace_files(written: Path, out: Path) -> None:
    """Replace the files of a tokenizer one by one, in the order that set_tokenizer() tells."""
    copies = {name: out / f".{name}.partial" for name in _WRITTEN}
    with half_written(partial(_remove_files, [*copies.values()])):
        for name, path in copies.items():
            shutil.copyfile(written / name, path)
            _flush(path)
        for name in READ_FILES:  # the first are those without which there is no tokenizer
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / CHAT_TEMPLATE_FOLDER, ignore_errors=True)
        for name in _WRITTEN:
            copies[name].replace(out / name)


def _remove_files(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("r+b") as file:  # Windows flushes only what may be written
        os.fsync(file.fileno())
