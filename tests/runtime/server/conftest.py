"""A server that all tests of a file ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess, serving

KEY = "sk-first"
OTHER_KEY = "sk-second"
ORIGIN = "https://example.org"


@pytest.fixture(scope="session")
def open_server(embedded_export: Path) -> Iterator[ServerProcess]:
    """A server that everybody may ask, of a small body at most."""
    with serving(embedded_export, "--served-model-name", "tiny", "--max-body-size", "100KB") as it:
        yield it


@pytest.fixture(scope="session")
def guarded_server(
    embedded_export: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with two keys, each for one request at a time, and one origin."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"# of the tests\n{KEY}\n\n{OTHER_KEY}\n")
    keys.chmod(0o600)
    options = ["--api-key-file", keys, "--cors-origin", ORIGIN, "--max-concurrent-per-key", 1]
    with serving(embedded_export, "--served-model-name", "tiny", *options) as server:
        yield server
