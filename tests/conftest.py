"""Fixtures that every folder of tests shares."""

import secrets
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT

DEFAULT_SEED = 20210321


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--draw-seed",
        default=str(DEFAULT_SEED),
        help="seed of every random draw, or 'fresh' for a new one",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and what that starts in turn;
    # nohup has it ignore the end of the terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("--draw-seed") == "fresh":
        config.option.draw_seed = str(secrets.randbelow(2**32))


def pytest_report_header(config: pytest.Config) -> str:
    return f"random draws: --draw-seed {config.getoption('--draw-seed')}"


@pytest.fixture
def random(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own: what it draws does not depend on which tests ran before."""
    seed = int(request.config.getoption("--draw-seed"))
    return np.random.default_rng([seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(autouse=True)
def private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or writes the user's folders for caches and for what was typed."""
    monkeypatch.setenv("GPTNEO_ONNX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def no_colours_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of the tests says about colours does not count."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def embedded_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint's float32 export; shared, so never to be changed."""
    return export_model(EMBEDDED_CHECKPOINT, tmp_path_factory.mktemp("embedded") / "export")


ExportShape = Callable[..., Path]


@pytest.fixture
def export_shape(tmp_path: Path, random: np.random.Generator) -> ExportShape:
    """Draws a checkpoint into tmp_path/checkpoint and exports it to tmp_path/export."""

    def export(
        shape: Shape | None = None,
        precision: str = "fp32",
        activations: str | None = None,
        **options: Any,
    ) -> Path:
        checkpoint = write_checkpoint(tmp_path / "checkpoint", shape or Shape(), random)
        return export_model(
            checkpoint,
            tmp_path / "export",
            precision=precision,
            activations=activations,
            **options,
        )

    return export
