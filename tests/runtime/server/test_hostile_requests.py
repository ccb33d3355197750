"""What clients send that mean harm, and what the server answers: docs/serving.md has the table.

Every case ends with the server alive: the last test asks it again.
"""

import json
import socket

import pytest
from raw_http import connect, receive, request, send

BODY = json.dumps({"prompt": "She", "max_tokens": 1}).encode()
JSON = "Content-Type: application/json"
COMPLETIONS = "/v1/completions"


@pytest.fixture
def url(open_server):
    yield open_server.url
    assert send(open_server.url, request("GET", "/health")).statuses == [200]


# Heads and bodies that come slowly.


@pytest.mark.slow
def test_a_head_that_never_ends_is_cut_off(url):
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    answer = send(url, head, *[b"X-A: b\r\n"] * 12, pause=1)
    assert answer.statuses == [408]
    assert answer.is_closed
    assert answer.error["message"] == "the head of the request did not arrive in 10 seconds"


@pytest.mark.slow
def test_a_connection_that_sends_nothing_is_closed(url):
    answer = send(url)
    assert answer.statuses == [408]
    assert answer.is_closed


@pytest.mark.slow
def test_a_body_that_never_ends_is_cut_off(url):
    head = request("POST", COMPLETIONS, b"", JSON, "Content-Length: 1000")
    answer = send(url, head, b"{", *[b" "] * 33, pause=1)
    assert answer.statuses == [408]
    assert answer.is_closed
    assert answer.error["message"] == "the body did not arrive in 30 seconds"


# Bodies that are too large.


def test_a_body_that_says_that_it_is_too_large_is_not_read(url):
    head = request("POST", COMPLETIONS, b"", JSON, "Content-Length: 100000000000")
    answer = send(url, head)
    assert answer.statuses == [413]
    assert answer.is_closed
    assert answer.error["message"] == "the body has more than 100000 bytes; shorten it"


def test_a_body_that_does_not_say_how_large_it_is_is_read_to_the_limit(url):
    head = request("POST", COMPLETIONS, b"", JSON, "Transfer-Encoding: chunked")
    chunk = b"2710\r\n" + b" " * 10000 + b"\r\n"
    answer = send(url, head, *[chunk] * 11)
    assert answer.statuses == [413]
    assert answer.is_closed


def test_a_body_of_the_allowed_size_is_read(url):
    body = BODY + b" " * (100_000 - len(BODY))
    assert send(url, request("POST", COMPLETIONS, body, JSON)).statuses == [200]
    assert send(url, request("POST", COMPLETIONS, body + b" ", JSON)).statuses == [413]


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "1, 2", "", "9" * 30])
def test_a_length_that_is_no_number_is_refused(url, length):
    answer = send(url, request("POST", COMPLETIONS, b"", JSON, f"Content-Length: {length}"))
    assert answer.statuses in ([400], [413])
    assert answer.is_closed


# JSON that is too deep.


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 50_000,
        b"[" * 40_000 + b"]" * 40_000,
        b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
        b"[{" * 40 + b"}]" * 40,
    ],
    ids=["open", "lists", "objects", "mixed"],
)
def test_deep_json_is_refused(url, value):
    body = b'{"prompt": "She", "response_format": %s}' % value
    answer = send(url, request("POST", COMPLETIONS, body, JSON))
    assert answer.statuses == [400]
    assert answer.error["code"] == "json_too_deep"


def test_brackets_in_strings_are_text(url):
    body = json.dumps({"prompt": "[" * 100 + '\\"' + "{" * 100, "max_tokens": 1}).encode()
    assert send(url, request("POST", COMPLETIONS, body, JSON)).statuses == [200]


def test_escapes_without_end_are_refused_soon(url):
    body = b"[" * 70 + b'"' + b'\\"' * 40_000
    assert send(url, request("POST", COMPLETIONS, body, JSON)).statuses == [400]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"nul", b"[1,2]", b'"text"', b'{"prompt": "\\ud800"}', b"{}\x00"],
)
def test_what_is_no_request_is_refused(url, body):
    answer = send(url, request("POST", COMPLETIONS, body, JSON))
    assert answer.statuses == [400]
    assert answer.error["type"] == "invalid_request_error"


# Heads.


def test_a_head_that_is_too_large_is_refused(url):
    answer = send(url, request("GET", "/health", b"", f"X-A: {'a' * 100_000}"))
    assert answer.statuses == [431]
    assert answer.is_closed


def test_too_many_headers_are_refused(url):
    answer = send(url, request("GET", "/health", b"", *["X-A: b"] * 20_000))
    assert answer.statuses == [431]
    assert answer.is_closed


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # https
        b"\x00" * 64 + b"\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n X-Folded: y\r\n Z\x00: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(url, sent):
    answer = send(url, sent + b"\r\n" * 2)
    assert answer.statuses == [400] or (answer.is_closed and not answer.statuses)
    assert answer.is_closed


# Two requests in one, as proxies and servers may read them.


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Content-Length: 4", "Content-Length: 5"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\x0bchunked",),
    ],
)
def test_a_body_of_two_lengths_is_refused(url, headers):
    hidden = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    lines = ["POST /v1/completions HTTP/1.1", "Host: localhost", JSON, *headers, "", ""]
    answer = send(url, "\r\n".join(lines).encode() + hidden)
    assert answer.statuses in ([400], [501])  # and the hidden one is not answered
    assert answer.is_closed


def test_requests_one_after_the_other_are_answered_in_order(url):
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = send(url, one * 20 + request("GET", "/nothing"))
    assert answer.statuses == [200] * 20 + [404]


def test_chunks_that_are_no_chunks_are_refused(url):
    head = request("POST", COMPLETIONS, b"", JSON, "Transfer-Encoding: chunked")
    answer = send(url, head, b"zz\r\n{}\r\n0\r\n\r\n")
    assert answer.is_closed
    assert answer.statuses in ([], [400])


# Names that end up in logs and headers.


@pytest.mark.parametrize("named", ["a b", "x" * 200, "\x1b[31m", 'a"b', "ü", ""])
def test_an_id_that_does_not_belong_into_a_log_is_replaced(url, named):
    answer = send(url, request("GET", "/health", b"", f"X-Request-ID: {named}"))
    if answer.statuses == [200]:  # h11 refuses control characters
        assert len(answer.headers["x-request-id"]) == 32
    else:
        assert answer.statuses == [400]


# Clients that do not read, or leave.


def test_a_client_that_leaves_frees_its_slot(url, open_server):
    body = json.dumps({"prompt": "She", "max_tokens": 500, "ignore_eos": True, "stream": True})
    for _ in range(20):
        with connect(url) as connection:
            connection.sendall(request("POST", COMPLETIONS, body.encode(), JSON))
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    answer = send(url, request("POST", COMPLETIONS, BODY, JSON))
    assert answer.statuses == [200]


@pytest.mark.slow
def test_a_connection_that_is_not_used_is_closed(url):
    with connect(url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = receive(connection)
    assert answer.statuses == [200]
    assert answer.is_closed
