"""Arguments of from_pretrained() and pipeline() that transformers and Optimum have.

Some name a device or a type in another way, and are read. Those that change nothing here are passed
over. The others are refused, with what takes their place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.checkpoint_source import SourceArguments
from gptneo_onnx.runtime.engine.device import PROVIDERS
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.pretrained_model import check_dtype, device_name

_CHECKPOINTS = "prepare the checkpoint with transformers, and export it"
_WHOLE = "a model runs whole on one device; pass device="
_QUANTIZED = "quantized weights are exported: pass --precision int8 or int4 to gptneo-onnx export"
_FRAMEWORKS = "checkpoints of other frameworks are read by gptneo-onnx export"
_ENGINE = "num_threads=, spin= and mmap= set what ONNX Runtime's sessions are made with"

# What to do instead of these; None and False ask for nothing.
_INSTEAD = {
    "adapter_kwargs": "export the checkpoint with adapter=DIR, which merges an adapter",
    "config": "the directory's config.json says what the model is; leave it out",
    "feature_extractor": "a text model has none; leave it out",
    "from_flax": _FRAMEWORKS,
    "from_tf": _FRAMEWORKS,
    "generation_config": "set the model's generation_config afterwards, or pass it to generate()",
    "gguf_file": _FRAMEWORKS,
    "image_processor": "a text model has none; leave it out",
    "key_mapping": _CHECKPOINTS,
    "load_in_4bit": _QUANTIZED,
    "load_in_8bit": _QUANTIZED,
    "max_memory": _WHOLE,
    "offload_folder": _WHOLE,
    "offload_state_dict": _WHOLE,
    "output_loading_info": "nothing is left out of an export; leave it out",
    "pipeline_class": "call a class of gptneo_onnx.runtime with a model and a tokenizer",
    "processor": "pass tokenizer=",
    "quantization_config": _QUANTIZED,
    "session_options": _ENGINE,
    "state_dict": _CHECKPOINTS,
    "tp_plan": _WHOLE,
    "tp_size": _WHOLE,
}
# Any value of these changes nothing.
_PASSED_OVER = (
    "accelerator",
    "attn_implementation",
    "binary_output",
    "framework",
    "ignore_mismatched_sizes",
    "low_cpu_mem_usage",
    "mirror",
    "model_save_dir",
    "modelcard",
    "num_workers",
    "proxies",
    "resume_download",
    "use_auth_token",
    "use_cache",
    "use_io_binding",
    "use_merged",
    "use_safetensors",
    "weights_only",
)
_DEVICES = ("device_map", "provider", "providers")
_DTYPES = ("dtype", "torch_dtype")
# Which files are meant; see SourceArguments.
_SOURCES = tuple(SourceArguments.__annotations__)
LOAD_NAMES = frozenset([*_INSTEAD, *_PASSED_OVER, *_DEVICES, *_DTYPES, *_SOURCES])
OWN_NAMES = (
    "batch_invariant",
    "device",
    "file_name",
    "mmap",
    "num_threads",
    "precision",
    "provider_options",
    "slots",
    "spin",
    "trust_graph",
)


class LoadArguments(SourceArguments, total=False):
    """Arguments of from_pretrained() that are read in transformers' and Optimum's way, or refused.

    Attributes:
        device_map, provider, providers: where to run, as device= says it.
        dtype, torch_dtype: must be the type that the export calculates in, or "auto".
        cache_dir, export, revision and so on: see SourceArguments.
    """

    accelerator: Any
    adapter_kwargs: Any
    attn_implementation: Any
    binary_output: Any
    config: Any
    device_map: Any
    dtype: Any
    feature_extractor: Any
    framework: str | None
    from_flax: Any
    from_tf: Any
    generation_config: Any
    gguf_file: Any
    ignore_mismatched_sizes: Any
    image_processor: Any
    key_mapping: Any
    load_in_4bit: Any
    load_in_8bit: Any
    low_cpu_mem_usage: Any
    max_memory: Any
    mirror: Any
    model_save_dir: Any
    modelcard: Any
    num_workers: int | None
    offload_folder: Any
    offload_state_dict: Any
    output_loading_info: Any
    pipeline_class: Any
    processor: Any
    provider: str | None
    providers: Sequence[str] | None
    proxies: Any
    quantization_config: Any
    resume_download: Any
    session_options: Any
    state_dict: Any
    torch_dtype: Any
    tp_plan: Any
    tp_size: Any
    use_auth_token: Any
    use_cache: bool | None
    use_io_binding: bool | None
    use_merged: bool | None
    use_safetensors: bool | None
    weights_only: Any


@dataclass(frozen=True)
class Loading:
    """How a model is to be loaded.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        provider_options: of ONNX Runtime's execution provider.
        dtypes: the types that were asked for, by argument.
        source: the arguments that say which files are meant.
    """

    device: str
    provider_options: Mapping[str, Any] | None = None
    dtypes: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        device: Any,
        provider_options: Any,
        arguments: Mapping[str, Any],
        function: str = "from_pretrained",
    ) -> "Loading":
        """Read the arguments that are not this project's own.

        Args:
            device: a device in this project's, transformers' or torch's way; None is auto.
            provider_options: a dict, or as Optimum takes it, a list with one for each provider.
            arguments: the others.
            function: what they were passed to, for messages.

        Raises:
            InputError: an unknown name, one that has no meaning here, or two devices.
        """
        for name, value in arguments.items():
            if name not in LOAD_NAMES:
                raise InputError(_unknown(function, name))
            if name in _INSTEAD and value is not None and value is not False:
                raise InputError(f"{function}() takes no {name}: {_INSTEAD[name]}")
        if isinstance(provider_options, Sequence):
            first, *others = provider_options or [None]
            if any(others):
                raise InputError("provider_options has several; the device's own is allowed")
            provider_options = first
        return cls(
            _device(device, arguments),
            provider_options,
            {name: arguments[name] for name in _DTYPES if name in arguments},
            {name: arguments[name] for name in _SOURCES if name in arguments},
        )

    def check(self, engine: Engine) -> None:
        """Raise InputError unless a model calculates in the types that were asked for."""
        for name, dtype in self.dtypes.items():
            check_dtype(engine, name, dtype)


def _unknown(function: str, name: str) -> str:
    names = sorted({*OWN_NAMES, *LOAD_NAMES} - {name})
    close = get_close_matches(name, names, n=3) or [*OWN_NAMES]
    return f"{function}() has no argument {name!r}; it has {', '.join(close)}"


def _device(device: Any, arguments: Mapping[str, Any]) -> str:
    """Return the device that is asked for, by any of its names."""
    asked = {"device": "auto" if device is None else device_name(device)}
    if (place := arguments.get("device_map")) is not None:
        asked["device_map"] = _mapped_device(place)
    for name in ("provider", "providers"):
        if (value := arguments.get(name)) is not None:
            asked[name] = _provider_device(name, [value] if isinstance(value, str) else value)
    chosen = {value: name for name, value in asked.items() if value != "auto"}
    if len(chosen) > 1:
        both = " and ".join(f"{name} is {value}" for value, name in chosen.items())
        raise InputError(f"{both}; pass one of them")
    return next(iter(chosen), "auto")


def _mapped_device(place: Any) -> str:
    """Return the device of a device_map: a name, a number, or {"": either of them}."""
    if isinstance(place, Mapping):
        if len({*map(str, place.values())}) != 1:
            raise InputError(f"device_map is {shown(place)}; {_WHOLE}")
        [place, *_] = place.values()
    if place in ("auto", "balanced", "balanced_low_0", "sequential"):
        return "auto"
    return device_name(place)


def _provider_device(name: str, providers: Any) -> str:
    """Return the device of ONNX Runtime's providers; a GPU's with the CPU's after it is auto."""
    devices = {provider: device for device, provider in PROVIDERS.items()}
    unknown = [each for each in providers if each not in devices]
    if unknown or not providers:
        raise InputError(
            f"{name} is {shown(providers)}; {' and '.join(devices)} are run, which device=cpu and "
            "device=cuda stand for"
        )
    found = [devices[each] for each in providers]
    return found[0] if len(found) == 1 or found[0] == "cpu" else "auto"
