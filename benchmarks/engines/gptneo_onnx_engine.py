"""This project's runtime: its decoder, which generate() is built on."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def export(checkpoint: str, out: str, precision: str) -> None:
    """Export the checkpoint as the fused graph."""
    from gptneo_onnx.export import export_model

    export_model(checkpoint, out, precision=precision)


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        from gptneo_onnx.runtime import GPTNeoForCausalLM

        self.model = GPTNeoForCausalLM.from_pretrained(
            directory, device="cpu", slots=slots, num_threads=threads
        )

    def prefill(self, ids: Ids) -> None:
        """Start a new sequence of each prompt [batch, length]."""
        decoder = self.model.engine.decoder(len(ids))
        for slot, prompt in enumerate(ids):
            decoder.cache.clear(slot)
            decoder.prefill(slot, prompt)

    def decode(self, tokens: Ids) -> None:
        """Append one token [batch] to each sequence."""
        self.model.engine.decoder(len(tokens)).decode(tokens, np.ones(len(tokens), bool))
