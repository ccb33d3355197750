"""Keys: which requests name one that is known, and how many of one key run at the same time."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gptneo_onnx.runtime.server.operations.refusals import Refusal
from gptneo_onnx.runtime.server.operations.request_record import record_of

# What anybody may see: whether the server lives, and the page, which asks for a key itself.
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/version", "/favicon.ico"})
OPEN_FOLDERS = ("/page/",)
CLOSED_PATHS = frozenset({"/page/status"})  # names the models
RETRY_S = 1


def fingerprint(key: str) -> str:
    """Return eight characters that tell keys apart in logs, and give none away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class KeyGuard:
    """Middleware that answers 401 where no known key is named, 429 where a key asks too often."""

    def __init__(self, app: ASGIApp, keys: Iterable[str], max_concurrent: int) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._max_concurrent = max_concurrent
        self._running: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._keys or is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            key = self._known_key(scope)
        except Refusal as refusal:
            await refusal.answer(scope, receive, send)
            return
        record_of(scope).key = fingerprint(key.decode())
        if self._max_concurrent and self._running[key] >= self._max_concurrent:
            too_many = Refusal(
                429,
                f"{self._max_concurrent} requests of this key run already; wait for one to end",
                "rate_limit_exceeded",
                {"Retry-After": str(RETRY_S)},
            )
            await too_many.answer(scope, receive, send)
            return
        self._running[key] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[key] -= 1

    def _known_key(self, scope: Scope) -> bytes:
        """Return the key that a request names.

        Raises:
            Refusal: it names none, or one that is not known.
        """
        scheme, _, named = Headers(scope=scope).get("authorization", "").partition(" ")
        key = named.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        # All are compared, so that the time says nothing about which one is close.
        found = [hmac.compare_digest(key, known) for known in self._keys]
        if any(found):
            return key
        what = "is not known" if key else "is missing; send it as Authorization: Bearer KEY"
        raise Refusal(401, f"the API key {what}", "invalid_api_key", {"WWW-Authenticate": "Bearer"})


def path_of(scope: Scope) -> str:
    """Return a request's path without the one that a proxy shows the server under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def is_open(scope: Scope) -> bool:
    """Return whether a request's path needs no key."""
    path = path_of(scope)
    return path in OPEN_PATHS or (path.startswith(OPEN_FOLDERS) and path not in CLOSED_PATHS)
