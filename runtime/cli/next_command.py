"""The command that shows what an export can do."""

import shlex
from pathlib import Path

from gptneo_onnx.models.graph import DataType
from gptneo_onnx.models.manifest import GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE, Manifest
from gptneo_onnx.models.tasks import Head

_PROMPT = "Once upon a time"
_TEXT = "She was very fond of Mr. Darcy."
_QUESTION = "Who was fond of him?"


def next_command(out: Path) -> str | None:
    """Return a command line that uses an export; None where this program runs none of its graphs.

    Exports in the layout of transformers.js, and graphs of kind genai, are for other programs.
    """
    if not (out / MANIFEST_FILE).is_file():
        return None
    manifest = Manifest.read(out)
    runnable = [name for name, graph in manifest.graphs.items() if graph.kind != "genai"]
    if not runnable:
        return None
    directory = shlex.quote(str(out))
    if not (out / TOKENIZER_FILE).is_file():
        return f"gptneo-onnx set-tokenizer {directory} TOKENIZER"
    options = "" if runnable[0] == GRAPH_FILE else f" --file-name {runnable[0]}"
    if manifest.graphs[runnable[0]].numbers.activations is DataType.BFLOAT16:
        options += " --device cuda"  # the CPU has no kernels for it
    match manifest.task.head:
        case Head.CAUSAL_LM:
            return f'gptneo-onnx generate {directory} "{_PROMPT}"{options}'
        case Head.NONE:
            return f'echo "{_TEXT}" | gptneo-onnx embed {directory} -{options}'
        case Head.QUESTION_ANSWERING:
            return f'gptneo-onnx classify {directory} "{_TEXT}" --question "{_QUESTION}"{options}'
        case _:
            return f'gptneo-onnx classify {directory} "{_TEXT}"{options}'
