"""optimum-intel's stateful OpenVINO model, which keeps its own cache."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def export(checkpoint: str, out: str, bits: str) -> None:
    """Export with optimum-intel's compression: weights of 8 bits, or of 4 in groups of 128."""
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    if bits == "8":
        quantization = OVWeightQuantizationConfig(bits=8, sym=False)
    else:
        quantization = OVWeightQuantizationConfig(bits=4, sym=False, group_size=128, ratio=1.0)
    model = OVModelForCausalLM.from_pretrained(
        checkpoint, export=True, compile=False, quantization_config=quantization
    )
    model.save_pretrained(out)


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        from optimum.intel import OVModelForCausalLM

        model = OVModelForCausalLM.from_pretrained(
            directory, ov_config={"INFERENCE_NUM_THREADS": str(threads)}
        )
        model.compile()
        self.request = model.request
        self.inputs = {tensor.get_any_name() for tensor in model.model.inputs}

    def prefill(self, ids: Ids) -> None:
        self.request.reset_state()
        self._step(ids, ids.shape[1])

    def decode(self, tokens: Ids) -> None:
        self._step(tokens[:, None], self.length + 1)

    def _step(self, ids: Ids, length: int) -> None:
        self.length = length
        positions = np.arange(length - ids.shape[1], length)
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((len(ids), length), np.int64),
            "position_ids": np.tile(positions, (len(ids), 1)),
            "beam_idx": np.arange(len(ids), dtype=np.int32),
        }
        known = {name: value for name, value in feeds.items() if name in self.inputs}
        self.request.start_async(known)
        self.request.wait()
