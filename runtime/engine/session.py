"""Sessions of ONNX Runtime: the one place in the runtime that makes them."""

import mmap
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from gptneo_onnx.models.denormals import denormals_as_zero, unchanged_float_state
from gptneo_onnx.models.errors import DeviceError, InputError, ModelFileError
from gptneo_onnx.models.graph import NumberFormat, Precision
from gptneo_onnx.models.named_file import is_utf8
from gptneo_onnx.runtime.engine.device import (
    CPU,
    Device,
    candidate_devices,
    preload_cuda_libraries,
    saturates_int8_sums,
    warn_fallback,
    warn_saturating_sums,
)
from gptneo_onnx.runtime.engine.forked_process import keep_in_forked_processes
from gptneo_onnx.runtime.engine.threads import thread_count, threads_spin
from gptneo_onnx.runtime.model_files.held_file import HeldGraph
from gptneo_onnx.runtime.onnx_runtime import is_onnx_runtime

onnxruntime.disable_telemetry_events()

# With it, weights are read where they are handed over, instead of being copied.
_USE_BUFFERS = "session.use_external_initializer_file_buffers_directly"
_LEAST_WITH_BUFFERS = "1.32.0"
# SkipLayerNormalization on CUDA sums in float16 unless told not to.
CUDA_DEFAULTS = {"enable_skip_layer_norm_strict_mode": "1"}


@dataclass(frozen=True)
class Session:
    """An ONNX Runtime session, and the device that it really runs on.

    `weights` are the mapped files that it reads its weights from.
    """

    inference: onnxruntime.InferenceSession
    device: Device
    weights: tuple[mmap.mmap, ...] = ()

    def run(self, binding: onnxruntime.IOBinding) -> None:
        """Run what is bound; on return, outputs bound to memory of the host are there."""
        with denormals_as_zero():
            self.inference.run_with_iobinding(binding)
        if self.device != CPU:
            binding.synchronize_outputs()


@dataclass(frozen=True)
class _Source:
    """What a session is made of, its name for messages, and the mapped files of its weights."""

    model: Path | bytes
    name: str
    weights: tuple[mmap.mmap, ...] = ()


def create_session(
    graph: Path | HeldGraph,
    numbers: NumberFormat | None,
    device: str = "auto",
    num_threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
    mmap: bool = False,
    spin: bool | None = None,
    pack: bool = True,
) -> Session:
    """Create a session on the requested device.

    Args:
        graph: the .onnx file; or the open files, which are then the ones that are loaded (see
            loads_by_path()).
        numbers: the number format of a fused graph: not every device has kernels for each.
        device: auto, cpu, cuda or cuda:N.
        num_threads: threads of one operator; None takes one per core that the process may use.
        provider_options: options of ONNX Runtime's execution provider, over our defaults.
        mmap: whether weights stay in the mapped file, instead of being packed for the kernels.
        spin: whether threads spin while they wait; None decides by threads_spin().
        pack: False loads without packing, as mmap does, where a slow step is no matter.

    Raises:
        InputError: an argument is out of range.
        DeviceError: the device was asked for by name and cannot be had.
        ModelFileError: ONNX Runtime refuses the graph.
    """
    _check_provider_options(provider_options or {})
    if _has_full_8_bit_sums(numbers) and saturates_int8_sums():
        warn_saturating_sums()
    options = _session_options(num_threads, spin)
    if mmap:
        _check_mmap(numbers)
    if mmap or not pack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if isinstance(graph, HeldGraph):
        source = _hand_over(graph, options)
    else:
        source = _Source(graph, str(graph))
    candidates = candidate_devices(device, numbers)
    for candidate in candidates:
        try:
            return _create(source, options, candidate, dict(provider_options or {}))
        except DeviceError as error:
            if candidate is candidates[-1]:
                raise
            warn_fallback(candidate, str(error).removeprefix(f"device {candidate} "))
    raise AssertionError("candidate_devices returns at least one device")


def loads_by_path(graph: HeldGraph) -> bool:
    """Return whether ONNX Runtime has to open these files again, by their paths.

    It takes weights from memory without a copy since 1.32. A large graph, with its weights inside,
    it can open by another name of the open file on Linux.
    """
    has_buffers = not graph.data_files or is_onnx_runtime(_LEAST_WITH_BUFFERS)
    return not has_buffers or (graph.graph.is_large and sys.platform != "linux")


def _hand_over(graph: HeldGraph, options: onnxruntime.SessionOptions) -> _Source:
    """Return what a session is made of; have the options read weights from the open files."""
    name = str(graph.graph.path)
    if loads_by_path(graph):
        return _Source(graph.graph.path, name)
    weights = {file.path.name: file.mapped() for file in graph.data_files if file.size}
    if weights:
        options.add_external_initializers_from_files_in_memory(
            [*weights], [*weights.values()], [*map(len, weights.values())]
        )
        options.add_session_config_entry(_USE_BUFFERS, "1")
    file = graph.graph
    model = Path(f"/proc/self/fd/{file.descriptor}") if file.is_large else file.content()
    return _Source(model, name, tuple(weights.values()))


def _has_full_8_bit_sums(numbers: NumberFormat | None) -> bool:
    if numbers is None or numbers.precision is not Precision.W8A8:
        return False
    return not numbers.reduce_range


def _check_mmap(numbers: NumberFormat | None) -> None:
    """Raise InputError for weights that are several times slower unless they are packed."""
    if numbers is None or numbers.precision is not Precision.FP32:
        kind = "a portable graph" if numbers is None else f"in {numbers.precision.value}"
        raise InputError(
            f"mmap is for fused graphs in fp32, and this is {kind}, whose weights are packed when "
            "they are loaded; leave it out"
        )


def _check_provider_options(provider_options: Mapping[str, Any]) -> None:
    if str(provider_options.get("enable_cuda_graph", "0")).lower() in ("1", "true"):
        # ONNX Runtime would capture the first prefill and replay it for every step.
        raise InputError(
            "provider_options has enable_cuda_graph, which this runtime does not use; leave it out "
            "(docs/precision.md, On CUDA, says how your own loop can use it)"
        )


def create_session_of_bytes(graph: bytes, device: Device) -> Session:
    """Create a session of a graph that the runtime made itself, on exactly that device.

    Raises:
        DeviceError: the device cannot be had.
    """
    return _create(_Source(graph, "a graph"), _session_options(1), device, {})


def _session_options(
    num_threads: int | None, spin: bool | None = None
) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come back as exceptions, which become one line
    # For the session's own threads; run() does the same for the calling one.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Threads stop spinning after a run: a draft model's would keep cores that the other needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # On all threads; releases before 1.32 do it on one.
    options.add_session_config_entry("session.prepack.enable_parallel", "1")
    # Only this format was checked: ONNX Runtime must not guess another from the file's name.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    threads = thread_count(num_threads)
    if threads is not None:
        options.intra_op_num_threads = threads
    if not threads_spin(spin):
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _create(
    source: _Source,
    options: onnxruntime.SessionOptions,
    device: Device,
    user_options: dict[str, Any],
) -> Session:
    if device.type == "cuda":
        preload_cuda_libraries()
        # Our own message says why the provider cannot load; ONNX Runtime would log it again.
        onnxruntime.set_default_logger_severity(4)
        user_options = {**CUDA_DEFAULTS, "device_id": str(device.index), **user_options}
    providers: list[Any] = [(device.provider, user_options)]
    if device != CPU:
        providers.append(CPU.provider)  # for the shape arithmetic that has no GPU kernels
    if isinstance(source.model, Path) and not is_utf8(source.model):
        raise ModelFileError(
            f"{source.name} has a name that is not UTF-8, which ONNX Runtime cannot open; rename it"
        )
    # The fused kernel takes four times as long as the Add and LayerNormalization it replaces.
    optimizers = {"disabled_optimizers": ["SkipLayerNormFusion"]} if device == CPU else {}
    try:
        # Without the fallback a provider that fails raises, instead of silently becoming another.
        with unchanged_float_state():
            inference = onnxruntime.InferenceSession(
                source.model, options, providers=providers, enable_fallback=0, **optimizers
            )
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        reason = str(error).strip().partition("\n")[0]
        if device != CPU:
            raise DeviceError(
                f"device {device} cannot be used: {reason}; run `gptneo-onnx doctor`"
            ) from error
        raise ModelFileError(f"ONNX Runtime refuses {source.name}: {reason}") from error
    keep_in_forked_processes(inference)
    if device.provider not in inference.get_providers():
        raise DeviceError(
            f"device {device} cannot be used: ONNX Runtime could not load {device.provider}; "
            "run `gptneo-onnx doctor` to see which library is missing"
        )
    for weights in source.weights:
        if hasattr(weights, "madvise"):  # most were copied; the rest is read again when needed
            weights.madvise(mmap.MADV_DONTNEED)
    return Session(inference, device, source.weights)
