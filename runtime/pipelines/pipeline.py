"""pipeline(): loads a model for a task."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack, overload

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.models.graph import Precision
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.base_model import GPTNeoModel
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.task_check import pipeline_task
from gptneo_onnx.runtime.heads import (
    GPTNeoForQuestionAnswering,
    GPTNeoForSequenceClassification,
    GPTNeoForTokenClassification,
)
from gptneo_onnx.runtime.hub import HUB_ARGUMENTS
from gptneo_onnx.runtime.load_arguments import LOAD_NAMES, OWN_NAMES, Loading
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.pipelines.argument_types import (
    AnswerDefaults,
    ClassificationDefaults,
    EntityDefaults,
    FeatureDefaults,
    TextGenerationDefaults,
)
from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureExtractionPipeline
from gptneo_onnx.runtime.pipelines.loading import (
    TEXT_GENERATION,
    AnyModel,
    load_model,
    load_with_tokenizer,
    read_task_params,
)
from gptneo_onnx.runtime.pipelines.question_answering import QuestionAnsweringPipeline
from gptneo_onnx.runtime.pipelines.text_classification import TextClassificationPipeline
from gptneo_onnx.runtime.pipelines.text_generation import TextGenerationPipeline
from gptneo_onnx.runtime.pipelines.token_classification import TokenClassificationPipeline
from gptneo_onnx.runtime.tokenizer import Tokenizer

FEATURE_EXTRACTION = "feature-extraction"
_PRECISIONS = [precision.value for precision in Precision]
# The heads that each task needs; features are the hidden states of any model.
_HEADS: dict[str, Collection[Head]] = {
    TEXT_GENERATION: (Head.CAUSAL_LM,),
    FEATURE_EXTRACTION: (),
    "text-classification": (Head.SEQUENCE_CLASSIFICATION,),
    "token-classification": (Head.TOKEN_CLASSIFICATION,),
    "question-answering": (Head.QUESTION_ANSWERING,),
}
# Those of from_pretrained() that are no arguments of a call.
_LOAD_NAMES = LOAD_NAMES - {"generation_config", "use_cache"}
# transformers' other names.
_ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}

Pipeline = (
    TextGenerationPipeline
    | FeatureExtractionPipeline
    | TextClassificationPipeline
    | TokenClassificationPipeline
    | QuestionAnsweringPipeline
)


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: str | Path | AnyModel | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Unpack[FeatureDefaults],
) -> FeatureExtractionPipeline: ...


@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: str | Path | GPTNeoForSequenceClassification | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Unpack[ClassificationDefaults],
) -> TextClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: str | Path | GPTNeoForTokenClassification | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Unpack[EntityDefaults],
) -> TokenClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["question-answering"],
    model: str | Path | GPTNeoForQuestionAnswering | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Unpack[AnswerDefaults],
) -> QuestionAnsweringPipeline: ...


@overload
def pipeline(
    task: Literal["text-generation"],
    model: str | Path | GPTNeoForCausalLM | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Unpack[TextGenerationDefaults],
) -> TextGenerationPipeline: ...


@overload
def pipeline(
    task: None = None,
    model: str | Path | AnyModel | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Any,
) -> Any: ...


def pipeline(
    task: str | None = None,
    model: str | Path | AnyModel | None = None,
    tokenizer: Any = None,
    device: Any = "auto",
    assistant_model: str | Path | GPTNeoForCausalLM | None = None,
    *,
    file_name: str | None = None,
    precision: str | None = None,
    trust_graph: bool = False,
    **kwargs: Any,
) -> Pipeline:
    """Make a pipeline, as transformers.pipeline() does.

    Args:
        task: "text-generation", "feature-extraction", "text-classification" (or
            "sentiment-analysis"), "token-classification" (or "ner") or "question-answering"; by
            default what the model was exported for.
        model: an exported directory, a checkpoint's directory or a hub id, which is exported on
            first use, or a loaded model; required.
        tokenizer: by default the directory's; required with a loaded model. A directory, a hub id,
            a Tokenizer, or one of transformers or tokenizers; see Tokenizer.coerce().
        device: where to run: auto, cpu, cuda or cuda:N, or a number as in transformers: N for
            cuda:N, -1 for the CPU. A loaded model is moved there.
        assistant_model: a smaller model that drafts tokens, for text generation, its directory, or
            another precision of the model's directory ("int4"); results stay the same.
        file_name: which of the directory's graphs to run, if not its model.onnx.
        precision: which precision to run of an export with several; of a checkpoint, which to
            export (fp32 by default).
        trust_graph: as in GPTNeoForCausalLM.from_pretrained(), for assistant_model too.
        kwargs: default arguments of every call. Those of from_pretrained() that say which files to
            take (revision, cache_dir, local_files_only, token, export, ...) are for the model, and
            those for the hub are for a tokenizer that is named, too.
            model_kwargs are arguments of from_pretrained(); others of transformers, such as
            device_map and torch_dtype, are read as there (docs/python.md).

    Raises:
        InputError: an unknown task, or another than the model's; a model that must be exported
            first; an unknown argument.
        ModelFileError: the model or its tokenizer is damaged or missing.
        DeviceError: the device was asked for by name and cannot be had.
    """
    task = _checked_task(task)
    if model is None:
        raise InputError(
            "no model was given; pass model=: an exported directory, a checkpoint's, or a hub id"
        )
    hub = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
    options, loading = _loading(device, kwargs)
    source: dict[str, Any] = {name: hub[name] for name in hub if name != "subfolder"}
    source |= loading.source
    tokenizer = None if tokenizer is None else Tokenizer.coerce(tokenizer, **hub)
    heads = () if task is None else _HEADS[task]
    if isinstance(model, AnyModel):
        for name, value in (("file_name", file_name), ("precision", precision)):
            if value is not None:
                raise InputError(f"{name} is {shown(value)}, and the model is loaded already")
        if tokenizer is None:
            raise InputError("a loaded model comes without its tokenizer; pass tokenizer=")
        Engine.of(model, heads=heads)
        if loading.device != "auto":
            model.to(loading.device)
    else:
        threads, own = options.pop("num_threads", None), options.pop("precision", None)
        loaded = load_with_tokenizer(
            model,
            partial(load_model, heads=heads, options={"trust_graph": trust_graph, **options}),
            device=loading.device,
            num_threads=threads,
            file_name=file_name,
            tokenizer=tokenizer,
            precision=precision or own,
            **source,
        )
        model, tokenizer = loaded.model, loaded.tokenizer
    loading.check(model.engine)
    task = task or _task_of(model)
    if task == TEXT_GENERATION:
        load = partial(
            GPTNeoForCausalLM.from_pretrained, device=loading.device, trust_graph=trust_graph
        )
        return _text_generation(model, tokenizer, load, assistant_model, kwargs)
    if assistant_model is not None:
        raise InputError(f"{task} has no assistant_model; leave it out")
    return _other_pipeline(task, model, tokenizer, kwargs)


def _checked_task(task: str | None) -> str | None:
    """Return a task by its own name; raise InputError if there is no pipeline for it."""
    if task is None:
        return None
    name = _ALIASES.get(task, task)
    if name not in _HEADS:
        allowed = ", ".join([*_HEADS, *_ALIASES])
        raise InputError(f"task is {shown(task)}; one of {allowed} is allowed")
    return name


def _task_of(model: AnyModel) -> str:
    """Return the task of a model, for a caller that names none."""
    return (
        FEATURE_EXTRACTION if isinstance(model, GPTNeoModel) else pipeline_task(model.engine.task)
    )


def _text_generation(
    model: AnyModel,
    tokenizer: Tokenizer,
    load: Callable[..., GPTNeoForCausalLM],
    assistant_model: str | Path | GPTNeoForCausalLM | None,
    kwargs: dict[str, Any],
) -> TextGenerationPipeline:
    if not isinstance(model, GPTNeoForCausalLM):
        raise InputError(f"{TEXT_GENERATION} needs a GPTNeoForCausalLM; pass one, or a directory")
    if assistant_model in _PRECISIONS:
        model.engine.twin(str(assistant_model), "assistant_model")  # loaded, or refused, at once
    elif assistant_model is not None and not isinstance(assistant_model, GPTNeoForCausalLM):
        assistant_model = load(assistant_model)
    task_params = read_task_params(model.engine.path)
    return TextGenerationPipeline(model, tokenizer, task_params, assistant_model, **kwargs)


def _other_pipeline(
    task: str, model: AnyModel, tokenizer: Tokenizer, kwargs: dict[str, Any]
) -> Pipeline:
    """Make a pipeline for another task, of a model that has the head for it."""
    match task:
        case "text-classification":
            classifier = GPTNeoForSequenceClassification(model.engine)
            return TextClassificationPipeline(classifier, tokenizer, **kwargs)
        case "token-classification":
            tagger = GPTNeoForTokenClassification(model.engine)
            return TokenClassificationPipeline(tagger, tokenizer, **kwargs)
        case "question-answering":
            answerer = GPTNeoForQuestionAnswering(model.engine)
            return QuestionAnsweringPipeline(answerer, tokenizer, **kwargs)
        case _:
            return FeatureExtractionPipeline(model, tokenizer, **kwargs)


def _loading(device: Any, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Loading]:
    """Take the arguments that say how to load a model out of those of pipeline().

    Returns:
        Options of load_model(), and what transformers' names ask for.
    """
    arguments = {name: kwargs.pop(name) for name in _LOAD_NAMES if name in kwargs}
    further = kwargs.pop("model_kwargs", None) or {}
    if not isinstance(further, Mapping):
        raise InputError(
            f"model_kwargs is {shown(further)}; arguments of from_pretrained() by name are allowed"
        )
    options = {name: value for name, value in further.items() if name in OWN_NAMES}
    arguments |= {name: value for name, value in further.items() if name not in OWN_NAMES}
    for name in ("device", "file_name"):
        if name in options:
            raise InputError(f"model_kwargs has {name}; pass {name}= to pipeline()")
    loading = Loading.read(device, options.pop("provider_options", None), arguments, "pipeline")
    return options | {"provider_options": loading.provider_options}, loading
