"""The command `gptneo-onnx serve`: an HTTP server with OpenAI's API."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptneo_onnx.models.errors import InputError, MissingDependencyError, printable, shown
from gptneo_onnx.models.hub_cache import is_hub_id
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import embedded
from gptneo_onnx.runtime.cli.api_keys import read_api_keys
from gptneo_onnx.runtime.cli.loading_notice import loading_notice
from gptneo_onnx.runtime.cli.options import chosen_graph, load_with_tokenizer
from gptneo_onnx.runtime.cli.serve_options import add_options
from gptneo_onnx.runtime.cli.signals import first_passed_to
from gptneo_onnx.runtime.cli.sizes import bytes_of
from gptneo_onnx.runtime.files import is_directory, read_text

if TYPE_CHECKING:
    from gptneo_onnx.runtime.server.operations.metrics import Registry
    from gptneo_onnx.runtime.server.served_model import ServedModel
    from gptneo_onnx.runtime.server.settings import ServerSettings

EMBEDDED = "embedded"


def add_command(commands: Any) -> None:
    """Add the command and its options to argparse's sub-parsers."""
    command = commands.add_parser(
        "serve",
        usage="%(prog)s [MODEL] [OPTIONS]",
        help="answer requests over HTTP, with OpenAI's API",
        description="Serve a model, or several, over HTTP with OpenAI's API, many requests at the "
        "same time (needs the serve extra).",
    )
    add_options(command)
    command.set_defaults(run=run_serve)


def run_serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends it.

    Raises:
        InputError: an option cannot be used, or the port is taken.
        MissingDependencyError: the extra `serve` is not installed.
        ModelFileError: a model is damaged.
    """
    try:
        from gptneo_onnx.runtime.server.app import create_app
        from gptneo_onnx.runtime.server.operations.listener import bind
        from gptneo_onnx.runtime.server.operations.log_format import set_up_logs
        from gptneo_onnx.runtime.server.operations.metrics import new_registry
        from gptneo_onnx.runtime.server.operations.tracing import tracer_of_environment
        from gptneo_onnx.runtime.server.run import Server
    except ImportError as error:
        raise MissingDependencyError(
            f"serve needs the package {error.name}: pip install 'gptneo-onnx[serve]'"
        ) from error
    settings = _settings(options)
    named = _named_models(options)
    set_up_logs(options.log_format, "warning" if options.quiet else options.log_level)
    tracer = tracer_of_environment()
    registry = new_registry()
    listener = bind(options.host, options.port, options.ssl_certfile, options.ssl_keyfile)
    with contextlib.closing(listener.socket), contextlib.ExitStack() as stack:
        if tracer is not None:
            stack.callback(tracer.close)
        models = [*_load(named, options, settings, registry, stack)]
        server = Server(create_app(models, settings, registry, tracer), listener)
        with first_passed_to(lambda number: server.stop()):
            server.run(lambda: _say_ready(listener.url, models))


def _settings(options: argparse.Namespace) -> "ServerSettings":
    from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings
    from gptneo_onnx.runtime.server.settings import ServerSettings

    return ServerSettings(
        scheduling=SchedulerSettings(
            slots=options.slots,
            max_waiting=options.max_waiting,
            max_step_seconds=options.max_step_seconds,
            prefill_chunk=options.prefill_chunk,
            prefix_cache_bytes=bytes_of(options.prefix_cache, "--prefix-cache"),
            exact=not options.no_exact,
            draft_tokens=options.draft_tokens,
            draft=options.draft,
        ),
        chat_template=options.chat_template,
        api_keys=read_api_keys(options.api_key_file),
        cors_origins=tuple(options.cors_origins or ()),
        max_body_bytes=bytes_of(options.max_body_size, "--max-body-size"),
        max_results=options.max_results,
        max_concurrent_per_key=options.max_concurrent_per_key,
        timeout=options.timeout,
        drain_seconds=options.drain_seconds,
        root_path=options.root_path or "",
    )


def _named_models(options: argparse.Namespace) -> list[tuple[list[str], Path | None]]:
    """Return the names of each model and what it is loaded from; None is the embedded model.

    Raises:
        InputError: two models have one name, or an option has no name.
    """
    models: list[tuple[list[str], Path | None]] = []
    if options.served is not None:
        models.append(([_name_of(options.served)], options.served))
    for each in options.models or ():
        name, sign, model = each.partition("=")
        if sign and not (name and model):
            raise InputError(f"--model is {shown(each)}; NAME=MODEL is allowed, or MODEL")
        models.append(([name], Path(model)) if sign else ([_name_of(Path(each))], Path(each)))
    if not models:
        models.append(([EMBEDDED], None))
    if options.served_model_name:
        models[0] = [*options.served_model_name], models[0][1]
    names = [name for each, _ in models for name in each]
    for name in names:
        if not name:
            raise InputError("--served-model-name is empty; give a name, or leave it out")
        if names.count(name) > 1:
            raise InputError(f"two models are called {shown(name)}; name them apart by --model")
    return models


def _name_of(model: Path) -> str:
    is_id = is_hub_id(str(model), with_owner=True) and not is_directory(model)
    return model.as_posix() if is_id else model.absolute().name


def _load(
    named: list[tuple[list[str], Path | None]],
    options: argparse.Namespace,
    settings: "ServerSettings",
    registry: "Registry",
    stack: contextlib.ExitStack,
) -> "Iterator[ServedModel]":
    """Load each model, and try a step; yield it under each of its names."""
    from dataclasses import replace

    from gptneo_onnx.runtime.server.operations.metrics import ModelMetrics
    from gptneo_onnx.runtime.server.operations.observed_engine import ObservedEngine
    from gptneo_onnx.runtime.server.served_model import ServedModel

    metrics = ModelMetrics(registry)
    template = _chat_template(options.chat_template)
    for names, model in named:
        with contextlib.nullcontext() if options.quiet else loading_notice(names[0]):
            loaded = _load_model(embedded.embedded_model() if model is None else model, options)
            loaded.model.generate([[0]], max_new_tokens=2, do_sample=False)
        if template is not None:
            loaded.tokenizer.chat_template = template
        counted = metrics.of(names[0])
        engine = ObservedEngine(loaded.model, settings.scheduling, names[0], counted)
        stack.callback(engine.scheduler.close)
        served = ServedModel(names[0], loaded.model, loaded.tokenizer, engine)
        yield from (replace(served, name=name) for name in names)


def _chat_template(file: Path | None) -> str | None:
    """Return the text of a template that can be compiled."""
    from gptneo_onnx.runtime.chat_template import check_template

    if file is None:
        return None
    template = read_text(file)
    check_template(template)
    return template


def _load_model(model: Path, options: argparse.Namespace) -> Any:
    from gptneo_onnx.runtime.model_files.directory import FusedModel, open_model_directory

    directory, graph = chosen_graph(model, options, (Head.CAUSAL_LM,))
    is_fused = isinstance(open_model_directory(directory, graph), FusedModel)
    # A result is then the same whoever shares the batch.
    return load_with_tokenizer(directory, options, graph, batch_invariant=is_fused)


def _say_ready(url: str, models: "list[ServedModel]") -> None:
    names = ", ".join(printable(model.name) for model in models)
    print(f"serving {names} on {url}", file=sys.stderr, flush=True)
