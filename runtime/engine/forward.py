"""One pass over a padded batch: what a call of a model returns."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import layer_number
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.inputs import Ids, PaddedInputs

HiddenStates = NDArray[np.float32]


def forward(
    decoder: Decoder,
    inputs: PaddedInputs,
    positions: Ids,
    config: GPTNeoConfig,
    layers: Sequence[int],
    logits: NDArray[np.float32] | None = None,
) -> tuple[HiddenStates, ...]:
    """Hidden states [batch, sequence, hidden] of each of the layers; zeros at padded positions.

    Args:
        decoder: whose first slot is used.
        inputs, positions: the batch; positions [batch, sequence].
        config: of the model.
        layers: whose hidden states are wanted, of the decoder's; one at least, if no logits are.
        logits: [batch, sequence, vocab], filled in where there are tokens.
    """
    shape = inputs.input_ids.shape
    states = tuple(np.zeros((*shape, config.hidden_size), np.float32) for _ in layers)
    for row, columns in enumerate(inputs.columns):
        decoder.cache.clear(0)
        ids = inputs.input_ids[row, columns]
        first = len(ids) if logits is None else 0
        done = columns.start
        for chunk in decoder.prefill_chunks(0, ids, positions[row, columns], first, layers):
            if logits is not None:
                logits[row, done : done + len(chunk.logits)] = chunk.logits
            for layer, part in zip(states, chunk.hidden_states, strict=True):
                layer[row, done : done + part.shape[1]] = part[0]
            done += len(chunk.logits) if logits is not None else chunk.hidden_states[0].shape[1]
    return states


def checked_layers(
    wanted: bool | Sequence[int] | None, given: Iterable[int], num_layers: int
) -> tuple[int, ...]:
    """The layers that output_hidden_states asks for, numbered from 0 to num_layers.

    Args:
        wanted: True for all, False or None for none, or numbers of layers, negative ones from the
            end.
        given: those whose hidden states the graph gives.
        num_layers: of the model.

    Raises:
        InputError: a layer that there is not, or that was not asked for at export.
    """
    if wanted is None or isinstance(wanted, bool | np.bool_):
        wanted = range(num_layers + 1) if wanted else ()
    if not isinstance(wanted, Iterable) or isinstance(wanted, str | bytes):
        raise InputError(
            f"output_hidden_states is {shown(wanted)}; True, or a list of layers is allowed"
        )
    numbers = tuple(wanted)
    layers = tuple(layer_number(each, num_layers) for each in numbers)
    if len(set(layers)) < len(layers):
        raise InputError(f"output_hidden_states names {shown([*numbers])}; name each layer once")
    given = sorted(given)
    missing = [layer for layer in layers if layer not in given]
    if missing:
        raise InputError(
            f"the graph does not give hidden states of layer {', '.join(map(str, missing))} "
            f"(it gives {', '.join(map(str, given)) or 'none'}); export the checkpoint with "
            "--hidden-states all, or with the numbers of layers"
        )
    return layers
