"""Whether ONNX Runtime is installed; tests/test_layering.py runs an environment without it."""

import sys
from types import ModuleType

import pytest
from refusals import refused

from gptneo_onnx.models.errors import MissingDependencyError
from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime


def test_an_installed_one_is_enough():
    require_onnx_runtime()


@pytest.mark.parametrize("module", [None, ModuleType("onnxruntime")], ids=["missing", "empty"])
def test_a_missing_or_empty_one_is_refused_with_what_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    with refused(
        MissingDependencyError, r"running a model needs .*pip install 'gptneo-onnx\[cpu\]"
    ):
        require_onnx_runtime()
