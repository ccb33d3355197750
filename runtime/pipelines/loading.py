"""Loading what a directory or hub id names: model, tokenizer, and arguments for generation."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack, overload

from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.generation_settings import DEFAULTS, TOKEN_NAMES, as_arguments, refused
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.checkpoint_source import SourceArguments
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import model_generation_config
from gptneo_onnx.runtime.heads import (
    GPTNeoForQuestionAnswering,
    GPTNeoForSequenceClassification,
    GPTNeoForTokenClassification,
)
from gptneo_onnx.runtime.label_model import LabelModel
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.on_demand_export import exported_directory
from gptneo_onnx.runtime.tokenizer import Tokenizer

TEXT_GENERATION = "text-generation"


AnyModel = GPTNeoForCausalLM | GPTNeoModel | LabelModel
Model = TypeVar("Model", bound=AnyModel)

_LABEL_MODELS: dict[Head, type[LabelModel]] = {
    model_class.head: model_class
    for model_class in (
        GPTNeoForSequenceClassification,
        GPTNeoForTokenClassification,
        GPTNeoForQuestionAnswering,
    )
}


@dataclass(frozen=True)
class LoadedModel(Generic[Model]):
    """A model with what comes beside it.

    Attributes:
        model: the model.
        tokenizer: the directory's tokenizer, or the one that the caller passed.
    """

    model: Model
    tokenizer: Tokenizer

    @cached_property
    def task_specific_params(self) -> Mapping[str, Any]:
        """What config.json sets for text generation: arguments of generate(), and a prefix."""
        return read_task_params(self.model.engine.path)


def load_model(
    directory: str | Path,
    device: str = "auto",
    num_threads: int | None = None,
    file_name: str | None = None,
    heads: Collection[Head] = (),
    precision: str | None = None,
    options: Mapping[str, Any] | None = None,
    trust_graph: bool = False,
    **source: Unpack[SourceArguments],
) -> AnyModel:
    """Load a model, as the class of the head that it has.

    Args:
        directory, device, num_threads, file_name, precision, source: as in load_with_tokenizer().
        trust_graph: as in GPTNeoForCausalLM.from_pretrained().
        heads: those that the caller can use; any if it is empty.
        options: further ones of Engine.load().
    """
    path, precision = exported_directory(directory, precision, heads, file_name, **source)
    engine = Engine.load(
        path,
        device,
        num_threads=num_threads,
        file_name=file_name,
        heads=heads,
        precision=precision,
        **{"trust_graph": trust_graph, **(options or {})},
    )
    match head := engine.task.head:
        case Head.CAUSAL_LM:
            return GPTNeoForCausalLM(engine, model_generation_config(engine.path))
        case Head.NONE:
            return GPTNeoModel(engine)
        case _:
            return _LABEL_MODELS[head](engine)


@overload
def load_with_tokenizer(
    directory: str | Path,
    *,
    device: str = "auto",
    num_threads: int | None = None,
    file_name: str | None = None,
    tokenizer: Any = None,
    precision: str | None = None,
    **source: Unpack[SourceArguments],
) -> LoadedModel[GPTNeoForCausalLM]: ...


@overload
def load_with_tokenizer(
    directory: str | Path,
    load: Callable[..., Model],
    *,
    device: str = "auto",
    num_threads: int | None = None,
    file_name: str | None = None,
    tokenizer: Any = None,
    precision: str | None = None,
    **source: Unpack[SourceArguments],
) -> LoadedModel[Model]: ...


def load_with_tokenizer(
    directory: str | Path,
    load: Callable[..., Any] = GPTNeoForCausalLM.from_pretrained,
    *,
    device: str = "auto",
    num_threads: int | None = None,
    file_name: str | None = None,
    tokenizer: Any = None,
    precision: str | None = None,
    **source: Unpack[SourceArguments],
) -> LoadedModel[Any]:
    """Load a model and its tokenizer.

    Args:
        directory: made by `gptneo-onnx export`, or by another exporter; or a checkpoint's, or a hub
            id, which is exported on first use.
        load: what loads the model, such as load_model.
        device: auto, cpu, cuda or cuda:N.
        num_threads: threads of one operator; None takes one per core that the process may use.
        file_name: which of the directory's graphs to run, if not its model.onnx.
        tokenizer: used instead of the directory's; whatever Tokenizer.coerce() takes.
        precision, source: as in GPTNeoForCausalLM.from_pretrained().

    Raises:
        InputError: an argument out of range, or there is no such model.
        ModelFileError: the model or its tokenizer is damaged or missing.
        DeviceError: the device was asked for by name and cannot be had.
    """
    if tokenizer is not None:
        tokenizer = Tokenizer.coerce(tokenizer)
    options = {"device": device, "num_threads": num_threads, "file_name": file_name, **source}
    if precision is not None:
        options["precision"] = precision
    model = load(directory, **options)
    if tokenizer is None:
        tokenizer = Tokenizer.from_pretrained(model.engine.path)
    return LoadedModel(model, tokenizer)


def read_task_params(directory: Path) -> dict[str, Any]:
    """Read what config.json sets for text generation: EleutherAI sets do_sample and temperature.

    As in transformers, names that generate() does not have are passed over, and the prefix is the
    task's or else config.json's own.
    """
    path = directory / CONFIG_FILE
    config = read_json_object(path)
    params = config.get("task_specific_params") or {}
    task_params = params.get(TEXT_GENERATION, {}) if isinstance(params, dict) else None
    if not isinstance(task_params, dict):
        raise ModelFileError(f"{path}: task_specific_params must hold objects")
    if unsupported := refused(task_params):
        raise ModelFileError(
            f"{path}: task_specific_params sets {unsupported[0]}, which is not supported; remove "
            "it from the checkpoint's file and export again"
        )
    known = {
        name: value
        for name, value in as_arguments(task_params).items()
        if name in DEFAULTS or name in TOKEN_NAMES
    }
    try:
        GenerationConfig(**known)
    except InputError as error:
        raise ModelFileError(f"{path}: task_specific_params: {error}") from error
    prefix = task_params.get("prefix", config.get("prefix"))
    if prefix is not None and not isinstance(prefix, str):
        raise ModelFileError(f"{path}: prefix is {shown(prefix)}; a text is allowed")
    return known | ({"prefix": prefix} if prefix else {})
