"""Writing graphs with their weights file, and checking that they run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import onnx

from gptneo_onnx.export.calibration.calibration import calibrated_blocks
from gptneo_onnx.export.calibration.calibration_text import calibration_windows
from gptneo_onnx.export.check.smoke_run import smoke_run
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.graphs.decoder import DecoderGraph, build_graph
from gptneo_onnx.export.graphs.fused import FusedGraph
from gptneo_onnx.export.graphs.genai import GenaiGraph
from gptneo_onnx.export.graphs.model_weights import WeightSource, model_weights
from gptneo_onnx.export.graphs.portable import PortableGraph
from gptneo_onnx.export.weights.weight_group import WeightGroup
from gptneo_onnx.export.weights.weights_file import StoredWeights, plan_weights, write_weights
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ExportError, GPTNeoOnnxError, ModelFileError
from gptneo_onnx.models.genai_graph import genai_contract
from gptneo_onnx.models.graph import DataType, GraphContract, NumberFormat, fused_contract
from gptneo_onnx.models.manifest import LEAST_ONNX_RUNTIME
from gptneo_onnx.models.portable_graph import portable_contract
from gptneo_onnx.models.tasks import Task

# Tokens that the check of an export reads: a few rows of the embedding, several positions.
_SMOKE_TOKENS = 8

_Contract = Callable[[GPTNeoConfig, NumberFormat, Sequence[int], Task], GraphContract]
_KINDS: dict[str, tuple[_Contract, type[DecoderGraph]]] = {
    "fused": (fused_contract, FusedGraph),
    "portable": (portable_contract, PortableGraph),
    # onnxruntime-genai generates, and takes no outputs but logits and caches.
    "genai": (lambda config, numbers, *_: genai_contract(config, numbers), GenaiGraph),
}


@dataclass(frozen=True)
class FormatFiles:
    """What is written in one number format.

    Attributes:
        numbers: the format.
        graphs: the file of each kind of graph.
        weights: the file of their weights, which lies beside them.
        calibration_text: what weights are calibrated by; None if they are not.
    """

    numbers: NumberFormat
    graphs: Mapping[str, Path]
    weights: Path
    calibration_text: Path | None = None


@dataclass(frozen=True)
class GraphFile:
    """A graph, with the file for it and its contract."""

    path: Path
    model: onnx.ModelProto
    contract: GraphContract


def head_sizes(config: GPTNeoConfig, kinds: Iterable[str]) -> tuple[int, ...]:
    """Return the sizes of heads that graphs of these kinds multiply by, each once."""
    return tuple(dict.fromkeys(_KINDS[kind][1].head_size(config) for kind in kinds))


def weights_of(
    source: Checkpoint, files: FormatFiles, task: Task, tokenizer: Path
) -> Iterator[WeightGroup]:
    """Yield the weights of a task's graphs in one format, calibrated if there is a text.

    Raises:
        InputError: the text or the tokenizer cannot be used.
    """
    config, numbers = source.config, files.numbers
    sizes = head_sizes(config, files.graphs)
    if files.calibration_text is None:
        return model_weights(source, numbers, sizes, task)
    ids = calibration_windows(
        files.calibration_text, tokenizer, config.vocab_size, config.max_position_embeddings
    )
    return model_weights(source, numbers, sizes, task, calibrated_blocks(source, ids))


def build_graphs(
    source: Checkpoint,
    files: FormatFiles,
    hidden_states: Sequence[int],
    task: Task,
    earlier: Sequence[StoredWeights],
) -> tuple[list[GraphFile], StoredWeights]:
    """Build graphs, and place their weights in a file that is not written yet.

    The arguments are those of write_graphs.

    Raises:
        ModelFileError: a tensor is missing, or has another shape than the config says.
    """
    config, numbers = source.config, files.numbers
    # What a calibrated weight is computed from does not decide where it lies.
    sources = None if files.calibration_text is None else repeat(WeightSource(source))
    groups = [*model_weights(source, numbers, head_sizes(config, files.graphs), task, sources)]
    specs = [spec for group in groups for spec in group.specs]
    stored = plan_weights(files.weights.name, groups, earlier)
    built = []
    for kind, path in files.graphs.items():
        make_contract, decoder = _KINDS[kind]
        contract = make_contract(config, numbers, hidden_states, task)
        model = build_graph(decoder, config, contract, numbers, specs, stored)
        built.append(GraphFile(path, model, contract))
    return built, stored


def write_graphs(
    source: Checkpoint,
    files: FormatFiles,
    weights: Iterable[WeightGroup],
    hidden_states: Sequence[int],
    task: Task,
    earlier: Sequence[StoredWeights],
    progress: bool,
) -> tuple[list[GraphFile], StoredWeights]:
    """Write graphs and the file of their weights, and check that ONNX Runtime runs them.

    Args:
        source: the checkpoint.
        files: the number format, and the files to write.
        weights: those of weights_of; each group is computed when it is written.
        hidden_states: the layers whose hidden states are outputs too.
        task: what all are for.
        earlier: where the formats before this one lie; what they hold too is not stored again.
        progress: draw a progress bar on a terminal.

    Raises:
        ModelFileError: the checkpoint's weights cannot be read, or give no finite results.
        ExportError: ONNX Runtime cannot run what was written.
    """
    written, stored = build_graphs(source, files, hidden_states, task, earlier)
    for graph in written:
        graph.path.write_bytes(graph.model.SerializeToString())
    write_weights(files.weights, weights, stored, progress)
    for graph in written:
        _check(graph, source, files.numbers)
    return written, stored


def _check(graph: GraphFile, source: Checkpoint, numbers: NumberFormat) -> None:
    """Run onnx's checker, and one step in ONNX Runtime where its CPU has the kernels."""
    onnx.checker.check_model(str(graph.path))
    if numbers.activations is DataType.BFLOAT16:
        return  # ONNX Runtime's CPU provider has no bfloat16 kernels
    try:
        ids = _smoke_ids(source.config)
        results = smoke_run(graph.model, graph.path.parent, graph.contract, ids)
    except (GPTNeoOnnxError, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ExportError(
            f"ONNX Runtime cannot run the exported graph ({str(error)[:200]!r}); "
            f"version {LEAST_ONNX_RUNTIME} or later is needed"
        ) from error
    if not all(np.isfinite(result).all() for result in results):
        advice = (
            "export with --precision bf16 or fp32"
            if numbers.activations is DataType.FLOAT16
            else "the weights are damaged: fetch the checkpoint again"
        )
        raise ModelFileError(
            f"{source.directory}: its first {_results(graph.contract)} in "
            f"{numbers.precision.value} are not finite numbers; {advice}"
        )


def _results(contract: GraphContract) -> str:
    return "logits" if contract.results else "hidden states"


def _smoke_ids(config: GPTNeoConfig) -> list[int]:
    """Return a few token ids from all over the vocabulary, the first and the last among them."""
    count = min(_SMOKE_TOKENS, config.max_position_embeddings)
    return [int(token) for token in np.linspace(0, config.vocab_size - 1, count)]
