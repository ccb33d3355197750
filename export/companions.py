"""The small files beside the graphs: config.json, generation_config.json and the tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.tokenizer_files import TokenizerSource, ids_beyond, write_tokenizer
from gptneo_onnx.models.config import ALIASES, without_contradictions
from gptneo_onnx.models.generation_settings import GenerationSettings
from gptneo_onnx.models.json_file import read_json_bytes, read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE, GENERATION_CONFIG_FILE


def write_companions(
    source: Checkpoint,
    read_from: TokenizerSource,
    partial: Path,
    report: Callable[[str], object],
) -> None:
    """Write config.json, generation_config.json and the tokenizer."""
    _write_config(source, partial / CONFIG_FILE)
    settings = GenerationSettings.read(source.directory)
    (partial / GENERATION_CONFIG_FILE).write_text(json.dumps(settings.values, indent=2) + "\n")
    for note in settings.notes:
        report(note)
    tokenizer = write_tokenizer(read_from.directory, partial, report)
    if tokenizer is None:
        report(
            f"{source.directory} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): "
            "the model takes token ids only; --tokenizer (tokenizer=) takes one from elsewhere"
        )
        return
    if beyond := ids_beyond(tokenizer, read_from, source.config.vocab_size):
        report(beyond)


def _write_config(source: Checkpoint, path: Path) -> None:
    """Write config.json: a copy, unless it has names that only transformers knows, or changes."""
    original = source.directory / CONFIG_FILE
    values = read_json_object(original)
    if ALIASES.keys() & values.keys():
        values = without_contradictions(values, source.config)
    elif not source.config_changes:
        path.write_bytes(read_json_bytes(original))
        return
    path.write_text(json.dumps(values | {**source.config_changes}, indent=2) + "\n")
