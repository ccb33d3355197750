"""The page's files, and the headers that they are sent with."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing from other hosts, nothing inline, and no text that becomes markup or script.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        content: its bytes.
        headers: what it is sent with; a browser asks each time whether its copy is the newest.
    """

    content: bytes
    headers: dict[str, str]


def read_files() -> dict[str, PageFile]:
    """Return the page's files by name."""
    paths = sorted(path for path in _FOLDER.iterdir() if path.suffix in _MEDIA_TYPES)
    return {path.name: _read(path) for path in paths}


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:32]
    headers = {"Content-Type": _MEDIA_TYPES[path.suffix], "ETag": f'"{tag}"'}
    return PageFile(content, _HEADERS | headers)
