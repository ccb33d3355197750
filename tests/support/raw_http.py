"""Bytes sent to a server as they are, and what comes back: for what clients never send."""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

WAIT_S = 60


@dataclass(frozen=True)
class RawAnswer:
    """Everything that came back until the server closed the connection, or `seconds` passed.

    Attributes:
        content: all bytes.
        is_closed: whether the server closed the connection.
    """

    content: bytes
    is_closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        lines = self.content.split(b"HTTP/1.1 ")[1:]
        return [int(line[:3]) for line in lines]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the first answer, names in lower case."""
        lines = self.content.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        """The body of the last answer."""
        return self.content.rpartition(b"\r\n\r\n")[2]

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body, in OpenAI's form."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "\n" not in error["message"]
        return error


def connect(url: str) -> socket.socket:
    """Return a connection to a server."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), WAIT_S)


def send(url: str, *pieces: bytes, pause: float = 0.0, idle: float = WAIT_S) -> RawAnswer:
    """Send pieces, with a pause after each; return what came back.

    Args:
        url: the server's.
        pieces: what to send.
        pause: seconds after each piece.
        idle: seconds without a byte after which the connection is taken to stay open.
    """
    with connect(url) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except ConnectionError:  # the server has answered, and reads no more
                break
            time.sleep(pause)
        return receive(connection, idle)


def receive(connection: socket.socket, idle: float = WAIT_S) -> RawAnswer:
    """Return what comes until the server closes the connection, or for `idle` seconds nothing."""
    connection.settimeout(idle)
    content = b""
    while True:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            return RawAnswer(content, is_closed=False)
        except ConnectionError:
            return RawAnswer(content, is_closed=True)
        if not piece:
            return RawAnswer(content, is_closed=True)
        content += piece


def request(
    method: str, path: str, body: bytes = b"", *headers: str, version: str = "1.1"
) -> bytes:
    """Return a request after which the connection is closed."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
