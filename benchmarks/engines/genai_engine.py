"""onnxruntime-genai's generation loop, on this project's genai graph."""

import json

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def export(checkpoint: str, out: str, precision: str) -> None:
    """Export the checkpoint with this project, as its genai graph."""
    from gptneo_onnx.export import export_model

    export_model(checkpoint, out, graph="genai", precision=precision)


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        import onnxruntime_genai

        self.genai = onnxruntime_genai
        self.model = onnxruntime_genai.Model(with_threads(directory, threads))

    def prefill(self, ids: Ids) -> None:
        """Start a sequence of each prompt [batch, length], in a new generator with a new cache."""
        parameters = self.genai.GeneratorParams(self.model)
        parameters.set_search_options(
            batch_size=len(ids), max_length=ids.shape[1] + 64, do_sample=False
        )
        self.generator = self.genai.Generator(self.model, parameters)
        self.generator.append_tokens(ids.astype(np.int32))

    def decode(self, tokens: Ids) -> None:
        """Step to its own likeliest tokens, not the given ones: in batches it takes no others."""
        self.generator.generate_next_token()


def with_threads(directory: str, threads: int) -> object:
    """Return the model's configuration with the number of threads set."""
    import onnxruntime_genai

    config = onnxruntime_genai.Config(directory)
    options = {"intra_op_num_threads": threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    return config
