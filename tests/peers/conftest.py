"""Marks these tests `peers`, and loads transformers' models of the same checkpoints."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_texts import NEW_TOKENS, PROMPTS, left_padded

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peers)
            # Warnings that the peers raise themselves.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def transformers_model() -> Callable[[Path], Any]:
    """Loads a checkpoint with transformers, in float32."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_flush_denormal(True)

    def load(checkpoint: Path) -> Any:
        return transformers.GPTNeoForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32
        ).eval()

    return load


@pytest.fixture(scope="session")
def two_graphs(tmp_path_factory):
    """Both graphs of the embedded model, on one weights file."""
    out = tmp_path_factory.mktemp("portable") / "export"
    return export_model(EMBEDDED_CHECKPOINT, out, graph=("fused", "portable"))


@pytest.fixture(scope="session")
def expected(two_graphs):
    """Our runtime's greedy ids [prompts, length], padded on the left."""
    model = GPTNeoForCausalLM.from_pretrained(two_graphs, device="cpu", slots=len(PROMPTS))
    ids, mask = left_padded(two_graphs)
    return model.generate(ids, mask, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)


@pytest.fixture
def embedded_checkpoint(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, to be changed."""
    return Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "embedded"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, driven by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()
