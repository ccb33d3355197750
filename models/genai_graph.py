"""The contract of a graph that onnxruntime-genai's generation loop runs.

https://github.com/microsoft/onnxruntime-genai: a model of type "decoder" whose caches are shared
between past and present. Batches are padded on the right.
"""

from dataclasses import replace

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import (
    BATCH,
    CAPACITY,
    INPUT_IDS,
    LOGITS,
    POSITION_IDS,
    SEQUENCE,
    CacheSpec,
    DataType,
    GraphContract,
    NumberFormat,
    TensorSpec,
    fused_contract,
)
from gptneo_onnx.models.portable_graph import ATTENTION_MASK

TOTAL = "total_sequence"

GENAI_CONFIG_FILE = "genai_config.json"


def genai_contract(config: GPTNeoConfig, numbers: NumberFormat) -> GraphContract:
    """Return the contract of the fused operators with lengths that the graph reads from a mask.

    - attention_mask: 1 for tokens, those in the cache included, and 0 for the padding after them;
      as long as the longest sequence after this step
    - logits: after each sequence's last new token

    Local layers' caches are as long as the global layers': windowed caches take no prompts of
    different lengths in one step, and that is how onnxruntime-genai reads a batch.
    """
    fused = fused_contract(config, numbers)
    return replace(
        fused,
        caches=tuple(map(_full_length, fused.caches)),
        step_inputs=(
            TensorSpec(INPUT_IDS, DataType.INT64, (BATCH, SEQUENCE)),
            TensorSpec(ATTENTION_MASK, DataType.INT64, (BATCH, TOTAL)),
            TensorSpec(POSITION_IDS, DataType.INT64, (BATCH, SEQUENCE)),
        ),
        results=(TensorSpec(LOGITS, DataType.FLOAT32, (BATCH, 1, config.vocab_size)),),
        hidden_states={},
    )


def _full_length(cache: CacheSpec) -> CacheSpec:
    """Return the cache with the capacity of a global layer's."""
    specs = (
        replace(spec, axes=(*spec.axes[:2], CAPACITY, spec.axes[3]))
        for spec in (*cache.past, *cache.present)
    )
    return CacheSpec(*specs)
