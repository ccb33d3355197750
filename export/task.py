"""Chooses the task of an export, and holds the checkpoint's head against it."""

from collections.abc import Iterator, Sequence

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.models.tasks import LM_HEAD, Head, Task


def chosen_task(asked: Task | None, source: Checkpoint) -> Task:
    """Return the task that was asked for; without one, that of the checkpoint's class.

    The class is the first of `architectures` in config.json. Where that names none of GPT-Neo's,
    the head that the checkpoint has says the task.

    Raises:
        InputError, ModelFileError: the checkpoint lacks the head that the task needs, or labels.
    """
    task = asked or _task_of_checkpoint(source)
    if missing := _missing(task, source):
        if asked is None and missing == [LM_HEAD]:
            raise source.missing(LM_HEAD)
        others = [other.value for other in Task if not _missing(other, source)]
        error = InputError if asked else ModelFileError
        raise error(
            f"{source.directory}: the checkpoint has no tensor {missing[0]}, which task "
            f"{task.value} needs (transformers would draw it at random); it has what task "
            f"{' or '.join(others)} needs"
        )
    if task.has_labels and not task.columns(source.config):
        raise ModelFileError(
            f"{source.directory}: config.json has no labels, which task {task.value} needs; use "
            "the config.json that was saved with the weights"
        )
    return task


def notes_on_task(
    asked: Task | None, task: Task, source: Checkpoint, graphs: Sequence[str]
) -> Iterator[str]:
    """Yield lines that tell which task was chosen, which heads are left out, and of padding.

    `graphs` are the kinds that this project builds itself.
    """
    if asked is None and not task.is_generation:
        yield f"{source.directory}: its task is {task.value}; --task (task=) takes another one"
    unused = [
        name
        for head in Head
        if head is not task.head
        for name in _tensors(head, source)
        if name in source.tensors
    ]
    if unused:
        yield (
            f"{source.directory}: left out, as no part of task {task.value}: {', '.join(unused)} "
            "(--task, task=)"
        )
    is_pooled = task is Task.TEXT_CLASSIFICATION and "portable" in graphs
    if is_pooled and not source.config.names_pad_token:
        yield (
            f"{source.directory}: config.json names no pad_token_id, and transformers then takes "
            "one text at a time; the portable graph takes batches, padded by attention_mask"
        )


def _task_of_checkpoint(source: Checkpoint) -> Task:
    architectures = read_json_object(source.directory / CONFIG_FILE).get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    heads = [head for head in Head if head.value == first] or [
        head
        for head in Head
        if head.tensors and all(name in source.tensors for name in head.tensors.names)
    ]
    if len(heads) == 1 and heads[0].tensors:
        return next(task for task in Task if task.head is heads[0])
    if heads == [Head.NONE] and _missing(Task.TEXT_GENERATION_WITH_PAST, source):
        return Task.FEATURE_EXTRACTION_WITH_PAST
    return Task.TEXT_GENERATION_WITH_PAST


def _missing(task: Task, source: Checkpoint) -> list[str]:
    return [name for name in _tensors(task.head, source) if name not in source.tensors]


def _tensors(head: Head, source: Checkpoint) -> Sequence[str]:
    """Return the names of a head's tensors; a vocabulary product that is tied has none."""
    if head is Head.CAUSAL_LM and not source.config.tie_word_embeddings:
        return [LM_HEAD]
    return head.tensors.names if head.tensors else ()
