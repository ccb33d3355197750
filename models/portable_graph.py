"""The contract of portable graphs: that of Optimum's exports, which other stacks know.

Names, types and axes are those of optimum.exporters.onnx.model_configs.GPTNeoOnnxConfig, which has
five of the tasks; the other two are named as it names them for other models. The axes:

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
    CacheSpec,
    DataType,
    GraphContract,
    NumberFormat,
    TensorSpec,
    hidden_states_outputs,
    table_specs,
)
from gptneo_onnx.models.tasks import Head, Task

BATCH_SIZE = "batch_size"
SEQUENCE_LENGTH = "sequence_length"
PAST_LENGTH = "past_sequence_length"
TOTAL_LENGTH = f"{PAST_LENGTH} + {SEQUENCE_LENGTH}"

ATTENTION_MASK = "attention_mask"
# The name that transformers.js' feature-extraction pipeline asks for.
LAST_HIDDEN_STATE = "last_hidden_state"
# What question answering gives instead of logits.
START_LOGITS, END_LOGITS = "start_logits", "end_logits"
# Whether to use the past: an input of decoder_model_merged.onnx, as older Optimum wrote it.
USE_CACHE_BRANCH = "use_cache_branch"


def portable_contract(
    config: GPTNeoConfig,
    numbers: NumberFormat,
    layers: Sequence[int] = (),
    task: Task = Task.TEXT_GENERATION_WITH_PAST,
) -> GraphContract:
    """Return the contract of the graph of standard operators.

    - attention_mask: 1 for tokens and 0 for padding, also for positions in the cache
    - position_ids: not where a head classifies; columns count as positions there
    - logits: at every new position, of the activations' type; for text classification, of each
      text's last token that is no padding
    - start_logits, end_logits: for question answering, instead of logits
    - last_hidden_state, hidden_states.N: at every new position, after the final layer
      normalization and before block N, if they are in `layers`; the first one always where there
      is no head
    - past: of text-generation-with-past alone. Without it a graph reads whole texts
    - present: past followed by the new keys or values, for local layers too
    """
    activations = numbers.activations
    hidden = (BATCH_SIZE, SEQUENCE_LENGTH, config.hidden_size)
    takes_past = task is Task.TEXT_GENERATION_WITH_PAST
    always = [config.num_layers] if task.head is Head.NONE else []
    layers_with_cache = range(config.num_layers if task.has_past else 0)
    return GraphContract(
        step_inputs=_step_inputs(task, takes_past),
        caches=tuple(_cache_spec(config, layer, activations) for layer in layers_with_cache),
        results=_results(config, task, activations),
        hidden_states=hidden_states_outputs(
            {*layers, *always}, config.num_layers, LAST_HIDDEN_STATE, activations, hidden
        ),
        tables=table_specs(config, numbers),
        takes_past=takes_past,
        task=task,
    )


def _step_inputs(task: Task, takes_past: bool) -> tuple[TensorSpec, ...]:
    tokens = (BATCH_SIZE, SEQUENCE_LENGTH)
    seen = (BATCH_SIZE, TOTAL_LENGTH if takes_past else SEQUENCE_LENGTH)
    ids = TensorSpec(INPUT_IDS, DataType.INT64, tokens)
    mask = TensorSpec(ATTENTION_MASK, DataType.INT64, seen)
    if task.head.tensors:
        return ids, mask
    return ids, mask, TensorSpec(POSITION_IDS, DataType.INT64, tokens)


def _results(config: GPTNeoConfig, task: Task, data_type: DataType) -> tuple[TensorSpec, ...]:
    tokens, columns = (BATCH_SIZE, SEQUENCE_LENGTH), task.columns(config)
    match task.head:
        case Head.NONE:
            return ()
        case Head.QUESTION_ANSWERING:
            return (
                TensorSpec(START_LOGITS, data_type, tokens),
                TensorSpec(END_LOGITS, data_type, tokens),
            )
        case Head.SEQUENCE_CLASSIFICATION:
            return (TensorSpec(LOGITS, data_type, (BATCH_SIZE, columns)),)
        case Head.CAUSAL_LM | Head.TOKEN_CLASSIFICATION:
            return (TensorSpec(LOGITS, data_type, (*tokens, columns)),)


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
