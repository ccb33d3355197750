"""needs_export(): whether OUT is empty, has the same export already, or another one."""

import json
import shutil

import pytest
from checkpoints import Shape, write_checkpoint
from refusals import refused

from gptneo_onnx.export import export_model, set_tokenizer
from gptneo_onnx.export.existing_export import needs_export
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.models.manifest import MANIFEST_FILE

SHAPE = Shape(vocab_size=4096, hidden_size=16, num_heads=2, max_position_embeddings=16)
# What the command line passes.
DEFAULTS = {
    "task": "auto", "graph": None, "precision": ["fp32"], "activations": None, "full_range": False,
    "calibrate": None, "hidden_states": None, "layout": "flat", "exporter": "direct",
    "verify": False, "revision": None, "variant": None, "tokenizer": None, "adapter": None,
}  # fmt: skip
ANOTHER = "holds an export already, and not known to be the same: .*; pass --force to replace it"


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", SHAPE, random)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def needs(checkpoint, out):
    return lambda **changes: needs_export(checkpoint, out, **DEFAULTS | changes)


def test_nothing_and_an_empty_directory_need_one(needs, out):
    assert needs()
    out.mkdir()
    assert needs()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"graph": ["fused", "portable"], "precision": ["int8", "int4"], "hidden_states": "all"},
        {"task": "feature-extraction-with-past"},
        {"tokenizer": str(EMBEDDED_CHECKPOINT)},
    ],
    ids=str,
)
def test_the_same_export_is_not_needed_again(needs, checkpoint, out, options):
    export_model(checkpoint, out, **options)
    assert not needs(**options)


def test_what_is_said_in_other_words_is_the_same(needs, checkpoint, out):
    export_model(checkpoint, out, precision="fp32", hidden_states=[2, 0])
    assert not needs(hidden_states=[0, -1], graph=["fused"], task="text-generation-with-past")


@pytest.mark.parametrize(
    "options",
    [
        {"precision": ["fp16"]},
        {"precision": ["fp32", "int4"]},
        {"graph": ["portable"]},
        {"hidden_states": [0]},
        {"task": "feature-extraction-with-past"},
        {"tokenizer": str(EMBEDDED_CHECKPOINT)},
        {"layout": "transformers.js"},
    ],
    ids=str,
)
def test_other_options_are_another_export(needs, checkpoint, out, options):
    export_model(checkpoint, out)
    with refused(InputError, ANOTHER):
        needs(**options)


def test_another_text_to_calibrate_with_is_another_export(needs, checkpoint, out, tmp_path):
    shutil.copyfile(EMBEDDED_CHECKPOINT / "tokenizer.json", checkpoint / "tokenizer.json")
    text = tmp_path / "text.txt"
    text.write_text("She was very fond of him, and it was a truth. " * 20)
    options = {"precision": ["int8"], "calibrate": text}
    export_model(checkpoint, out, **options)
    assert not needs(**options)
    text.write_text("Another text, which is not the same as it was. " * 20)
    with refused(InputError, ANOTHER):
        needs(**options)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json"])
def test_a_checkpoint_that_changed_is_another(needs, checkpoint, out, random, name):
    export_model(checkpoint, out)
    path = checkpoint / name
    if path.suffix == ".json":
        values = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(values | {"eos_token_id": 7}))
    else:
        write_checkpoint(checkpoint, SHAPE, random)  # draws other numbers
    with refused(InputError, ANOTHER):
        needs()


def test_files_that_an_export_does_not_read_do_not_count(needs, checkpoint, out):
    export_model(checkpoint, out)
    (checkpoint / "README.md").write_text("another")
    (checkpoint / "trainer_state.json").write_text("{}")
    assert not needs()


def test_an_export_that_was_damaged_is_another(needs, checkpoint, out):
    export_model(checkpoint, out)
    content = bytearray((out / "model.onnx_data").read_bytes())
    content[-1] ^= 1
    (out / "model.onnx_data").write_bytes(content)
    with refused(InputError, ANOTHER):
        needs()


def test_a_tokenizer_that_was_set_counts_as_if_it_had_been_exported(needs, checkpoint, out):
    export_model(checkpoint, out)
    set_tokenizer(out, EMBEDDED_CHECKPOINT)
    assert not needs(tokenizer=str(EMBEDDED_CHECKPOINT))
    with refused(InputError, ANOTHER):
        needs()


def test_a_comparison_with_transformers_is_not_forgotten(needs, checkpoint, out, monkeypatch):
    """An export that was not compared does not serve --verify."""
    monkeypatch.setattr("gptneo_onnx.export.arguments.check_can_verify", lambda _: None)
    export_model(checkpoint, out)
    with refused(InputError, ANOTHER):
        needs(verify=True)


def test_an_export_without_a_fingerprint_is_not_known(needs, checkpoint, out):
    """As older versions wrote it."""
    export_model(checkpoint, out)
    values = json.loads((out / MANIFEST_FILE).read_text())
    del values["made_from"]
    (out / MANIFEST_FILE).write_text(json.dumps(values))
    with refused(InputError, ANOTHER):
        needs()


def test_a_directory_that_is_no_export_is_refused_as_ever(needs, out):
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with refused(InputError, "out is not empty and not an exported model; name another"):
        needs()
