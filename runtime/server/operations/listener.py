"""The socket that a server listens on: bound before models are loaded, opened after."""

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.models.errors import InputError

_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104, compared with, not bound


@dataclass(frozen=True)
class Listener:
    """A bound socket that does not listen yet.

    Attributes:
        socket: the socket.
        certificate, key: for https; None for http.
    """

    socket: socket.socket
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """Where a program on this machine finds the server."""
        host, port = self.socket.getsockname()[:2]
        if host in _ANY_ADDRESS:
            host = "127.0.0.1"
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def why_not_open(self, error: OSError) -> str:
        """Return why the socket cannot be listened on: another program was faster, for example."""
        host, port = self.socket.getsockname()[:2]
        return _why_not_bound(host, port, error)


def bind(
    host: str, port: int, certificate: Path | None = None, key: Path | None = None
) -> Listener:
    """Return a socket that is bound to an address.

    Raises:
        InputError: the port is taken, the address is not of this machine, or the certificate
            cannot be used.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}; 0 to 65535 is allowed")
    _check_certificate(certificate, key)
    try:
        [family, kind, _, _, address], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host} is no address: {_reason(error)}") from error
    bound = socket.socket(family, kind)
    try:
        if os.name == "posix":  # elsewhere it would allow two servers on one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InputError(_why_not_bound(host, port, error)) from error
    return Listener(bound, certificate, key)


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use by another program; end that one, or choose another "
            "with --port (0 picks a free one)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights; choose one above 1023 with --port"
    return f"{host} port {port} cannot be listened on: {_reason(error)}; change --host or --port"


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    if certificate is None:
        if key is not None:
            raise InputError("--ssl-keyfile needs the certificate too; pass --ssl-certfile")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        files = certificate if key is None else f"{certificate} with {key}"
        raise InputError(f"{files} cannot be used for https: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
