"""Optimum's export on ONNX Runtime, through its ORTModelForCausalLM."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def export(checkpoint: str, out: str) -> None:
    """Export without Optimum's post-processing, which fails on models above 2 GB."""
    from optimum.exporters.onnx import main_export

    main_export(checkpoint, out, task="text-generation-with-past", no_post_process=True)


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForCausalLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Not the default either: see pytorch_engine.py.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.torch = torch
        self.model = ORTModelForCausalLM.from_pretrained(directory, session_options=options)

    def prefill(self, ids: Ids) -> None:
        self._step(ids, None, ids.shape[1])

    def decode(self, tokens: Ids) -> None:
        self._step(tokens[:, None], self.past, self.length + 1)

    def _step(self, ids: Ids, past: object, length: int) -> None:
        self.length = length
        positions = np.arange(length - ids.shape[1], length)
        output = self.model(
            input_ids=self.torch.from_numpy(ids),
            attention_mask=self.torch.ones((len(ids), length), dtype=self.torch.int64),
            position_ids=self.torch.from_numpy(np.tile(positions, (len(ids), 1))),
            past_key_values=past,
            use_cache=True,
        )
        self.past = output.past_key_values
