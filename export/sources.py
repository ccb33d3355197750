"""Says what a checkpoint has, and which of it an export reads."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.config import ALIASES, GPTNeoConfig
from gptneo_onnx.models.generation_settings import DEFAULTS
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE

_FORMATS = {".safetensors": "safetensors", ".msgpack": "Flax"}
# Entries of a config.json that transformers.GPTNeoConfig has and the computation depends on ...
_READ = {
    "activation_function", "attention_layers", "attention_types", "bos_token_id", "eos_token_id",
    "hidden_size", "intermediate_size", "layer_norm_epsilon", "max_position_embeddings",
    "model_type", "num_heads", "num_layers", "pad_token_id", "tie_word_embeddings", "vocab_size",
    "window_size", "architectures", "quantization_config", "tokenizer_class", "prefix",
    "task_specific_params", "pruned_heads",
}  # fmt: skip
# ... and those that transformers knows, which change no token.
_WITHOUT_EFFECT = {
    "_name_or_path", "add_cross_attention", "attention_dropout", "attn_implementation", "auto_map",
    "chunk_size_feed_forward", "classifier_dropout", "cross_attention_hidden_size",
    "decoder_start_token_id", "dtype", "embed_dropout", "finetuning_task", "gradient_checkpointing",
    "id2label", "initializer_range", "is_decoder", "is_encoder_decoder", "label2id",
    "output_attentions", "output_hidden_states", "problem_type", "resid_dropout", "return_dict",
    "sep_token_id", "tf_legacy_loss", "tie_encoder_decoder", "torch_dtype", "torchscript",
    "transformers_version", "transformers.js_config", "use_bfloat16", "use_cache",
    "use_return_dict", "_attn_implementation", "_commit_hash",
}  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """A file with weights: its name, its format, its size in bytes, and what tensors it has.

    Attributes:
        types: how many tensors of each type the export reads from it.
    """

    name: str
    format: str
    size: int
    types: dict[str, int]


def weight_files(source: Checkpoint) -> list[WeightFile]:
    """Return the files that a checkpoint's tensors are in."""
    types: dict[Path, Counter[str]] = {}
    for tensor in source.tensors.values():
        types.setdefault(tensor.path, Counter())[tensor.dtype.name] += 1
    return [
        WeightFile(
            path.name, _FORMATS.get(path.suffix, "PyTorch"), path.stat().st_size, dict(counts)
        )
        for path, counts in sorted(types.items())
    ]


def unknown_entries(source: Checkpoint) -> list[str]:
    """Return the entries of config.json that neither transformers' GPT-Neo nor this reads."""
    known = _READ | _WITHOUT_EFFECT | ALIASES.keys() | DEFAULTS.keys()
    return sorted(read_json_object(source.directory / CONFIG_FILE).keys() - known)


def describe_model(config: GPTNeoConfig) -> dict[str, Any]:
    """Return a model's dimensions, by the names that `info` gives them."""
    return {
        "parameters": _parameters(config),
        "layers": config.num_layers,
        "local_layers": config.layer_kinds.count("local"),
        "window": config.window_size,
        "hidden_size": config.hidden_size,
        "heads": config.num_heads,
        "head_size": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "activation": config.activation_function,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        "tied": config.tie_word_embeddings,
    }


def _parameters(config: GPTNeoConfig) -> int:
    hidden, inner = config.hidden_size, config.intermediate_size
    block = 4 * hidden**2 + 2 * hidden * inner + inner + 6 * hidden
    tables = config.vocab_size * (1 if config.tie_word_embeddings else 2)
    rows = tables + config.max_position_embeddings + 2
    return rows * hidden + config.num_layers * block


def not_finite(source: Checkpoint) -> dict[str, int]:
    """Read every weight; return how many numbers of each tensor are infinite or not numbers."""
    counts = {name: _not_finite(tensor) for name, tensor in sorted(source.tensors.items())}
    return {name: count for name, count in counts.items() if count}


def _not_finite(tensor: StoredTensor) -> int:
    if tensor.dtype.kind in "biu" or not prod(tensor.shape):
        return 0
    return sum(
        int(np.count_nonzero(~np.isfinite(block.astype(np.float32))))
        for block in tensor.row_blocks()
    )
