"""Comparing an exported graph with transformers: the `optimum` extra's part of an export."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.checkpoint import Checkpoint
from gptneo_onnx.export.graph_step import GraphStepper
from gptneo_onnx.models.errors import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.models.graph import GraphContract, Precision
from gptneo_onnx.models.manifest import GRAPH_FILE

# Largest difference of a logit, in standard deviations of the logits.
TOLERANCES = {Precision.FP32: 1e-4, Precision.FP16: 2e-2}
CHUNK = 64
SEED = 2021


def check_can_verify(precision: Precision) -> None:
    """To be called before the work of an export.

    Raises:
        InputError: bfloat16, which ONNX Runtime's CPU cannot run.
        MissingDependencyError: torch or transformers is not installed.
    """
    if precision not in TOLERANCES:
        raise InputError(
            f"--verify runs on the CPU, which has no {precision.value} kernels; verify an fp32 "
            "export of the same checkpoint"
        )
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"--verify needs {package}: pip install 'gptneo-onnx[optimum]'"
            )


def verify_graph(
    directory: Path,
    contract: GraphContract,
    source: Checkpoint,
    precision: Precision,
    report: Callable[[str], object],
) -> None:
    """Hold prefill, chunked prefill and decode against transformers in float32.

    On random tokens, longer than twice the window where the context allows it. Reports the largest
    difference of each.

    Raises:
        ModelFileError: the difference is beyond the precision's tolerance.
    """
    config = source.config
    length = min(2 * config.window_size + CHUNK + 1, config.max_position_embeddings)
    ids = np.random.default_rng(SEED).integers(0, config.vocab_size, length)
    expected = _transformers_logits(source.directory, ids)
    spread = float(expected.std())
    for name, chunk in (("prefill", length), ("chunked prefill", CHUNK), ("decode", 1)):
        stepper = GraphStepper.open(directory / GRAPH_FILE, contract, config)
        chunks = [stepper.step(ids[start : start + chunk]) for start in range(0, length, chunk)]
        difference = float(np.abs(np.concatenate(chunks) - expected).max()) / spread
        report(
            f"verify: {name} of {length} tokens differs from transformers by at most "
            f"{difference:.1e} of the logits' spread"
        )
        if not difference <= TOLERANCES[precision]:
            raise ModelFileError(
                f"{name} differs from transformers by {difference:.1e} of the logits' spread; "
                f"{TOLERANCES[precision]:.0e} is allowed for {precision.value}"
            )


def _transformers_logits(checkpoint: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits [length, vocab] of ids [length], by the model that the checkpoint was saved from."""
    import torch
    from transformers import GPTNeoForCausalLM

    torch.set_flush_denormal(True)
    model: Any = GPTNeoForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(ids)[None]).logits[0]
    return np.asarray(logits.numpy(), np.float32)
