"""Loading a model with its tokenizer and its task's parameters."""

import dataclasses
import json
import shutil

import pytest
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime import Tokenizer
from gptneo_onnx.runtime.pipelines.loading import load_with_tokenizer


def export_with(tmp_path, task_specific_params):
    """An export of the embedded checkpoint whose config.json has these parameters."""
    checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    config["task_specific_params"] = task_specific_params
    (checkpoint / "config.json").write_text(json.dumps(config))
    return export_model(checkpoint, tmp_path / "out")


def test_a_directory_has_a_model_a_tokenizer_and_parameters(embedded_export):
    loaded = load_with_tokenizer(embedded_export, device="cpu", num_threads=1)
    assert loaded.model.device.type == "cpu"
    assert loaded.tokenizer.encode("She was")
    assert loaded.task_specific_params == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.tokenizer = None


def test_a_tokenizer_of_the_callers_is_taken(embedded_export):
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    assert load_with_tokenizer(embedded_export, tokenizer=tokenizer).tokenizer is tokenizer


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, {}),
        ({"summarization": {"max_length": 9}}, {}),
        ({"text-generation": {"do_sample": True}}, {"do_sample": True}),
        ({"text-generation": {"prefix": "Once ", "odd": 3}}, {"prefix": "Once "}),
        ({"text-generation": {"prefix": None, "top_k": None}}, {"top_k": None}),
    ],
)
def test_only_the_parameters_of_text_generation_count(tmp_path, params, expected):
    assert load_with_tokenizer(export_with(tmp_path, params)).task_specific_params == expected


@pytest.mark.parametrize("params", [["text-generation"], {"text-generation": 3}])
def test_parameters_of_another_form_are_refused(tmp_path, params):
    directory = export_with(tmp_path, params)
    with refused(ModelFileError, "config.json: task_specific_params must hold objects"):
        _ = load_with_tokenizer(directory).task_specific_params


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"prefix": 3}, "prefix is 3; a text is allowed"),
        ({"dola_layers": "low"}, "sets dola_layers, which is not supported; remove it from the"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(tmp_path, params, message):
    directory = export_with(tmp_path, {"text-generation": params})
    with refused(ModelFileError, f"config.json: (task_specific_params )?{message}"):
        _ = load_with_tokenizer(directory).task_specific_params


def test_parameters_are_read_by_those_who_use_them(tmp_path):
    """Perplexity and features of a model do not fail for its settings of generation."""
    assert load_with_tokenizer(export_with(tmp_path, {"text-generation": 3})).model
