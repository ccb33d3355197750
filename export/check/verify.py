"""Comparing an exported graph with transformers: the `optimum` extra's part of an export."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.check.stepper import GraphStepper
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.models.errors import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.models.graph import DataType, GraphContract, NumberFormat, Precision

# Largest difference of a logit, in standard deviations of the logits.
TOLERANCES = {Precision.FP32: 1e-4, Precision.FP16: 2e-2}
# What rounding weights costs depends on the weights: it is reported, and a graph that is wrong in
# another way would be far beyond this.
QUANTIZED_TOLERANCE = 1.0
CHUNK = 64
SEED = 2021

Array = NDArray[np.float32]


def check_can_verify(numbers: NumberFormat) -> None:
    """To be called before the work of an export.

    Raises:
        InputError: bfloat16, which ONNX Runtime's CPU cannot run.
        MissingDependencyError: torch or transformers is not installed.
    """
    if numbers.activations is DataType.BFLOAT16:
        raise InputError(
            "--verify runs on the CPU, which has no bf16 kernels; verify an export of the same "
            "checkpoint in fp32, or with --activations fp32"
        )
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"--verify needs {package}: pip install 'gptneo-onnx[optimum]'"
            )


def verify_graph(
    graph: Path,
    contract: GraphContract,
    source: Checkpoint,
    numbers: NumberFormat,
    report: Callable[[str], object],
    windows: int = 2,
) -> None:
    """Hold prefill, chunked prefill and decode against transformers in float32.

    On random tokens, longer than that many windows where the context allows it. Reports the largest
    difference of each.

    Raises:
        ModelFileError: the difference is beyond the precision's tolerance.
    """
    config, precision = source.config, numbers.precision
    tolerance = TOLERANCES.get(precision, QUANTIZED_TOLERANCE)
    length = min(windows * config.window_size + CHUNK + 1, config.max_position_embeddings)
    ids = np.random.default_rng(SEED).integers(0, config.vocab_size, length)
    # What rounded weights cost shows in the logits.
    layers = [] if precision.is_quantized else [*contract.hidden_states]
    expected, states = _transformers_outputs(source.directory, ids, layers)
    spread = float(expected.std())
    of_states = []
    # One session for all: two of a large model would not fit into memory beside each other.
    session = GraphStepper.open(graph, contract, config).session
    for name, chunk in (("prefill", length), ("chunked prefill", CHUNK), ("decode", 1)):
        stepper = GraphStepper(session, contract, config)
        differences = []
        for start in range(0, length, chunk):
            logits = stepper.step(ids[start : start + chunk])
            end = min(start + chunk, length)  # of some graphs the logits are the last row alone
            wanted = expected[end - len(logits) : end]
            differences.append(np.abs(logits - wanted).max())
            of_states += [
                _states_difference(stepper.hidden_states[layer], states[layer], start)
                for layer in layers
            ]
        difference = float(np.max(differences)) / spread  # not a number if one is not
        report(
            f"verify: {name} of {length} tokens differs from transformers by at most "
            f"{difference:.1e} of the logits' spread ({graph.name})"
        )
        if not difference <= tolerance:
            raise ModelFileError(
                f"{name} differs from transformers by {difference:.1e} of the logits' spread; "
                f"{tolerance:.0e} is allowed for {precision.value} ({graph.name})"
            )
    if of_states:
        _report_states(float(np.max(of_states)), tolerance, graph, report)


def _states_difference(found: Array, expected: Array, start: int) -> float:
    """The largest of found [tokens, hidden], in shares of the spread and of the numbers themselves.

    A few dimensions of hidden states are far from all others, and rounded accordingly.
    """
    wanted = expected[start : start + len(found)]
    return float((np.abs(found - wanted) / (expected.std() + np.abs(wanted))).max())


def _report_states(
    difference: float, tolerance: float, graph: Path, report: Callable[[str], object]
) -> None:
    report(
        f"verify: hidden states differ from transformers by at most {difference:.1e} of their "
        f"spread and size ({graph.name})"
    )
    if not difference <= tolerance:
        raise ModelFileError(
            f"hidden states differ from transformers by {difference:.1e} of their spread and size; "
            f"{tolerance:.0e} is allowed ({graph.name})"
        )


def _transformers_outputs(
    checkpoint: Path, ids: NDArray[np.int64], layers: Sequence[int]
) -> tuple[Array, dict[int, Array]]:
    """Of ids [length], by the model that the checkpoint was saved from.

    Logits [length, vocab], and hidden states [length, hidden] of the layers.
    """
    import torch
    from transformers import GPTNeoForCausalLM

    torch.set_flush_denormal(True)
    model: Any = GPTNeoForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(ids)[None], output_hidden_states=bool(layers))
    states = {layer: output.hidden_states[layer][0].numpy() for layer in layers}
    return output.logits[0].numpy(), states
