"""Refuses a model that was exported for another task, and says what it is for."""

from collections.abc import Collection
from pathlib import Path

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.tasks import PAST_SUFFIX, Head, Task

# The command for each head.
_COMMANDS = {
    Head.CAUSAL_LM: "generate",
    Head.NONE: "embed",
    Head.SEQUENCE_CLASSIFICATION: "classify",
    Head.TOKEN_CLASSIFICATION: "classify",
    Head.QUESTION_ANSWERING: "classify --question",
}


def pipeline_task(task: Task) -> str:
    """Return the name that pipeline() has for a task."""
    return task.value.removesuffix(PAST_SUFFIX)


def check_head(directory: Path, task: Task, heads: Collection[Head]) -> None:
    """Raise InputError unless a model has one of the heads that a caller can use.

    Args:
        directory: the model's.
        task: what it was exported for.
        heads: those that will do; any head if it is empty.
    """
    if not heads or task.head in heads:
        return
    needed = f"the head of {' or '.join(head.value for head in heads)}"
    raise InputError(
        f"{directory} is for {pipeline_task(task)} and lacks {needed}; use it with "
        f'{task.head.value}, pipeline("{pipeline_task(task)}") or gptneo-onnx '
        f"{_COMMANDS[task.head]}, or export the checkpoint for another task (export --task)"
    )
