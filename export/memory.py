"""Estimates the memory that an export takes, and that its model takes at run time.

The figures are peaks of resident memory on a CPU, within a factor of MEMORY_FACTOR of what was
measured from models of 1 MB to 1 GB. The libraries count too: BASE_BYTES.
"""

from math import prod

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import BATCH, CAPACITY, NumberFormat, fused_contract

MEMORY_FACTOR = 1.5
BASE_BYTES = 85_000_000
# What rounding a block of rows takes beside them: StoredTensor's blocks, in several types.
_ROUNDING_BYTES = 90_000_000
# What the nodes that are checked together map of the weights.
_CHECK_BYTES = 50_000_000
_FLOAT_BYTES = 4
# Copies of a layer's scores that a portable graph holds at once.
_SCORES = 1.2


def export_memory(config: GPTNeoConfig, numbers: NumberFormat, weights: int) -> int:
    """Return the bytes of the largest groups of weights, and of a step through the vocabulary.

    Args:
        config: the model's.
        numbers: how its numbers are stored.
        weights: the bytes of the weights file.
    """
    hidden = config.hidden_size
    table = _FLOAT_BYTES * config.vocab_size * hidden
    matrix = _FLOAT_BYTES * max(3 * hidden * hidden, hidden * config.intermediate_size)
    rounding = min(_ROUNDING_BYTES, table) if numbers.precision.is_quantized else 0
    return BASE_BYTES + table + 2 * matrix + rounding + min(_CHECK_BYTES, weights)


def cache_bytes(config: GPTNeoConfig, kind: str, numbers: NumberFormat) -> int:
    """Return the bytes of a sequence's cache in a graph of that kind, as long as the context."""
    context = config.max_position_embeddings
    if kind == "fused":
        sizes = {BATCH: 1, CAPACITY: context}
        return sum(
            prod(spec.shape(sizes)) * spec.data_type.itemsize
            for cache in fused_contract(config, numbers, ()).caches
            for spec in cache.past
        )
    head_size = config.head_dim if kind == "portable" else config.cache_head_dim
    row = config.num_heads * head_size * numbers.activations.itemsize
    return 2 * config.num_layers * context * row


def run_memory(
    config: GPTNeoConfig, kind: str, numbers: NumberFormat, weights: int, parameters: int
) -> int:
    """Return the bytes that one text as long as the context takes.

    ONNX Runtime holds a tied table of floats twice: as it is, and packed for products. Portable
    graphs multiply in floating-point numbers, which quantized weights become first. They hold every
    score of a layer's attention, and the logits of every position.

    Args:
        config: the model's.
        kind: the graph's, one of GRAPH_KINDS.
        numbers: its number format.
        weights: the bytes of its weights.
        parameters: how many the model has.
    """
    memory = BASE_BYTES + weights + cache_bytes(config, kind, numbers)
    if config.tie_word_embeddings and not numbers.precision.is_quantized and kind != "portable":
        memory += numbers.activations.itemsize * config.vocab_size * config.hidden_size
    if kind == "portable":
        context = config.max_position_embeddings
        scores = _SCORES * config.num_heads * context**2
        memory += int(_FLOAT_BYTES * (scores + context * config.vocab_size))
        if numbers.precision.is_quantized:
            memory += _FLOAT_BYTES * parameters
    return memory
