"""Exports a checkpoint into the cache folder when it is loaded for the first time.

This is the door between the runtime and the exporter: from_pretrained(), pipeline() and the command
line ask it for the directory of whatever model was named.
"""

import shlex
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Unpack

from gptneo_onnx.models.embedded import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import (
    ExportError,
    InputError,
    MissingDependencyError,
    printable,
    shown,
)
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.models.hub_cache import MAIN, is_offline
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE, GRAPH_FILE, sha256_of
from gptneo_onnx.models.staging import remove_leftovers
from gptneo_onnx.models.tasks import Head, Task
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.checkpoint_source import (
    CheckpointSource,
    SourceArguments,
    find_source,
    hub_arguments,
)
from gptneo_onnx.runtime.engine.task_check import check_head
from gptneo_onnx.runtime.export_cache import CachedExport, cached_exports, exports_folder
from gptneo_onnx.runtime.hub import HubArguments

_AUTO = "auto"
# The task of a checkpoint that is exported for a head; others are read without a head of their own.
_TASKS = {
    Head.CAUSAL_LM: Task.TEXT_GENERATION_WITH_PAST,
    Head.SEQUENCE_CLASSIFICATION: Task.TEXT_CLASSIFICATION,
    Head.TOKEN_CLASSIFICATION: Task.TOKEN_CLASSIFICATION,
    Head.QUESTION_ANSWERING: Task.QUESTION_ANSWERING,
}


def exported_directory(
    model: str | Path,
    precision: str | Sequence[str] | None = None,
    heads: Collection[Head] = (),
    file_name: str | None = None,
    **source: Unpack[SourceArguments],
) -> tuple[Path, str | None]:
    """Return the exported directory of a model, and which of its precisions to load.

    A checkpoint is exported first, unless the cache folder has its export already. An exported
    directory comes back as it is.

    Args:
        model: an exported directory, a checkpoint's directory, or a hub id.
        precision: of an export, which one to load; of a checkpoint, which to export: fp32 by
            default, or several ("fp32,int4"), of which the first is loaded.
        heads: those that the caller can use; any if it is empty.
        file_name: the graph that the caller loads; None for the default.
        source: where a checkpoint's files are; see SourceArguments.

    Raises:
        InputError: the name leads nowhere, or an argument cannot be used.
        MissingDependencyError: a package that fetching or exporting needs is not installed.
        ModelFileError: the checkpoint is damaged, or not a GPT-Neo.
        ExportError: the export cannot be written, as where the disk has too little space.
    """
    hub = hub_arguments(source)
    asked = _precision_name(precision)
    settings = {"precision": asked or Precision.FP32.value, "variant": source.get("variant")}
    try:
        found = find_source(model, source.get("export"), hub)
    except (InputError, MissingDependencyError):
        kept = _kept_export(str(model), hub, settings, heads)
        if kept is None:
            raise
        return kept.path, None
    if isinstance(found, Path):
        return found, asked
    if file_name not in (None, GRAPH_FILE):
        raise InputError(
            f"file_name is {shown(file_name)}, and {found.label} is a checkpoint, of which "
            f"{GRAPH_FILE} is made; leave it out, or make other graphs with: gptneo-onnx export "
            f"{shlex.quote(found.label)} OUT --graph fused,portable"
        )
    task = _task(found, heads)
    export = CachedExport.of(found.identity, settings | {"task": task})
    if not export.is_there:
        _make(export, found, heads)
    export.mark_used()
    return export.path, None


def embedded_export() -> Path:
    """Return the float32 export of the embedded checkpoint, made if it is missing."""
    state = {"embedded": sha256_of(EMBEDDED_CHECKPOINT / "model.safetensors")}
    settings = {"precision": Precision.FP32.value, "task": Task.TEXT_GENERATION_WITH_PAST.value}
    export = CachedExport.of(state, settings)
    if not export.is_there:
        with export.being_made(lambda: None) as is_missing:
            if is_missing:
                from gptneo_onnx.export import export_model

                export_model(EMBEDDED_CHECKPOINT, export.path)
    export.mark_used()
    return export.path


def _precision_name(precision: str | Sequence[str] | None) -> str | None:
    if precision is None or isinstance(precision, str):
        return precision
    if not isinstance(precision, Sequence) or not all(isinstance(each, str) for each in precision):
        raise InputError(f"precision is {shown(precision)}; a name such as 'fp32' is allowed")
    return ",".join(precision)


def _task(found: CheckpointSource, heads: Collection[Head]) -> str:
    """Return the task to export for: that of the only head that will do, else the checkpoint's.

    Raises:
        InputError: the checkpoint's head will not do.
    """
    if len(heads) == 1 and (asked := _TASKS.get(next(iter(heads)))):
        return asked.value
    architectures = read_json_object(found.directory / CONFIG_FILE).get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    for head, task in _TASKS.items():
        if head.value == first:
            check_head(found.directory, task, heads)
            return task.value
    return _AUTO


def _make(export: CachedExport, found: CheckpointSource, heads: Collection[Head]) -> None:
    """Export a checkpoint, unless another process does so meanwhile."""
    with export.being_made(lambda: _tell(f"waiting: {found.label} is exported elsewhere")) as here:
        if not here:
            return
        from gptneo_onnx.export import check_export, export_model

        for leftover in remove_leftovers(exports_folder()):  # before the space is looked at
            _tell(str(leftover))
        directory = _with_weights(found, export.settings["variant"])
        arguments: dict[str, Any] = dict(export.settings)
        planned = check_export(directory, **arguments)
        check_head(directory, Task(planned.task), heads)
        _check_space(export, planned.total)
        _tell(
            f"exporting {found.label} in {arguments['precision']} "
            f"({readable_size(planned.total)}) to {export.path}"
        )
        arguments["task"] = planned.task
        export_model(directory, export.path, **arguments, progress=True, report=_tell)


def _with_weights(found: CheckpointSource, variant: str | None) -> Path:
    """Return the checkpoint's directory, with the weights of a hub id fetched."""
    hub = found.hub
    if hub is None:
        return found.directory
    from gptneo_onnx.export.checkpoint.hub import local_checkpoint

    return local_checkpoint(
        found.label,
        found.commit,
        variant,
        cache_dir=hub.cache_dir,
        local_files_only=hub.local_files_only or is_offline(),
        token=hub.token,
        subfolder=hub.subfolder or "",
        force_download=hub.force_download,
    )


def _check_space(export: CachedExport, needed: int) -> None:
    free = shutil.disk_usage(exports_folder()).free
    if free < needed:
        raise ExportError(
            f"{export.label} takes {readable_size(needed)} in {export.settings['precision']}, and "
            f"the disk of {exports_folder()} has {readable_size(free)} left; take a smaller "
            "precision (int8, int4), free space (gptneo-onnx cache prune), or set "
            "GPTNEO_ONNX_CACHE to a folder on another disk"
        )


def _kept_export(
    name: str, hub: HubArguments, settings: dict[str, Any], heads: Collection[Head]
) -> CachedExport | None:
    """Return a hub id's export whose checkpoint is no longer at hand, or None."""
    for export in cached_exports():
        source = export.source
        revisions = (source.get("revision") or MAIN, source.get("commit"))
        is_same = source.get("hub_id") == name and (hub.revision or MAIN) in revisions
        if not is_same or not export.is_there or settings.items() - export.settings.items():
            continue
        tasks = {task.value: head for head, task in _TASKS.items()}
        if not heads or tasks.get(export.settings["task"]) in heads:
            export.mark_used()
            return export
    return None


def _tell(line: str) -> None:
    if sys.stderr is not None:
        print(printable(line), file=sys.stderr, flush=True)
