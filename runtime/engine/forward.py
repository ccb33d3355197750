"""One pass over a padded batch: what a call of a model returns."""

from collections.abc import Iterable, Sequence
from typing import Literal, overload

import numpy as np

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import layer_number
from gptneo_onnx.runtime.arrays import HiddenStates, Ids, Logits
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.inputs import PaddedInputs


@overload
def forward(
    decoder: Decoder,
    inputs: PaddedInputs,
    positions: Ids,
    config: GPTNeoConfig,
    layers: Sequence[int],
    with_logits: Literal[True],
) -> tuple[Logits, tuple[HiddenStates, ...]]: ...


@overload
def forward(
    decoder: Decoder,
    inputs: PaddedInputs,
    positions: Ids,
    config: GPTNeoConfig,
    layers: Sequence[int],
    with_logits: Literal[False],
) -> tuple[None, tuple[HiddenStates, ...]]: ...


def forward(
    decoder: Decoder,
    inputs: PaddedInputs,
    positions: Ids,
    config: GPTNeoConfig,
    layers: Sequence[int],
    with_logits: bool,
) -> tuple[Logits | None, tuple[HiddenStates, ...]]:
    """Run a batch; return its logits and hidden states, zeros at padded positions.

    Args:
        decoder: its first slot is used.
        inputs: the batch.
        positions: [batch, sequence].
        config: the model's dimensions.
        layers: the layers whose hidden states are asked for; at least one without logits.
        with_logits: whether logits are asked for.

    Returns:
        Logits float32 [batch, sequence, vocab] or None, and for each layer hidden states float32
        [batch, sequence, hidden].
    """
    shape = inputs.input_ids.shape
    logits = np.zeros((*shape, config.vocab_size), np.float32) if with_logits else None
    states = tuple(np.zeros((*shape, config.hidden_size), np.float32) for _ in layers)
    for row, part in enumerate(inputs.columns):
        if part.start == part.stop:
            continue
        decoder.cache.clear(0)
        columns, holes = np.arange(part.start, part.stop), inputs.holes[row]
        if holes is not None and not decoder.takes_masks:
            _check_removal(row, inputs, config)
            columns, holes = columns[~holes], None
        ids = inputs.input_ids[row, columns]
        if holes is not None:
            ids = np.where(holes, 0, ids)
        seen = None if holes is None else ~holes
        first = 0 if with_logits else len(ids)
        done = 0
        for chunk in decoder.prefill_chunks(0, ids, positions[row, columns], first, layers, seen):
            count = chunk.hidden_states[0].shape[1] if logits is None else len(chunk.logits)
            read = columns[done : done + count]
            for layer_states, chunk_states in zip(states, chunk.hidden_states, strict=True):
                layer_states[row, read] = chunk_states[0]
            if logits is not None:
                logits[row, read] = chunk.logits
            done += count
        if holes is not None:
            for array in (*states, *(() if logits is None else (logits,))):
                array[row, columns[holes]] = 0
    return logits, states


def _check_removal(row: int, inputs: PaddedInputs, config: GPTNeoConfig) -> None:
    """Raise InputError where taking out the columns that nobody sees changes a local layer."""
    window = config.window_size
    if "local" in config.layer_kinds and inputs.steps_without_holes(row, window) < 0:
        raise InputError(
            f"attention_mask of sequence {row} has holes, and the sequence reaches past the window "
            f"of {window} that local layers see, which the fused graph cannot mask: export "
            "with --graph portable, which can"
        )


def checked_layers(
    layers: bool | Sequence[int] | None, graph_layers: Iterable[int], num_layers: int
) -> tuple[int, ...]:
    """Return the layers that output_hidden_states asks for, numbered from 0 to num_layers.

    Args:
        layers: True for all, False or None for none, or numbers of layers; negative ones count
            from the end.
        graph_layers: the layers whose hidden states the graph gives.
        num_layers: layers of the model.

    Raises:
        InputError: a layer does not exist, or was not asked for at export.
    """
    if layers is None or isinstance(layers, bool | np.bool_):
        layers = range(num_layers + 1) if layers else ()
    if not isinstance(layers, Iterable) or isinstance(layers, str | bytes):
        raise InputError(
            f"output_hidden_states is {shown(layers)}; True, or a list of layers is allowed"
        )
    numbers = tuple(layers)
    checked = tuple(layer_number(number, num_layers) for number in numbers)
    if len(set(checked)) < len(checked):
        raise InputError(f"output_hidden_states names {shown([*numbers])}; name each layer once")
    available = sorted(graph_layers)
    missing = [layer for layer in checked if layer not in available]
    if missing:
        raise InputError(
            f"the graph does not give hidden states of layer {', '.join(map(str, missing))} "
            f"(it gives {', '.join(map(str, available)) or 'none'}); export the checkpoint with "
            "--hidden-states all, or with the numbers of layers"
        )
    return checked
