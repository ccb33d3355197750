"""`import gptneo_onnx`: every public name, and the names that transformers' users type."""

import subprocess
import sys

import pytest

import gptneo_onnx
import gptneo_onnx.export
import gptneo_onnx.runtime


def test_it_has_the_names_of_runtime_and_export():
    names = {*gptneo_onnx.runtime.__all__, *gptneo_onnx.export.__all__}
    assert names < set(gptneo_onnx.__all__) == set(dir(gptneo_onnx))
    assert gptneo_onnx.pipeline is gptneo_onnx.runtime.pipeline
    assert gptneo_onnx.export_model is gptneo_onnx.export.export_model
    for name in gptneo_onnx.__all__:
        assert getattr(gptneo_onnx, name) is not None


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("AutoModel", "GPTNeoModel"),
        ("AutoModelForCausalLM", "GPTNeoForCausalLM"),
        ("AutoModelForQuestionAnswering", "GPTNeoForQuestionAnswering"),
        ("AutoModelForSequenceClassification", "GPTNeoForSequenceClassification"),
        ("AutoModelForTokenClassification", "GPTNeoForTokenClassification"),
        ("AutoTokenizer", "Tokenizer"),
    ],
)
def test_names_of_transformers(alias, name):
    assert getattr(gptneo_onnx, alias) is getattr(gptneo_onnx.runtime, name)


def test_other_names_are_missing():
    with pytest.raises(AttributeError, match="module 'gptneo_onnx' has no attribute 'torch'"):
        _ = gptneo_onnx.torch


def test_python_m_is_the_command_line():
    command = [sys.executable, "-m", "gptneo_onnx", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"gptneo-onnx {gptneo_onnx.__version__}"
