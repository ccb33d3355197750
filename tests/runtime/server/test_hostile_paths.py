"""Paths, methods and versions of HTTP that clients try, and what the server answers."""

import json

import pytest
from raw_http import request, send

JSON = "Content-Type: application/json"
COMPLETIONS = "/v1/completions"


@pytest.fixture
def url(open_server):
    yield open_server.url
    assert send(open_server.url, request("GET", "/health")).statuses == [200]


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/health/../v1/models",
        "/page/../v1/models",
        "/page/../../settings.py",
        "/page/..%2f..%2fsettings.py",
        "/page/%2e%2e/%2e%2e/settings.py",
        "/page/..\\..\\settings.py",
        "/page/files.py",
        "/page/index.html%00.js",
        "/v1/models%00",
        "/etc/passwd",
        "/%ff%fe",
        "/" + "a" * 30_000,
    ],
)
def test_a_path_is_taken_as_it_is(url, path):
    answer = send(url, request("GET", path))
    assert answer.statuses == [404]
    assert b"import" not in answer.content
    assert answer.error["type"] == "invalid_request_error"


def test_an_escaped_path_is_the_path_that_it_means(url):
    assert send(url, request("GET", "/v1/%6dodels")).statuses == [200]


@pytest.mark.parametrize("path", ["/health", "/ready", "/"])
def test_head_has_the_headers_alone(url, path):
    answer = send(url, request("HEAD", path))
    assert answer.statuses == [200]
    assert int(answer.headers["content-length"]) > 0
    assert answer.body == b""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/models"),
        ("GET", COMPLETIONS),
        ("OPTIONS", COMPLETIONS),
        ("TRACE", "/health"),
        ("PUT", "/health"),
        ("MADEUP", "/health"),
    ],
)
def test_a_method_that_is_not_for_a_path_is_refused(url, method, path):
    answer = send(url, request(method, path))
    assert answer.statuses == [405]
    assert answer.error["message"].startswith(f"{method} is not for '{path}'")


def test_connect_is_refused(url):
    answer = send(url, b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.statuses in ([400], [404], [405])


def test_an_upgrade_is_ignored(url):
    headers = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    lines = ["GET /health HTTP/1.1", "Host: localhost", "Connection: Upgrade", *headers, "", ""]
    assert send(url, "\r\n".join(lines).encode(), idle=2).statuses == [200]


@pytest.mark.parametrize("version", ["9.9", "2.0"])
def test_other_versions_are_refused(url, version):
    answer = send(url, request("GET", "/health", version=version))
    assert answer.statuses == [505]
    assert answer.is_closed


def test_http_1_0_is_answered_and_closed(url):
    answer = send(url, b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.statuses == [200]
    assert answer.is_closed


def test_a_stream_for_http_1_0_ends_with_the_connection(url):
    body = json.dumps({"prompt": "She", "max_tokens": 2, "stream": True}).encode()
    answer = send(url, request("POST", COMPLETIONS, body, JSON, version="1.0"))
    assert answer.statuses == [200]
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert answer.is_closed


def test_an_address_as_a_target_is_not_followed(url):
    answer = send(url, request("GET", "http://example.org/health"))
    assert answer.statuses == [404]
