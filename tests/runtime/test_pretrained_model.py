"""What transformers' models have besides calls: it works, changes nothing, or says what to use."""

import copy
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, DeviceError, GPTNeoOnnxError, InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import (
    GPTNeoForCausalLM,
    GPTNeoForQuestionAnswering,
    GPTNeoModel,
    Tokenizer,
    pipeline,
)

# Copies a model, and is killed once the first file is copied.
KILLED_COPY = """
import os, shutil, signal, sys
from pathlib import Path
from gptneo_onnx.runtime.model_files.copy_export import copy_export
copy = shutil.copyfile
def kill(source, target):
    copy(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfile = kill
copy_export(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu")


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.eval(),
        lambda model: model.train(False),
        lambda model: model.requires_grad_(False),
        lambda model: model.compile(mode="max-autotune"),
        lambda model: model.float(),
        lambda model: model.cpu(),
        lambda model: model.to("cpu"),
        lambda model: model.to(-1),
        lambda model: model.to(model.device),
        lambda model: model.to(np.float32),
        lambda model: model.to("cpu", "torch.float32", non_blocking=True),
        lambda model: model.to(device="cpu", dtype=np.dtype("float32")),
        lambda model: model.resize_token_embeddings(4096),
    ],
)
def test_what_changes_nothing_returns_the_model(model, call):
    engine = model.engine
    assert call(model) is model
    assert model.engine is engine


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.half(), "dtype is float16, and this graph .* --precision fp16"),
        (lambda model: model.bfloat16(), "dtype is bfloat16, .* --precision bf16"),
        (lambda model: model.to("mps"), "device is 'mps'; auto, cpu, cuda or cuda:N is allowed"),
        (lambda model: model.to(-2), "device is -2; a GPU's number, -1, or a name is allowed"),
        (lambda model: model.train(), "train the checkpoint with transformers, and export it"),
        (lambda model: model.resize_token_embeddings(5000), "new_num_tokens is 5000.*has 4096"),
        (lambda model: model.push_to_hub("me/it"), "hf upload REPOSITORY"),
        (lambda model: model.save_pretrained("x", push_to_hub=True), "hf upload REPOSITORY"),
        (lambda model: model.parameters(), "has no parameters: .* with transformers"),
        (lambda model: model.state_dict(), "has no state_dict: .* inside the graph"),
        (lambda model: model.get_input_embeddings(), "--hidden-states 0"),
        (lambda model: model.transformer(), r"GPTNeoModel\(model\)"),
    ],
)
def test_what_an_export_cannot_do_says_what_to_use(model, call, message):
    with pytest.raises(InputError, match=message):
        call(model)


def test_a_gpu_that_is_not_there_leaves_the_model_where_it_is(model):
    """onnxruntime for CPUs has no CUDA, and a float32 graph no kernels on it."""
    for call in (lambda: model.cuda(), lambda: model.to("cuda:1"), lambda: model.to(0)):
        with pytest.raises(DeviceError):
            call()
    assert model.device.type == "cpu"
    assert model.generate([[1, 2]], max_new_tokens=2).shape == (1, 4)


def test_a_model_is_opened_again_on_another_device(embedded_export):
    engine = GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu", slots=3).engine
    assert engine.on("cpu") is engine
    other = engine.on("auto")
    assert other is not engine
    assert (other.fingerprint, other.cache_bytes) == (engine.fingerprint, engine.cache_bytes)


def test_names_that_are_nowhere(model):
    assert not hasattr(model, "parameters")
    with pytest.raises(AttributeError, match="'GPTNeoForCausalLM' object has no attribute 'evl'"):
        _ = model.evl
    assert not issubclass(AttributeError, GPTNeoOnnxError)
    assert copy.copy(model).device == model.device


def test_attributes(model, embedded_export):
    assert (model.dtype, str(model.device), model.framework) == ("float32", "cpu", "np")
    assert model.name_or_path == str(embedded_export)
    assert (model.main_input_name, model.base_model_prefix) == ("input_ids", "transformer")
    assert model.can_generate()
    assert not GPTNeoModel.can_generate()
    assert not model.training
    assert not GPTNeoModel(model).eval().training
    logits = model.forward(input_ids=[[1, 2]]).logits
    np.testing.assert_array_equal(logits, model([[1, 2]]).logits)


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("int8", "float32")])
def test_the_type_is_that_of_the_calculation(tmp_path, precision, dtype):
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", precision=precision)
    model = GPTNeoForCausalLM.from_pretrained(out, device="cpu", torch_dtype=dtype)
    assert model.dtype == dtype
    assert model.half() is model if dtype == "float16" else model.float() is model


def test_numbers_of_parameters(model, tmp_path, random):
    """5.9 million, as the checkpoint's README says; a head of two outputs has a bias."""
    embeddings = (4096 + 512) * 256
    assert model.num_parameters() == 5_914_112
    assert model.num_parameters(exclude_embeddings=True) == 5_914_112 - embeddings
    assert GPTNeoModel(model).num_parameters(only_trainable=True) == model.num_parameters()
    checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "checkpoint")
    head = with_head(checkpoint, Head.QUESTION_ANSWERING, random)
    answerer = GPTNeoForQuestionAnswering.from_pretrained(export_model(head, tmp_path / "out"))
    assert answerer.num_parameters() == 5_914_112 + 2 * 256 + 2


class TestSavePretrained:
    def test_the_copy_is_the_export(self, model, tmp_path, embedded_export):
        model.save_pretrained(tmp_path / "new/folder", safe_serialization=True)
        copied, source = (
            {path.name: path.read_bytes() for path in folder.iterdir()}
            for folder in (tmp_path / "new/folder", embedded_export)
        )
        assert copied == source
        again = GPTNeoForCausalLM.from_pretrained(tmp_path / "new/folder")
        assert again.engine.fingerprint == model.engine.fingerprint

    def test_with_its_tokenizer_in_either_order(self, model, tmp_path, embedded_export):
        tokenizer = Tokenizer.from_pretrained(embedded_export, padding_side="left")
        first, second = tmp_path / "first", tmp_path / "second"
        model.save_pretrained(first)
        tokenizer.save_pretrained(first)
        tokenizer.save_pretrained(second)
        model.save_pretrained(second)
        for folder in (first, second):
            assert pipeline("text-generation", folder)("She", max_new_tokens=2)
        assert Tokenizer.from_pretrained(first).padding_side == "left"

    def test_a_pipeline_with_both(self, embedded_export, tmp_path):
        generator = pipeline("text-generation", embedded_export)
        generator.save_pretrained(tmp_path / "out")
        again = pipeline("text-generation", tmp_path / "out")
        arguments = {"max_new_tokens": 5, "seed": 1}
        assert again("She was", **arguments) == generator("She was", **arguments)

    def test_the_generation_config_as_it_is_now(self, embedded_export, tmp_path):
        model = GPTNeoForCausalLM.from_pretrained(embedded_export)
        model.generation_config.max_new_tokens = 7
        model.save_pretrained(tmp_path / "out")
        again = GPTNeoForCausalLM.from_pretrained(tmp_path / "out")
        assert again.generation_config.max_new_tokens == 7
        again.generation_config.max_new_tokens = 8
        again.generation_config.save_pretrained(tmp_path / "out")
        again = GPTNeoForCausalLM.from_pretrained(tmp_path / "out")
        assert again.generation_config.max_new_tokens == 8

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    def test_the_next_copy_removes_what_a_killed_one_left(self, model, embedded_export, tmp_path):
        command = [sys.executable, "-c", KILLED_COPY, str(embedded_export), str(tmp_path / "out")]
        assert subprocess.run(command).returncode == -signal.SIGKILL
        [left] = tmp_path.glob(".out.partial-*/new")
        assert [*left.iterdir()]
        model.save_pretrained(tmp_path / "another")
        assert [path.name for path in tmp_path.iterdir()] == ["another"]

    def test_into_itself(self, model, embedded_export):
        model.save_pretrained(embedded_export)
        assert GPTNeoForCausalLM.from_pretrained(embedded_export)

    def test_another_exporters_directory(self, tmp_path):
        """Without a manifest, everything is copied but hidden files."""
        out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", graph="portable")
        (out / "gptneo_onnx.json").unlink()
        (out / ".cache").mkdir()
        (out / ".cache/log").write_text("x")
        GPTNeoForCausalLM.from_pretrained(out).save_pretrained(tmp_path / "copy")
        assert not (tmp_path / "copy/.cache").exists()
        assert GPTNeoForCausalLM.from_pretrained(tmp_path / "copy").generate([[1]]).size

    def test_folders_that_cannot_be_used(self, model, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(InputError, match=r"save_directory is .*file, which is a file"):
            model.save_pretrained(tmp_path / "file")
        with pytest.raises(InputError, match="holds file, which is no file of the export"):
            model.save_pretrained(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_config_has_transformers_names(model):
    config = model.config
    expected = json.loads((EMBEDDED_CHECKPOINT / "config.json").read_text())
    assert config.attention_types == expected["attention_types"]
    assert config.attention_layers == ["global", "local"] * 3
    assert config.num_hidden_layers == config.num_layers == 6
    assert config.num_attention_heads == config.num_heads == 4
    assert (config.model_type, config.is_encoder_decoder) == ("gpt_neo", False)
    assert (config.num_labels, config.id2label) == (2, {0: "LABEL_0", 1: "LABEL_1"})
    values = config.to_dict()
    assert json.loads(config.to_json_string()) == json.loads(json.dumps(values))
    assert type(config).from_dict(json.loads(config.to_json_string())) == config
