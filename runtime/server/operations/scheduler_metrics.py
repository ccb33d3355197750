"""Metrics that are read off schedulers when Prometheus asks."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gptneo_onnx.runtime.scheduling import AsyncEngine, SchedulerStatistics
from gptneo_onnx.runtime.server.operations.metrics import MODEL, PREFIX

_GAUGES = {
    "num_requests_running": ("running", "Requests that are in slots."),
    "num_requests_waiting": ("waiting", "Requests that wait for slots."),
    "slots": ("slots", "Texts that can be written at the same time."),
    "slots_in_use": ("slots_in_use", "Slots that requests have taken."),
    "prefix_cache_bytes": ("prefix_bytes", "Memory of kept beginnings of prompts."),
}
_COUNTERS = {
    "prompt_tokens": ("prompt_tokens", "Tokens of prompts that were read."),
    # Tokens, as in vLLM: hits / queries is the share of prompts that was not read again.
    "prefix_cache_queries": ("prompt_tokens", "Tokens that were looked up among kept beginnings."),
    "prefix_cache_hits": ("cached_tokens", "Tokens that were found there, and not read again."),
    "prefix_cache_prompt_hits": ("prefix_hits", "Prompts that began as a kept one does."),
    "spec_decode_num_draft_tokens": ("drafted_tokens", "Tokens that were proposed."),
    "spec_decode_num_accepted_tokens": ("accepted_tokens", "Proposed tokens that were right."),
    "steps": ("steps", "Steps of running requests."),
    "decode_seconds": ("decode_seconds", "Time of these steps."),
    "prefill_seconds": ("prefill_seconds", "Time that reading prompts took."),
}


class SchedulerCollector(Collector):
    """Reads the statistics of each model's scheduler."""

    def __init__(self, engines: Mapping[str, AsyncEngine]) -> None:
        """Read these engines, by the names of their models."""
        self._engines = engines

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        snapshots = {name: engine.statistics for name, engine in self._engines.items()}
        for name, (attribute, meaning) in _GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + name, meaning, labels=(MODEL,))
            yield _filled(gauge, attribute, snapshots)
        for name, (attribute, meaning) in _COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + name, meaning, labels=(MODEL,))
            yield _filled(counter, attribute, snapshots)
        usage = GaugeMetricFamily(
            f"{PREFIX}kv_cache_usage_perc", "Slots in use, 1 for all.", labels=(MODEL,)
        )
        for name, snapshot in snapshots.items():
            usage.add_metric([name], snapshot.slots_in_use / snapshot.slots)
        yield usage


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    attribute: str,
    snapshots: Mapping[str, SchedulerStatistics],
) -> Metric:
    for name, snapshot in snapshots.items():
        family.add_metric([name], getattr(snapshot, attribute))
    return family
