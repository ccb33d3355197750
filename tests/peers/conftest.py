"""transformers' models of the same checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peers)
            # The peers' own warnings are not ours to mend.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def transformers_model() -> Callable[[Path], Any]:
    """The original of a checkpoint, in float32."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_flush_denormal(True)

    def load(checkpoint: Path) -> Any:
        return transformers.GPTNeoForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32
        ).eval()

    return load
