"""Whether ONNX Runtime is installed; tests/test_layering.py runs an environment without it."""

import os
import subprocess
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


@pytest.mark.parametrize("module", ["runtime.engine.session", "export.check.subgraph"])
def test_no_telemetry_is_queued_in_the_users_cache_folder(tmp_path, module):
    script = f"""
import gptneo_onnx.{module}
from gptneo_onnx.export.check.onnx_runtime import import_onnx_runtime
import_onnx_runtime()
"""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    subprocess.run([sys.executable, "-c", script], check=True, env=kept | home)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
