"""Rows of docs/checkpoints.md that no other test proves, and that the page is complete and true."""

import ast
import json
import re
from pathlib import Path

import pytest
import wild_tokenizer
from checkpoints import Shape, draw_tensors, write_checkpoint
from refusals import refused
from safetensors.numpy import save_file

from gptneo_onnx.export import check_export, export_model
from gptneo_onnx.export.checkpoint import weights_elsewhere
from gptneo_onnx.export.checkpoint.weight_files import WEIGHT_FILES
from gptneo_onnx.models import ModelFileError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/checkpoints.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| form")
]


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", Shape(), random)


def quoted(text):
    """The messages of the page that have this text, as one would search for them."""
    return [message for row in ROWS for message in re.findall('"(.*?)"', row[1]) if text in message]


def with_config(checkpoint, **changes):
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return checkpoint


def refuses(checkpoint, text):
    [message] = quoted(text)
    with refused(ModelFileError, re.escape(message)):
        export_model(checkpoint, checkpoint.with_name("out"))
    with refused(ModelFileError, re.escape(message)):
        check_export(checkpoint)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("window_size", {"window_size": 0}),
        ("num_layers", {"num_layers": 0, "attention_types": []}),
        ("model_type", {"model_type": "gpt2"}),
        ("activation_function", {"activation_function": "xielu"}),
        ("pruned", {"pruned_heads": {"0": [1]}}),
    ],
)
def test_refused_configs(checkpoint, text, changes):
    refuses(with_config(checkpoint, **changes), text)


def test_entries_that_change_nothing(checkpoint, tmp_path):
    expected = export_model(checkpoint, tmp_path / "expected") / "model.onnx_data"
    with_config(
        checkpoint,
        dtype="bfloat16",
        rope_parameters=None,
        transformers_version="5.0.0",
        auto_map={"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"},
        architectures=["OwnForCausalLM"],
    )
    found = export_model(checkpoint, tmp_path / "out") / "model.onnx_data"
    assert found.read_bytes() == expected.read_bytes()
    assert check_export(checkpoint).unknown_entries == ["rope_parameters"]


@pytest.mark.parametrize(
    ("text", "name"),
    [("which is missing", "one.safetensors"), ("plain name", "sub/one.safetensors")],
)
def test_refused_indexes(checkpoint, text, name):
    (checkpoint / "model.safetensors").unlink()
    index = {"weight_map": {"transformer.wte.weight": name}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    refuses(checkpoint, text)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("asks for", {"num_layers": 4, "attention_types": [[["global"], 4]]}),
        ("draws a head", {"tie_word_embeddings": False}),
        ("saved with the weights", {"intermediate_size": 30}),
    ],
)
def test_refused_weights(checkpoint, text, changes):
    refuses(with_config(checkpoint, **changes), text)


def test_a_shard_that_the_index_does_not_name_is_passed_over(checkpoint, random):
    (checkpoint / "model.safetensors").unlink()
    save_file(draw_tensors(Shape(), random), checkpoint / "one.safetensors")
    index = {"weight_map": dict.fromkeys(draw_tensors(Shape(), random), "one.safetensors")}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    (checkpoint / "model-00002-of-00002.safetensors").write_bytes(b"damaged")
    assert [file.name for file in check_export(checkpoint).weights] == ["one.safetensors"]


def test_no_tokenizer(checkpoint):
    assert any("has no tokenizer" in note for note in check_export(checkpoint).notes)


def test_a_tokenizer_with_more_ids_than_the_model(checkpoint, tmp_path, random):
    small = write_checkpoint(tmp_path / "small", Shape(vocab_size=260), random)
    config = (small / "config.json").read_text()
    wild_tokenizer.write_vocabulary(small)
    (small / "config.json").write_text(config)
    [message] = quoted("tokens beyond")
    assert any(note.endswith(message) for note in check_export(small).notes)
    assert export_model(small, tmp_path / "out").exists()


def functions_in(path):
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


class TestThePage:
    def test_every_row_has_a_test_that_exists(self):
        assert len(ROWS) > 50
        for row in ROWS:
            assert len(row) == 3, row
            path, _, name = row[2].strip("`").partition("::")
            assert not name or name in functions_in(path), row

    def test_every_message_is_one_that_the_code_has(self):
        """The rows' tests raise them; here every word is looked for in the source."""
        source = "".join(
            self.constants(path)
            for folder in ("export", "models")
            for path in sorted((ROOT / folder).rglob("*.py"))
        )
        messages = [message for row in ROWS for message in re.findall('"(.*?)"', row[1])]
        assert len(messages) > 30
        for message in messages:
            parts = [part for part in re.split(r"'\w+'|\b0\b|config\.json|model_type|window_size|"
                     r"num_layers|activation_function", message) if len(part) > 6]  # fmt: skip
            assert parts, message
            assert all(part.strip() in source for part in parts), message

    @staticmethod
    def constants(path):
        nodes = ast.walk(ast.parse(path.read_text()))
        return "\n".join(
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )

    def test_every_framework_has_a_row(self):
        for _, what in weights_elsewhere._FRAMEWORKS:
            assert any(message in what for message in quoted("")), what

    def test_every_message_about_other_formats_has_a_row(self):
        """The messages of the two modules that recognise what cannot be read."""
        every = [row[1] for row in ROWS]
        for name in ("other_formats", "weights_elsewhere"):
            text = self.constants(ROOT / f"export/checkpoint/{name}.py")
            found = re.findall(r"^ ?(?:is|holds) (?:only )?an? [A-Za-z-]+", text, re.MULTILINE)
            assert len(found) > 1
            for beginning in found:
                assert any(beginning.strip() in cell for cell in every), beginning

    def test_every_file_that_is_drawn_has_a_row(self):
        names = {"generation_config.json", "config.json", *wild_tokenizer_files()}
        for name in names | {*WEIGHT_FILES}:
            assert name in PAGE


def wild_tokenizer_files():
    """The files that tests/support/wild_tokenizer.py writes."""
    source = (ROOT / "tests/support/wild_tokenizer.py").read_text()
    return re.findall(r'"([a-z_]+\.(?:json|txt))"', source)


def test_a_check_writes_nothing_into_the_checkpoint(checkpoint):
    before = sorted(path.name for path in checkpoint.iterdir())
    check_export(checkpoint)
    assert sorted(path.name for path in checkpoint.iterdir()) == before
