"""What Prometheus reads at GET /metrics: names, labels and buckets of metrics.

Where vLLM's server has a metric, it has the same name here after the prefix, and the same labels.
"""

from collections.abc import Collection
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
)
from prometheus_client import generate_latest as text_of
from starlette.types import Scope

from gptneo_onnx.runtime.server.operations.keys import path_of

Registry = CollectorRegistry
PREFIX = "gptneo_onnx:"
MODEL = "model_name"
_REFUSALS = (401, 408, 413, 429, 431, 503)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
# Methods that clients make up are counted together: each name takes memory.
_METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")

router = APIRouter()


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return the metrics in the format of Prometheus."""
    registry: Registry = request.app.state.registry
    return Response(text_of(registry), media_type=CONTENT_TYPE_LATEST)


def new_registry() -> Registry:
    """Return an empty registry; the times at which counters were made are no metrics of it."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return Registry()


class HttpMetrics:
    """Metrics of requests of HTTP, whatever they are for."""

    def __init__(self, registry: Registry, paths: Collection[str]) -> None:
        """Count into a registry, each of these paths by itself."""
        self._paths = paths
        labels = ("method", "handler", "status")
        self._requests = Counter(
            "http_requests_total", "Requests by method, path and status.", labels, registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ("method", "handler"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._refusals = Counter(
            f"{PREFIX}request_refusals_total",
            "Requests that were refused, by status.",
            ("status",),
            registry=registry,
        )
        for status in _REFUSALS:
            self._refusals.labels(status)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request of HTTP."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # Paths that lead nowhere are counted together too.
        path = path_of(scope)
        handler = path if path in self._paths else getattr(scope.get("route"), "path", "none")
        self._requests.labels(method, handler, status).inc()
        self._seconds.labels(method, handler).observe(seconds)
        if status in _REFUSALS:
            self._refusals.labels(status).inc()


class ModelMetrics:
    """Metrics of requests to the models; each is labelled with the model's name."""

    def __init__(self, registry: Registry) -> None:
        def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(PREFIX + name, meaning, (MODEL,), buckets=buckets, registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, meaning, (MODEL, *labels), registry=registry)

        self.success = counter(
            "request_success_total", "Requests that ended, by why.", "finished_reason"
        )
        self.generation_tokens = counter("generation_tokens_total", "Tokens that were generated.")
        self.first_token = histogram(
            "time_to_first_token_seconds", "From a request's arrival to its first token.", _SECONDS
        )
        self.inter_token = histogram(
            "inter_token_latency_seconds", "Between two tokens of a text.", _TOKEN_SECONDS
        )
        self.per_output_token = histogram(
            "request_time_per_output_token_seconds",
            "A request's mean time for each token after the first.",
            _TOKEN_SECONDS,
        )
        self.latency = histogram(
            "e2e_request_latency_seconds", "From a request's arrival to its end.", _SECONDS
        )
        self.queue = histogram(
            "request_queue_time_seconds", "How long requests wait for slots.", _SECONDS
        )
        self.prefill = histogram(
            "request_prefill_time_seconds", "From slots to the first token.", _SECONDS
        )
        self.decode = histogram(
            "request_decode_time_seconds", "From the first token to the end.", _SECONDS
        )
        self.request_prompt_tokens = histogram(
            "request_prompt_tokens", "Tokens of prompts.", _TOKENS
        )
        self.request_generation_tokens = histogram(
            "request_generation_tokens", "Tokens of results.", _TOKENS
        )

    def of(self, model: str) -> "OneModelMetrics":
        """Return the metrics of one model, all of them at zero until something is counted."""
        return OneModelMetrics(self, model)


class OneModelMetrics:
    """The metrics of one model; attributes are those of ModelMetrics."""

    def __init__(self, metrics: ModelMetrics, model: str) -> None:
        self.ends = {
            reason: metrics.success.labels(model, reason)
            for reason in ("stop", "length", "abort", "timeout", "error")
        }
        self.metrics: dict[str, Any] = {
            name: metric.labels(model)
            for name, metric in vars(metrics).items()
            if name != "success"
        }

    def __getattr__(self, name: str) -> Any:
        try:
            return self.metrics[name]
        except KeyError:
            raise AttributeError(name) from None
