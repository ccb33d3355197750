"""Requests that cannot be served: full queues, late ones, clients that leave, servers that end."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from api_server import model_server, running_server, served_model

from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.settings import ServerSettings

LONG = {"prompt": "She was", "max_tokens": 500, "logit_bias": {"0": -100}}


def eventually(condition):
    """Wait for something that other threads bring about."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@pytest.fixture
def narrow(embedded_export):
    """A model with one slot and room for one request to wait."""
    return served_model(embedded_export, slots=1, max_waiting=1)


def test_a_full_queue_is_answered_with_429_and_when_to_come_back(narrow):
    scheduler = narrow.engine.scheduler
    with model_server(narrow) as address, ThreadPoolExecutor() as pool:
        with narrow.model.engine.exclusive():  # nothing is stepped until this ends
            others = [
                pool.submit(
                    httpx.post, f"{address}/v1/completions", json={"prompt": "a"}, timeout=60
                )
                for _ in range(2)  # one for the slot, one to wait
            ]
            eventually(lambda: scheduler.waiting == 2)
            refused = httpx.post(f"{address}/v1/completions", json={"prompt": "b"})
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
        assert [other.result().status_code for other in others] == [200, 200]


def test_of_several_prompts_all_are_taken_or_none(narrow):
    scheduler = narrow.engine.scheduler
    with model_server(narrow) as address, ThreadPoolExecutor() as pool:
        with narrow.model.engine.exclusive():
            first = pool.submit(
                httpx.post, f"{address}/v1/completions", json={"prompt": "a"}, timeout=60
            )
            eventually(lambda: scheduler.waiting == 1)
            refused = httpx.post(f"{address}/v1/completions", json={"prompt": ["b"] * 2})
            assert refused.status_code == 429
        assert first.result().status_code == 200
        eventually(lambda: scheduler.waiting == scheduler.slots_in_use == 0)
        assert scheduler.statistics.generated_tokens <= 16
        both = httpx.post(f"{address}/v1/completions", json={"prompt": ["b"] * 2}, timeout=60)
        assert len(both.json()["choices"]) == 2
        many = httpx.post(f"{address}/v1/completions", json={"prompt": ["b"] * 3})
    assert many.status_code == 400
    assert "prompt has 3 prompts; at most 2 fit into" in many.json()["error"]["message"]


def test_a_late_request_is_answered_with_408(embedded_export):
    settings = ServerSettings(timeout=0.001)
    with model_server(served_model(embedded_export), settings=settings) as address:
        response = httpx.post(f"{address}/v1/completions", json=LONG)
    assert response.status_code == 408
    error = response.json()["error"]
    assert error["message"] == "the request was not finished in 0.001 seconds"
    assert error["code"] == "timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slots(narrow, stream):
    scheduler = narrow.engine.scheduler
    with model_server(narrow) as address:
        client = httpx.Client(base_url=address, timeout=120)
        if stream:
            with client.stream(
                "POST", "/v1/completions", json={**LONG, "stream": True}
            ) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json=LONG, timeout=0.1)
        client.close()
        eventually(lambda: scheduler.slots_in_use == 0)
        assert scheduler.statistics.generated_tokens < 500
        # Others are served as before.
        assert httpx.post(f"{address}/v1/completions", json={"prompt": "a"}).status_code == 200


def test_a_client_that_leaves_the_queue_is_forgotten(narrow):
    scheduler = narrow.engine.scheduler
    with model_server(narrow) as address:
        with narrow.model.engine.exclusive(), pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/completions", json=LONG, timeout=0.2)
        eventually(lambda: scheduler.waiting == scheduler.slots_in_use == 0)
        assert scheduler.statistics.generated_tokens < 500


def test_a_server_that_ends_ends_streams_with_an_error(embedded_export):
    model = served_model(embedded_export)
    app = create_app([model])
    with running_server(app) as address, httpx.Client(timeout=120) as client:
        lines = []
        with client.stream("POST", f"{address}/v1/completions", json={**LONG, "stream": True}) as r:
            for line in r.iter_lines():
                if not lines:
                    closing = threading.Thread(target=model.engine.scheduler.close)
                    closing.start()
                lines += [line] if line else []
        closing.join()
        after = client.post(f"{address}/v1/completions", json=LONG)
    assert lines[-1] == "data: [DONE]"
    error = json.loads(lines[-2].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "shutting_down")
    assert after.status_code == 503
    assert "Retry-After" in after.headers


def test_an_error_in_the_midst_of_a_stream_is_raised_by_openais_client(embedded_export):
    model = served_model(embedded_export)
    with (
        running_server(create_app([model])) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0) as client,
    ):
        stream = client.completions.create(
            model="tiny", prompt="a", max_tokens=500, stream=True, logit_bias={"0": -100}
        )
        next(stream)
        model.engine.scheduler.close()
        with pytest.raises(openai.APIError, match="was closed before|stopped before"):
            for _ in stream:
                pass


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_fails_takes_no_other_with_it(address, stream):
    """The only text that the grammar allows repeats the prompt, which another field rules out."""
    impossible = {
        "prompt": "x",
        "structured_outputs": {"choice": ["x"]},
        "no_repeat_ngram_size": 1,
        "stream": stream,
    }
    url = f"{address}/v1/completions"
    with ThreadPoolExecutor() as pool:
        fields = {"prompt": "She", "seed": 1}
        others = [pool.submit(httpx.post, url, json=fields, timeout=60) for _ in range(3)]
        failed = httpx.post(url, json=impossible, timeout=60)
    assert failed.status_code == 400
    assert "no token that the grammar allows next is left" in failed.json()["error"]["message"]
    assert len({other.result().json()["choices"][0]["text"] for other in others}) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/nothing", 404, "there is no '/v1/nothing'; /openapi.json lists what there is"),
        ("GET", "/v1/completions", 405, "GET is not for '/v1/completions'; use POST"),
        ("DELETE", "/v1/models", 405, "DELETE is not for '/v1/models'; use GET"),
        ("GET", "/%1b[31m", 404, "there is no '/\\x1b[31m'"),
    ],
)
def test_other_paths_and_methods_are_refused_in_openais_form(http, method, path, status, message):
    response = http.request(method, path)
    assert response.status_code == status
    error = response.json()["error"]
    assert message in error["message"]
    assert error["message"].isprintable()


def test_an_unexpected_error_shows_no_traceback(embedded_export):
    model = served_model(embedded_export)
    app = create_app([model])

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret path")

    with running_server(app) as address:
        response = httpx.get(f"{address}/broken")
    model.engine.scheduler.close()
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["message"].startswith("the server failed")
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in response.text
