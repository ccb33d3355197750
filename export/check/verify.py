"""Compares an exported graph with transformers (needs the `optimum` extra)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.export.check.stepper import GraphStepper
from gptneo_onnx.export.checkpoint.checkpoint import PREFIX, Checkpoint
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.models.graph import (
    INPUT_IDS,
    LOGITS,
    ROWS,
    DataType,
    GraphContract,
    NumberFormat,
    Precision,
)
from gptneo_onnx.models.portable_graph import ATTENTION_MASK
from gptneo_onnx.models.tasks import LM_HEAD, Head, Task

# The largest difference of a logit that is allowed, in standard deviations of the logits.
TOLERANCES = {Precision.FP32: 1e-4, Precision.FP16: 2e-2}
# What rounding weights costs depends on the weights, so it is only reported; a graph that is wrong
# in another way would be far beyond this.
QUANTIZED_TOLERANCE = 1.0
CHUNK = 64
SEED = 2021

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Expected:
    """The results of transformers.

    Attributes:
        logits: what the head gives, [length, columns] or of the last token alone; empty without
            a head.
        spread: the standard deviation of what the head gives at all tokens.
        hidden_states: [length, hidden] by layer.
        padded: the logits [texts, columns] of _padded_batch, of a graph that pools texts.
    """

    logits: Array
    spread: float
    hidden_states: dict[int, Array]
    padded: Array | None


def check_can_verify(numbers: NumberFormat) -> None:
    """Check, before the work of an export, that `verify_graph` will be able to run.

    Raises:
        InputError: the numbers are bfloat16, which ONNX Runtime's CPU cannot run.
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
    """Compare prefill, chunked prefill and decode with transformers in float32.

    The tokens are random, and more than `windows` local windows where the context allows it.
    Reports the largest difference of each, and a verdict at the end.

    Raises:
        ModelFileError: a difference is beyond the precision's tolerance.
    """
    config, precision = source.config, numbers.precision
    tolerance = TOLERANCES.get(precision, QUANTIZED_TOLERANCE)
    length = min(windows * config.window_size + CHUNK + 1, config.max_position_embeddings)
    ids = np.random.default_rng(SEED).integers(0, config.vocab_size, length)
    # What rounding weights costs shows in the logits already, where there are any.
    layers = [] if precision.is_quantized and contract.results else [*contract.hidden_states]
    expected = _run_transformers(source, contract, ids, layers)
    state_differences, of_logits = [], []
    # One session for all: memory may not hold a large model twice.
    session = GraphStepper.open(graph, contract, config).session
    ways = (("prefill", length), ("chunked prefill", CHUNK), ("decode", 1))
    for name, chunk in ways if contract.takes_past else ways[:1]:
        stepper = GraphStepper(session, contract, config)
        logits, states = _largest_differences(stepper, ids, chunk, expected)
        state_differences.append(states)
        if contract.results:
            what = f"{name} of {length} tokens"
            of_logits.append(logits / expected.spread)
            _check_logits(what, of_logits[-1], precision, graph, report)
    if expected.padded is not None:
        batch, mask = _padded_batch(config, ids)
        [logits] = session.run([LOGITS], {INPUT_IDS: batch, ATTENTION_MASK: mask})
        of_logits.append(float(np.abs(logits - expected.padded).max()) / expected.spread)
        _check_logits("a padded batch", of_logits[-1], precision, graph, report)
    if layers:
        _check_states(float(np.max(state_differences)), tolerance, graph, report)
    largest = max([*of_logits, *state_differences])  # of states that are not compared it is 0
    report(
        f"verified: {graph.name} and transformers differ by at most {largest:.1e} of the spread, "
        f"within {tolerance:g}"
    )


def _check_logits(
    what: str,
    difference: float,
    precision: Precision,
    graph: Path,
    report: Callable[[str], object],
) -> None:
    tolerance = TOLERANCES.get(precision, QUANTIZED_TOLERANCE)
    report(
        f"verify: {what} differs from transformers by at most {difference:.1e} of the logits' "
        f"spread ({graph.name})"
    )
    if not difference <= tolerance:  # also if it is not a number
        raise ModelFileError(
            f"{what} differs from transformers by {difference:.1e} of the logits' spread; "
            f"{tolerance:.0e} is allowed for {precision.value} ({graph.name})"
        )


def _largest_differences(
    stepper: GraphStepper, ids: NDArray[np.int64], chunk: int, expected: _Expected
) -> tuple[float, float]:
    """Step through the ids in chunks; return the largest difference of a logit and of a state.

    Either is not a number if one of the results is not.
    """
    of_logits, of_states = [], [0.0]
    for start in range(0, len(ids), chunk):
        end = min(start + chunk, len(ids))
        logits = stepper.step(ids[start:end])
        # Some graphs give the last row alone, or none.
        rows = expected.logits[:end][-len(logits) :] if len(logits) else logits
        of_logits.append(np.abs(logits - rows).max(initial=0.0))
        for layer, states in expected.hidden_states.items():
            of_states.append(_states_difference(stepper.hidden_states[layer], states, start))
    return float(np.max(of_logits)), float(np.max(of_states))


def _states_difference(states: Array, expected: Array, start: int) -> float:
    """Return the largest difference of hidden states [tokens, hidden], relative to their scale.

    The scale is the spread of all hidden states [length, hidden] plus the expected number itself:
    a few dimensions are far larger than all others, and rounded accordingly.
    """
    rows = expected[start : start + len(states)]
    return float((np.abs(states - rows) / (expected.std() + np.abs(rows))).max())


def _check_states(
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


def _is_pooled(contract: GraphContract) -> bool:
    """Return whether the graph gives logits for whole texts, not for their tokens."""
    logits = contract.results[:1]
    return contract.task is Task.TEXT_CLASSIFICATION and logits[0].axes[0] != ROWS


def _run_transformers(
    source: Checkpoint, contract: GraphContract, ids: NDArray[np.int64], layers: Sequence[int]
) -> _Expected:
    """Run ids [length] through the checkpoint in the class of the task's head, in float32."""
    import torch

    torch.set_flush_denormal(True)
    padded = None
    with torch.no_grad():
        model = _transformers_model(source, contract.task.head).eval()
        output = model(torch.from_numpy(ids)[None], output_hidden_states=True)
        states = output.hidden_states
        logits = _head_of(model, contract.task.head)(states[-1][0]).numpy()
        spread = float(logits.std()) if contract.results else 0.0
        if _is_pooled(contract):
            logits = output.logits.numpy()
            batch, mask = (torch.from_numpy(part) for part in _padded_batch(source.config, ids))
            padded = model(batch, attention_mask=mask).logits.numpy()
    of_layers = {layer: states[layer][0].numpy() for layer in layers}
    return _Expected(logits, spread, of_layers, padded)


def _head_of(model: Any, head: Head) -> Any:
    """Return the function that makes logits [tokens, columns] of hidden states."""
    if head is Head.NONE:
        return lambda states: states[:, :0]
    name = head.tensors.weight if head.tensors else LM_HEAD
    return getattr(model, name.removesuffix(".weight"))


def _padded_batch(
    config: GPTNeoConfig, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return texts of several lengths and their mask, padded on the right and on the left.

    Without a pad token, transformers takes a single text.
    """
    mask = np.ones((1, len(ids)), np.int64)
    if config.pad_token_id is None:
        return ids[None], mask
    shorter = np.arange(len(ids)) < len(ids) // 2
    mask = np.stack([mask[0], shorter, shorter[::-1]]).astype(np.int64)
    return np.where(mask, ids, config.pad_token_id), mask


def _transformers_model(source: Checkpoint, head: Head) -> Any:
    """Load the model as from_pretrained or peft does; give it the tensors where they would not."""
    import torch
    import transformers

    loader: Any = getattr(transformers, head.value)
    if source.adapter is not None and source.as_transformers and find_spec("peft"):
        return _merged_by_peft(source, loader)
    if source.as_transformers and source.adapter is None:
        return loader.from_pretrained(source.directory, variant=source.variant, dtype=torch.float32)
    config = transformers.AutoConfig.from_pretrained(source.directory, **source.config_changes)
    model = loader(config).float()
    outside = {LM_HEAD, *(head.tensors.names if head.tensors else ())}
    prefix = "" if head is Head.NONE else PREFIX
    state = {
        name if name in outside else prefix + name: torch.from_numpy(
            tensor.read().astype(np.float32)
        )
        for name, tensor in source.tensors.items()
    }
    model.load_state_dict(state, strict=False)
    return model


def _merged_by_peft(source: Checkpoint, loader: Any) -> Any:
    """Load the base model and its adapter as peft does, and merge them."""
    import torch
    from peft import PeftModel

    base = loader.from_pretrained(source.directory, variant=source.variant, dtype=torch.float32)
    if "vocab_size" in source.config_changes:
        base.resize_token_embeddings(source.config.vocab_size, mean_resizing=False)
    return PeftModel.from_pretrained(base, str(source.adapter)).merge_and_unload()
