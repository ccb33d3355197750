"""GPTNeoModel: the hidden states of an exported model, without its head."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import HiddenStates, Ids
from gptneo_onnx.runtime.engine.batching import MAX_BATCHED_TOKENS, padded, ragged_steps
from gptneo_onnx.runtime.engine.call_arguments import check_call_arguments
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.forward import checked_layers, forward
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.label_model import LabelModel
from gptneo_onnx.runtime.load_arguments import LoadArguments, Loading
from gptneo_onnx.runtime.model_output import ModelOutput
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.on_demand_export import exported_directory
from gptneo_onnx.runtime.pretrained_model import PretrainedModel

# No logits are asked for.
_NO_ROWS = np.zeros((0, 2), np.int64)


@dataclass(eq=False)
class BaseModelOutput(ModelOutput):
    """The outputs of a call; zeros at padded positions.

    Attributes:
        last_hidden_state: after the final normalization, float32 [batch, sequence, hidden].
        hidden_states: those of each layer that was asked for, of the same shape.
    """

    last_hidden_state: HiddenStates
    hidden_states: tuple[HiddenStates, ...] | None = None


class GPTNeoModel(PretrainedModel):
    """transformers.GPTNeoModel (what AutoModel loads) on ONNX Runtime.

    Args:
        model: a model with a head, whose engine this one shares, or an Engine.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
    """

    def __init__(self, model: GPTNeoForCausalLM | LabelModel | Engine) -> None:
        self.engine = Engine.of(model, heads=())
        self.config = self.engine.config

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        device: str | int | None = "auto",
        slots: int = 1,
        num_threads: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
        precision: str | None = None,
        trust_graph: bool = False,
        **kwargs: Unpack[LoadArguments],
    ) -> "GPTNeoModel":
        """Load a model; arguments and errors are GPTNeoForCausalLM's."""
        loading = Loading.read(device, provider_options, kwargs)
        path, precision = exported_directory(directory, precision, (), file_name, **loading.source)
        options = num_threads, loading.provider_options, file_name
        engine = Engine.load(
            path,
            loading.device,
            slots,
            *options,
            precision=precision,
            trust_graph=trust_graph,
        )
        loading.check(engine)
        return cls(engine)

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """The layers whose hidden states the graph gives; see output_hidden_states."""
        return self.engine.hidden_layers

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        output_hidden_states: bool | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return hidden states of every token; see GPTNeoForCausalLM.__call__ for arguments.

        Returns:
            A BaseModelOutput; with return_dict=False a tuple.
        """
        inputs = PaddedInputs.check(input_ids, attention_mask, self.config)
        has_names = check_call_arguments(kwargs, inputs.input_ids.shape[1])
        positions = inputs.positions(position_ids, self.config)
        asked, (last,) = self.layers(output_hidden_states), self.layers([-1])
        layers = sorted({*asked, last})
        with self.engine.exclusive():
            decoder = self.engine.decoder(slots=1)
            _, states = forward(decoder, inputs, positions, self.config, layers, with_logits=False)
        by_layer = dict(zip(layers, states, strict=True))
        hidden_states = tuple(by_layer[layer] for layer in asked) or None
        output = BaseModelOutput(by_layer[last], hidden_states)
        return output if has_names else output.to_tuple()

    def layers(self, layers: bool | Sequence[int] | None) -> tuple[int, ...]:
        """Return numbers of layers from 0; raise InputError if the graph lacks one of them."""
        return checked_layers(layers, self.hidden_layers, self.config.num_layers)

    def of_sequences(
        self, sequences: Sequence[Ids], layer: int = -1, batch_size: int = 1
    ) -> Iterator[tuple[int, HiddenStates]]:
        """Yield (index, hidden states [length, hidden]) of sequences, each as if it were alone.

        Other calls wait from the first result to the last.

        Args:
            sequences: ids, int [length] each, at least one token; the longest are read first.
            layer: the layer whose hidden states are returned.
            batch_size: short sequences that one step reads together, at most.

        Raises:
            InputError: a sequence cannot be read, the graph lacks the layer, or batch_size is
                below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; a number of at least 1 is allowed")
        checked = [PaddedInputs.check([ids], None, self.config).input_ids[0] for ids in sequences]
        layers = self.layers([layer])
        with self.engine.exclusive():
            slots = max(1, min(batch_size, MAX_BATCHED_TOKENS, len(checked)))
            decoder = self.engine.decoder(slots)
            for group in ragged_steps([len(ids) for ids in checked], slots):
                if len(group) == 1:
                    yield group[0], _read_one(decoder, checked[group[0]], layers)
                else:
                    batch = [checked[index] for index in group]
                    yield from zip(group, _read_batch(decoder, batch, layers), strict=True)


def _read_one(decoder: Decoder, ids: Ids, layers: Sequence[int]) -> HiddenStates:
    """Return the hidden states of a sequence of any length, read in chunks."""
    decoder.cache.clear(0)
    chunks = decoder.prefill_chunks(0, ids, first=len(ids), layers=layers)
    return np.concatenate([chunk.hidden_states[0][0] for chunk in chunks])


def _read_batch(
    decoder: Decoder, sequences: Sequence[Ids], layers: Sequence[int]
) -> list[HiddenStates]:
    """Return the hidden states of short sequences, read in one step."""
    [states] = decoder.prefill_together(padded(sequences), _NO_ROWS, layers).hidden_states
    return [states[row, : len(ids)] for row, ids in enumerate(sequences)]
