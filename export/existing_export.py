"""Tells whether an export that is to be made is there already."""

import tempfile
from pathlib import Path
from typing import Any

from gptneo_onnx.export.arguments import ExportPlan, plan_export
from gptneo_onnx.export.exporter import open_source, task_of
from gptneo_onnx.export.fingerprint import contents_of, fingerprint
from gptneo_onnx.export.output_directory import check_replaceable
from gptneo_onnx.export.tokenizer_files import tokenizer_of_export, write_tokenizer
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.manifest import (
    MANIFEST_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    Manifest,
    sha256_of,
)


def needs_export(checkpoint: str | Path, out: str | Path, **arguments: Any) -> bool:
    """Return whether export_model() has something to do that replaces nothing.

    Where there is an export at `out`, every file of it and of the checkpoint is read once.

    Args:
        checkpoint: as export_model() takes it.
        out: the directory that it would make.
        arguments: those of plan_export().

    Returns:
        True where `out` is missing or empty; False where it has the same export: of this
        checkpoint, with these arguments, by this version, and whole.

    Raises:
        InputError: `out` holds another export, or is not an export.
        GPTNeoOnnxError: as export_model().
    """
    plan = plan_export(checkpoint, out, **arguments)
    directory = plan.out.absolute()
    check_replaceable(directory)
    if not directory.exists() or not any(directory.iterdir()):
        return True
    manifest = _manifest(directory)
    if manifest is None or not (_is_same(plan, manifest) and _is_whole(directory, manifest)):
        raise InputError(
            f"{plan.out} holds an export already, and not known to be the same: its checkpoint, "
            "options or version differ, or its files were changed; pass --force to replace it, or "
            "name another directory"
        )
    return False


def _manifest(directory: Path) -> Manifest | None:
    """Return the manifest; None if it cannot be read or is missing (transformers.js)."""
    if not (directory / MANIFEST_FILE).is_file():
        return None
    try:
        return Manifest.read(directory)
    except ModelFileError:
        return None


def _is_whole(directory: Path, manifest: Manifest) -> bool:
    return all(
        (directory / name).is_file() and sha256_of(directory / name) == record.sha256
        for name, record in manifest.files.items()
    )


def _is_same(plan: ExportPlan, manifest: Manifest) -> bool:
    """Return whether a manifest is that of the export that a plan would make.

    An export that was compared with transformers serves a plan that does not ask for it, too.
    """
    if manifest.made_from is None:
        return False
    source = open_source(plan)
    task, layers = task_of(plan, source), plan.hidden_layers(source.config.num_layers)
    with (
        tokenizer_of_export(plan.tokenizer, source) as read_from,
        tempfile.TemporaryDirectory() as name,
    ):
        contents = contents_of(plan, source, read_from.directory)
        same = {fingerprint(plan, task, layers, contents, each) for each in {True, plan.verify}}
        if manifest.made_from not in same:
            return False
        written = Path(name)
        write_tokenizer(read_from.directory, written)
        records = {path.name: sha256_of(path) for path in written.iterdir()}
    there = {name: record.sha256 for name, record in manifest.files.items()}
    names = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)
    return all(records.get(name) == there.get(name) for name in names)
