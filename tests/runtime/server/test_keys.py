"""Who may ask: keys, how often each, and pages of other origins."""

import concurrent.futures
import json

import httpx
import pytest
from raw_http import request, send

KEY, OTHER_KEY, ORIGIN = "sk-first", "sk-second", "https://example.org"


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def url(guarded_server):
    return guarded_server.url


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_each_known_key_may_ask(url, key):
    assert httpx.get(f"{url}/v1/models", headers=with_key(key)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} {OTHER_KEY}",
        f"Basic {KEY}",
        KEY,
        "Bearer # of the tests",
        "Bearer \xfc",
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/page/status", "/openapi.json", "/x"])
def test_others_may_not(url, path, header):
    lines = [] if header is None else [f"Authorization: {header}"]
    answer = send(url, request("GET", path, b"", *lines))
    assert answer.statuses == [401]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.error["code"] == "invalid_api_key"
    assert KEY not in answer.content.decode()


@pytest.mark.parametrize("path", ["/health", "/ready", "/", "/page/page.js"])
def test_health_and_the_page_need_no_key(url, path):
    assert httpx.get(url + path).status_code == 200


def test_a_key_in_another_case_of_bearer_is_taken(url):
    headers = {"authorization": f"bearer {KEY}"}
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200


def test_a_body_without_a_key_is_not_read(url):
    head = request("POST", "/v1/completions", b"", "Content-Length: 1000000")
    assert send(url, head).statuses == [401]


def test_a_key_may_run_as_many_requests_as_allowed(url):
    """One here; another key's do not count."""
    body = {"prompt": "She", "max_tokens": 300, "ignore_eos": True}

    def ask(key: str) -> httpx.Response:
        address = f"{url}/v1/completions"
        return httpx.post(address, json=body, headers=with_key(key), timeout=60)

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        others = pool.submit(ask, OTHER_KEY)
        answers = [*pool.map(ask, [KEY] * 8)]
    assert others.result().status_code == 200
    statuses = [answer.status_code for answer in answers]
    assert {*statuses} == {200, 429}
    refused = answers[statuses.index(429)]
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert ask(KEY).status_code == 200  # when those are over


def test_the_log_has_no_key_and_no_prompt(guarded_server, url):
    body = {"prompt": "Whisper", "max_tokens": 1}
    httpx.post(f"{url}/v1/completions", json=body, headers=with_key(KEY))
    httpx.get(f"{url}/v1/models", headers=with_key("sk-guess"))
    assert guarded_server.logged("path=/v1/completions status=200", 1)
    assert guarded_server.logged("path=/v1/models status=401", 1)
    log = guarded_server.log.read_text()
    for secret in (KEY, OTHER_KEY, "sk-guess", "Whisper"):
        assert secret not in log
    assert "key=" in log


def test_a_page_of_the_allowed_origin_may_ask(url):
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = httpx.options(f"{url}/v1/completions", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    answer = httpx.get(f"{url}/v1/models", headers=with_key(KEY) | {"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in answer.headers


def test_a_refusal_can_be_read_by_the_page_too(url):
    answer = httpx.get(f"{url}/v1/models", headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["https://example.org.evil.net", "http://example.org", "null"])
def test_a_page_of_another_origin_may_not(url, origin):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(f"{url}/v1/completions", headers=asked)
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    answer = httpx.get(f"{url}/v1/models", headers=with_key(KEY) | {"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_without_the_option_no_origin_may(open_server):
    answer = httpx.get(f"{open_server.url}/v1/models", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert json.loads(answer.content)["data"]
