"""The contract of portable graphs: that of Optimum's exports, which other stacks know.

Names, types and axes are those of optimum.exporters.onnx.model_configs.GPTNeoOnnxConfig with task
text-generation-with-past. Its axes:

- batch_size: sequences, padded on the left to one length
- sequence_length: the new tokens of each sequence in this step
- past_sequence_length: the positions that the cache holds, padding included
- past_sequence_length + sequence_length: all positions after this step
"""

from collections.abc import Sequence

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.graph import (
    INPUT_IDS,
    LOGITS,
    POSITION_IDS,
    POSITIONS,
    CacheSpec,
    DataType,
    GraphContract,
    NumberFormat,
    TensorSpec,
    embedding_spec,
    hidden_states_outputs,
)

BATCH_SIZE = "batch_size"
SEQUENCE_LENGTH = "sequence_length"
PAST_LENGTH = "past_sequence_length"
TOTAL_LENGTH = f"{PAST_LENGTH} + {SEQUENCE_LENGTH}"

ATTENTION_MASK = "attention_mask"
# The name that transformers.js' feature-extraction pipeline asks for.
LAST_HIDDEN_STATE = "last_hidden_state"
# Whether to use the past: an input of decoder_model_merged.onnx, as older Optimum wrote it.
USE_CACHE_BRANCH = "use_cache_branch"


def portable_contract(
    config: GPTNeoConfig, numbers: NumberFormat, layers: Sequence[int] = ()
) -> GraphContract:
    """Return the contract of the graph of standard operators.

    - attention_mask: 1 for tokens and 0 for padding, also for positions in the cache
    - logits: at every new position, of the activations' type
    - last_hidden_state, hidden_states.N: at every new position, after the final layer
      normalization and before block N, if they are in `layers`
    - present: past followed by the new keys or values, for local layers too
    """
    activations = numbers.activations
    hidden = (BATCH_SIZE, SEQUENCE_LENGTH, config.hidden_size)
    return GraphContract(
        step_inputs=(
            TensorSpec(INPUT_IDS, DataType.INT64, (BATCH_SIZE, SEQUENCE_LENGTH)),
            TensorSpec(ATTENTION_MASK, DataType.INT64, (BATCH_SIZE, TOTAL_LENGTH)),
            TensorSpec(POSITION_IDS, DataType.INT64, (BATCH_SIZE, SEQUENCE_LENGTH)),
        ),
        caches=tuple(_cache_spec(config, layer, activations) for layer in range(config.num_layers)),
        logits=TensorSpec(LOGITS, activations, (BATCH_SIZE, SEQUENCE_LENGTH, config.vocab_size)),
        hidden_states=hidden_states_outputs(
            layers, config.num_layers, LAST_HIDDEN_STATE, activations, hidden
        ),
        tables=(
            embedding_spec(config, numbers),
            TensorSpec(
                POSITIONS, activations, (config.max_position_embeddings, config.hidden_size)
            ),
        ),
    )


def _cache_spec(config: GPTNeoConfig, layer: int, data_type: DataType) -> CacheSpec:
    past, present = (
        (BATCH_SIZE, config.num_heads, length, config.head_dim)
        for length in (PAST_LENGTH, TOTAL_LENGTH)
    )
    return CacheSpec(
        past_key=TensorSpec(f"past_key_values.{layer}.key", data_type, past),
        past_value=TensorSpec(f"past_key_values.{layer}.value", data_type, past),
        present_key=TensorSpec(f"present.{layer}.key", data_type, present),
        present_value=TensorSpec(f"present.{layer}.value", data_type, present),
    )
