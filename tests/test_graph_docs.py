"""The tables of docs/graphs.md have the inputs and outputs that models/ declares, and no others."""

import re
from pathlib import Path

import pytest

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.genai_graph import genai_contract
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision, fused_contract
from gptneo_onnx.models.portable_graph import portable_contract
from gptneo_onnx.runtime.model_files.inference.operators import PORTABLE

PAGE = Path(__file__).parent.parent / "docs/graphs.md"
# All sizes differ, so that each identifies an axis of the page.
CONFIG = GPTNeoConfig.from_dict(
    {
        "model_type": "gpt_neo",
        "hidden_size": 48,
        "num_heads": 3,
        "num_layers": 2,
        "attention_types": [[["global", "local"], 1]],
        "vocab_size": 99,
        "window_size": 7,
        "max_position_embeddings": 50,
    }
)
AXES = {48: "hidden", 3: "heads", 16: "head_dim", 99: "vocabulary", 7: "window", 2: "2", 1: "1"}
CONTRACTS = {"fused": fused_contract, "portable": portable_contract, "genai": genai_contract}


def tables(section):
    """Return a section's tables: {"input": {name: (type, axes)}, "output": ...}."""
    text = re.search(rf"\n## {section}\n(.*?)(?=\n## |\Z)", PAGE.read_text(), re.DOTALL)[1]
    found = {}
    for heading, rows in re.findall(r"\| (input|output) \|.*?\n\|[-|]+\n((?:\|.*\n)+)", text):
        cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()]
        found[heading] = {name.strip("`"): (kind, axes) for name, kind, axes, _ in cells}
    return found


def declared(specs, activations):
    """Return {name: (type, axes)} of a contract's inputs or outputs, layers merged into one."""
    found = {}
    for spec in specs:
        name = re.sub(r"\.\d+\.", ".N.", spec.name)
        is_cache = name != spec.name
        kind = "float" if is_cache else spec.data_type.value
        assert not is_cache or spec.data_type is activations
        axes = [axis if isinstance(axis, str) else AXES[axis] for axis in spec.axes]
        found.setdefault(name, []).append((kind, axes))
    return {
        name: (kinds[0][0], joined([axes for _, axes in kinds])) for name, kinds in found.items()
    }


def joined(layers):
    """Return the axes of global and local layers, joined by "or" where they differ."""
    return ", ".join(" or ".join(dict.fromkeys(axis)) for axis in zip(*layers, strict=True))


@pytest.mark.parametrize("activations", [DataType.FLOAT32, DataType.FLOAT16])
@pytest.mark.parametrize("kind", CONTRACTS)
def test_the_tables_are_the_contract(kind, activations):
    precision = Precision.FP32 if activations is DataType.FLOAT32 else Precision.FP16
    contract = CONTRACTS[kind](CONFIG, NumberFormat.of(precision))
    page = tables(kind)
    for heading, specs in (("input", contract.inputs), ("output", contract.outputs)):
        wanted = declared(specs, activations)
        if kind == "portable" and heading == "output":
            assert wanted["logits"][0] == activations.value
            wanted["logits"] = ("float", wanted["logits"][1])
        assert page[heading] == wanted


def test_the_page_shows_every_kind_of_graph():
    headings = re.findall(r"\n## (\w+)\n", PAGE.read_text())
    assert headings == [*CONTRACTS]


def test_the_page_lists_the_operators_of_portable_graphs():
    listed = {
        (domain, name)
        for domain, names in re.findall(
            r"^- (ai.onnx|com.microsoft): ((?:.+\n)+?)(?=\n|- )", PAGE.read_text(), re.M
        )
        for name in re.findall(r"`(\w+)`", names)
    }
    assert listed == {(domain or "ai.onnx", name) for domain, name in PORTABLE}
