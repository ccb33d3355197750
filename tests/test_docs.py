"""The documentation's Python blocks run, in order, on the embedded model."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from gptneo_onnx.export import export_model

ROOT = Path(__file__).parent.parent


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_every_block_of_the_generation_page_runs(embedded_export, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("gpt-neo-1.3B", "gpt-neo-125M"):
        (tmp_path / name).symlink_to(embedded_export, target_is_directory=True)
    blocks = python_blocks("docs/generation.md")
    assert len(blocks) > 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/generation.md", "exec"), names)
    assert "She" in capsys.readouterr().out
    assert names["text"]


def test_every_block_of_the_features_page_runs(embedded_export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt-neo-1.3B").symlink_to(embedded_export, target_is_directory=True)
    names: dict[str, object] = {}
    for block in python_blocks("docs/features.md"):
        exec(compile(block, "docs/features.md", "exec"), names)
    assert -1 <= names["similarity"] <= 1
    assert names["output"].last_hidden_state.shape[0] == 2


def test_the_readmes_blocks_run(embedded_export, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt-neo-1.3B").symlink_to(embedded_export, target_is_directory=True)
    *generating, exporting = python_blocks("README.md")
    names: dict[str, object] = {}
    for block in generating:
        exec(compile(block, "README.md", "exec"), names)
    assert "The Pile" in capsys.readouterr().out
    # Needs the hub: that it can be called so is all that is seen here.
    call = ast.parse(exporting).body[-1].value
    assert isinstance(call, ast.Call)
    inspect.signature(export_model).bind(*call.args, **{k.arg: k.value for k in call.keywords})


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/evaluation.md",
        "docs/features.md",
        "docs/generation.md",
        "docs/graphs.md",
        "docs/precision.md",
        "examples/browser/README.md",
        "examples/cpp/README.md",
    ],
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_the_generation_page_names_every_argument():
    from gptneo_onnx.runtime import GenerationConfig

    text = (ROOT / "docs/generation.md").read_text()
    names = GenerationConfig.__dataclass_fields__
    undocumented = {name for name in names if f"`{name}`" not in text}
    assert undocumented == {"unsupported", "explicit"}  # no arguments of generate()
