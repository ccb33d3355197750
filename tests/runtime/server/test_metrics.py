"""GET /metrics: what is counted, under names that dashboards know."""

import json
import re
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent.parent.parent
DASHBOARD = ROOT / "examples/serving/dashboard.json"
MODEL = {"model_name": "tiny"}
ENDED = "gptneo_onnx:request_success_total"


@pytest.fixture
def url(open_server):
    return open_server.url


def samples(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def once_counted(
    url: str, before: float, reason: str = "length"
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples after one more request has ended: an answer may be there a moment before."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = samples(url)
        if value(found, ENDED, **MODEL, finished_reason=reason) > before:
            return found
    raise AssertionError("the request is not counted")


def value(found, name, **labels):
    return found.get((name, frozenset(labels.items())), 0.0)


def test_a_request_is_counted(url):
    before = samples(url)
    body = {"prompt": "She was not", "max_tokens": 7, "ignore_eos": True}
    usage = httpx.post(f"{url}/v1/completions", json=body).json()["usage"]
    after = once_counted(url, value(before, ENDED, **MODEL, finished_reason="length"))

    def added(name, **labels):
        name = f"gptneo_onnx:{name}"
        return value(after, name, **MODEL, **labels) - value(before, name, **MODEL, **labels)

    assert added("request_success_total", finished_reason="length") == 1
    assert added("request_success_total", finished_reason="stop") == 0
    assert added("prompt_tokens_total") == usage["prompt_tokens"]
    assert added("generation_tokens_total") == 7
    assert added("inter_token_latency_seconds_count") == 6
    for once in (
        "time_to_first_token_seconds",
        "request_time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
    ):
        assert added(f"{once}_count") == 1, once
    assert added("request_generation_tokens_sum") == 7
    latency = added("e2e_request_latency_seconds_sum")
    parts = ("request_queue_time", "request_prefill_time", "request_decode_time")
    assert latency == pytest.approx(sum(added(f"{part}_seconds_sum") for part in parts))


def test_a_stop_text_counts_as_a_stop_and_a_client_that_leaves_as_an_abort(url):
    before = samples(url)
    body = {"prompt": "She was not", "max_tokens": 300, "ignore_eos": True, "temperature": 0}
    answer = httpx.post(f"{url}/v1/completions", json=body | {"stop": [" "]}).json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    after = once_counted(url, value(before, ENDED, **MODEL, finished_reason="stop"), "stop")
    aborted = {**MODEL, "finished_reason": "abort"}
    assert value(after, ENDED, **aborted) == value(before, ENDED, **aborted)
    with httpx.stream("POST", f"{url}/v1/completions", json=body | {"stream": True}) as stream:
        next(stream.iter_bytes())
    once_counted(url, value(before, ENDED, **aborted), "abort")


def test_a_prompt_that_comes_again_hits(url):
    prompt = "There was a prompt that came again, word for word, to be read but once. " * 4
    body = {"prompt": prompt, "max_tokens": 1}
    httpx.post(f"{url}/v1/completions", json=body)
    before = samples(url)
    usage = httpx.post(f"{url}/v1/completions", json=body).json()["usage"]
    after = samples(url)
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    names = ("prefix_cache_hits_total", "prefix_cache_queries_total")
    hits, queries = (
        value(after, f"gptneo_onnx:{name}", **MODEL) - value(before, f"gptneo_onnx:{name}", **MODEL)
        for name in names
    )
    assert cached > 0
    assert (hits, queries) == (cached, usage["prompt_tokens"])


def test_requests_of_http_are_counted_by_paths_that_exist(url):
    """A client that makes up paths and methods adds no series."""
    before = samples(url)
    for number in range(5):
        httpx.get(f"{url}/made-up-{number}")
        httpx.request(f"MADE{number}", f"{url}/health")
    after = samples(url)
    unknown = {"method": "GET", "handler": "none", "status": "404"}
    name = "http_requests_total"
    assert value(after, name, **unknown) - value(before, name, **unknown) == 5
    labels = {label for _, labels in after for label in labels}
    assert not any("made" in text.lower() for label in labels for text in label)


def test_refusals_are_counted_by_status(url):
    name = "gptneo_onnx:request_refusals_total"
    before = value(samples(url), name, status="413")
    httpx.post(f"{url}/v1/completions", content=b" " * 200_000)
    assert value(samples(url), name, status="413") == before + 1


def test_slots_and_the_queue_can_be_seen(url):
    found = samples(url)
    assert value(found, "gptneo_onnx:slots", **MODEL) == 8
    for name in ("slots_in_use", "num_requests_running", "num_requests_waiting"):
        assert (f"gptneo_onnx:{name}", frozenset(MODEL.items())) in found
    assert value(found, "gptneo_onnx:kv_cache_usage_perc", **MODEL) <= 1


def test_the_dashboard_names_metrics_that_exist(url):
    httpx.post(f"{url}/v1/completions", json={"prompt": "She", "max_tokens": 2})
    known = {name for name, _ in samples(url)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    named = {name for query in queries for name in re.findall(r"(?:gptneo_onnx:|http_)\w+", query)}
    assert len(named) > 12
    assert named <= known


def test_the_page_on_serving_has_every_metric(url):
    page = (ROOT / "docs/serving.md").read_text()
    families = {
        family.name for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    }
    missing = {name for name in families if name.removeprefix("gptneo_onnx:") not in page}
    assert not missing
