"""PretrainedModel: what transformers' models have besides calls and generate().

What changes nothing here returns the model. What an exported model cannot do says what to use.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.runtime.engine.device import Device
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.model_files.copy_export import copy_export

_TRAINING = (
    "an exported model only computes outputs; train the checkpoint with transformers, and export "
    "it again"
)
_WEIGHTS = (
    "an exported model has its weights inside the graph; load the checkpoint with transformers for "
    "them"
)
_EMBEDDINGS = (
    "an exported model has its embeddings inside the graph; export with --hidden-states 0, and "
    "call it with output_hidden_states=[0] for those of a text"
)
_ADAPTERS = (
    "an exported model takes no adapters; export the checkpoint again with adapter=DIR, which "
    "merges one"
)
# What to do instead of transformers' methods that are not here.
_INSTEAD = {
    "add_adapter": _ADAPTERS,
    "buffers": _WEIGHTS,
    "children": _WEIGHTS,
    "enable_input_require_grads": _TRAINING,
    "get_input_embeddings": _EMBEDDINGS,
    "get_output_embeddings": _WEIGHTS,
    "get_parameter": _WEIGHTS,
    "gradient_checkpointing_enable": _TRAINING,
    "lm_head": _WEIGHTS,
    "load_adapter": _ADAPTERS,
    "load_state_dict": "an exported model keeps its weights; export the other checkpoint",
    "modules": _WEIGHTS,
    "named_buffers": _WEIGHTS,
    "named_children": _WEIGHTS,
    "named_modules": _WEIGHTS,
    "named_parameters": _WEIGHTS,
    "parameters": _WEIGHTS,
    "prune_heads": "prune the checkpoint with transformers, and export it again",
    "register_forward_hook": "a graph has no hooks; call it with output_hidden_states for what is "
    "inside",
    "set_adapter": _ADAPTERS,
    "set_input_embeddings": _WEIGHTS,
    "state_dict": _WEIGHTS,
    "transformer": "GPTNeoModel(model) returns the hidden states",
    "zero_grad": _TRAINING,
}
_NAMES = {"half": "float16", "float": "float32", "double": "float64", "fp16": "float16"} | {
    "fp32": "float32",
    "bf16": "bfloat16",
}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class UnsupportedAttributeError(AttributeError, InputError):
    """An attribute of transformers' models that an exported model does not have."""


class PretrainedModel:
    """The base of all models.

    Attributes:
        engine: steps the model.
        config: the model's dimensions.
        main_input_name: the first argument of a call.
        framework: the kind of arrays that a model takes and returns.
        training: False, as after eval().
    """

    engine: Engine
    config: GPTNeoConfig
    main_input_name = "input_ids"
    base_model_prefix = "transformer"
    framework = "np"
    training = False

    def __repr__(self) -> str:
        """Show the directory, the type, the size and the device."""
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, dtype={self.dtype!r}, "
            f"num_layers={self.config.num_layers}, hidden_size={self.config.hidden_size}, "
            f"vocab_size={self.config.vocab_size}, device={str(self.device)!r})"
        )

    @property
    def device(self) -> Device:
        """Where the model runs."""
        return self.engine.device

    @property
    def dtype(self) -> str:
        """The type that the graph calculates in: float32, float16 or bfloat16.

        What calls return is float32.
        """
        return self.engine.dtype

    @property
    def name_or_path(self) -> str:
        """The directory that the model was loaded from."""
        return str(self.engine.path)

    @classmethod
    def can_generate(cls) -> bool:
        """Return whether the model has generate()."""
        return hasattr(cls, "generate")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self(*args, **kwargs)  # type: ignore[operator]

    def eval(self) -> Self:
        """Change nothing: a graph has no dropout."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Change nothing with mode=False, as eval(); raise InputError otherwise."""
        return self.requires_grad_(mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Change nothing with False; raise InputError otherwise."""
        if requires_grad:
            raise InputError(_TRAINING)
        return self

    def compile(self, *args: Any, **kwargs: Any) -> Self:
        """Change nothing: ONNX Runtime has optimized the graph."""
        return self

    def tie_weights(self) -> None:
        """Change nothing: an export stores tied weights once."""

    def to(self, *args: Any, device: Any = None, dtype: Any = None, **kwargs: Any) -> Self:
        """Move the model to a device, by opening its directory there again; returns the model.

        Args:
            args: a device (cpu, cuda, cuda:N, a GPU's number, torch.device), a type, or both.
            device, dtype: the same by name.
            kwargs: torch's non_blocking and memory_format; they change nothing.

        Raises:
            InputError: a type that the model does not calculate in; an unknown device.
            DeviceError: the device cannot be had, or not with the export's precision.
        """
        for each in args:
            if _type_name(each) is None:
                device = each
            else:
                dtype = each
        if dtype is not None:
            check_dtype(self.engine, "dtype", dtype)
        if device is not None:
            self.engine = self.engine.on(device_name(device))
        return self

    def cpu(self) -> Self:
        """Move the model to the CPU; see to()."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Move the model to a GPU; see to()."""
        return self.to("cuda" if device is None else device)

    def half(self) -> Self:
        """Return the model if it calculates in float16; see to()."""
        return self.to(dtype="float16")

    def float(self) -> Self:
        """Return the model if it calculates in float32; see to()."""
        return self.to(dtype="float32")

    def bfloat16(self) -> Self:
        """Return the model if it calculates in bfloat16; see to()."""
        return self.to(dtype="bfloat16")

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return how many numbers the checkpoint has, tied ones once.

        Args:
            only_trainable: changes nothing.
            exclude_embeddings: whether those of tokens and positions do not count.
        """
        config = self.config
        hidden, inner = config.hidden_size, config.intermediate_size
        attention = 4 * hidden * hidden + hidden  # only the output projection has a bias
        mlp = 2 * hidden * inner + inner + hidden
        norms = 2 * 2 * hidden
        total = config.num_layers * (attention + mlp + norms) + 2 * hidden + self._head_parameters()
        embedded = config.vocab_size + config.max_position_embeddings
        return total + (0 if exclude_embeddings else embedded * hidden)

    def _head_parameters(self) -> int:
        """Return how many numbers the head has that the base model has not."""
        return 0

    def resize_token_embeddings(self, new_num_tokens: int | None = None, **kwargs: Any) -> Self:
        """Return the model; raise InputError for another size of the vocabulary."""
        if new_num_tokens not in (None, self.config.vocab_size):
            raise InputError(
                f"new_num_tokens is {shown(new_num_tokens)}, and the graph's vocabulary has "
                f"{self.config.vocab_size}; resize the checkpoint with transformers, save it, and "
                "export it again"
            )
        return self

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Copy the export into a folder, from which it loads; a new folder appears whole.

        Args:
            save_directory: a new folder, an empty one, or one of an earlier copy.
            kwargs: transformers' (safe_serialization, max_shard_size, ...); they change nothing.

        Raises:
            InputError: the folder cannot be written, or holds other files; push_to_hub was passed.
        """
        if kwargs.get("push_to_hub"):
            self.push_to_hub()
        copy_export(self.engine.path, Path(save_directory))

    def push_to_hub(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise InputError: uploading is left to huggingface_hub."""
        raise InputError(
            f"models are not uploaded here; run: hf upload REPOSITORY {self.engine.path}"
        )

    if not TYPE_CHECKING:  # type checkers refuse these names themselves

        def __getattr__(self, name: str) -> NoReturn:
            """Say what to use instead of a method that transformers' models have."""
            if name in _INSTEAD:
                raise UnsupportedAttributeError(
                    f"{type(self).__name__} has no {name}: {_INSTEAD[name]}", name=name, obj=self
                )
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )


def device_name(device: Any) -> str:
    """Return the runtime's name of a device that transformers or torch name in their way.

    Raises:
        InputError: it is no device, or a negative number below -1.
    """
    if isinstance(device, str):
        return device
    if isinstance(getattr(device, "type", None), str):  # torch's, or this project's
        return str(device)
    if type(device) is not int or device < -1:
        raise InputError(f"device is {shown(device)}; a GPU's number, -1, or a name is allowed")
    return "cpu" if device == -1 else f"cuda:{device}"


def check_dtype(engine: Engine, argument: str, dtype: Any) -> None:
    """Raise InputError unless a model calculates in a type; "auto" and None name none.

    Args:
        engine: the model's.
        argument: what the caller calls `dtype`.
        dtype: a type of torch or numpy, or its name.
    """
    name = _type_name(dtype)
    if dtype in (None, "auto") or name == engine.dtype:
        return
    if name is None:
        raise InputError(f"{argument} is {shown(dtype)}; float32, float16, bfloat16 is allowed")
    known = {"float32": Precision.FP32, "float16": Precision.FP16, "bfloat16": Precision.BF16}
    precision = known.get(name, Precision.FP32).value
    raise InputError(
        f"{argument} is {name}, and this graph calculates in {engine.dtype}; export the checkpoint "
        f"with --precision {precision}, or leave it out"
    )


def _type_name(value: Any) -> str | None:
    """Return the name of a type of numbers, of torch, numpy or as a text; None for others."""
    if isinstance(value, type | np.dtype):
        try:
            name = np.dtype(value).name
        except TypeError:
            return None
    else:
        name = re.sub(r"^(torch|np|numpy)\.", "", str(value))
    name = _NAMES.get(name, name)
    return name if name in _FLOATS else None
