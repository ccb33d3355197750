"""gptneo_onnx.runtime imports its names on first use: as users, tools and type checkers see it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gptneo_onnx.runtime
from gptneo_onnx.runtime import _MODULES


def run(script: str) -> str:
    """Run a script in an interpreter that has imported nothing yet; returns what it prints."""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout


def typed_names() -> dict[str, str]:
    """The module of each name that type checkers find under `if TYPE_CHECKING`."""
    tree = ast.parse(Path(gptneo_onnx.runtime.__file__).read_text())
    [block] = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            found[alias.name] = node.module.removeprefix("gptneo_onnx.runtime.")
    return found


def test_type_checkers_find_each_name_where_it_is_imported_from():
    assert typed_names() == _MODULES


def test_every_public_name_is_an_error_or_in_the_table():
    errors = {name for name in gptneo_onnx.runtime.__all__ if name.endswith("Error")}
    assert {*gptneo_onnx.runtime.__all__} - errors == {*_MODULES}


def test_dir_lists_every_public_name_before_any_is_used():
    listed = run("import gptneo_onnx.runtime as runtime; print(*dir(runtime))").split()
    assert {*gptneo_onnx.runtime.__all__} <= {*listed}


def test_a_star_import_gives_every_public_name():
    listed = run("from gptneo_onnx.runtime import *; print(*dir())").split()
    assert {*gptneo_onnx.runtime.__all__} <= {*listed}


def test_the_generation_package_needs_no_import_of_its_own():
    script = "import gptneo_onnx.runtime as r; print(r.generation.LogitsProcessor.__name__)"
    assert run(script) == "LogitsProcessor\n"


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'gptneo_onnx.runtime' has no attribute 'x'"):
        _ = gptneo_onnx.runtime.x
    with pytest.raises(ImportError, match="cannot import name 'x' from 'gptneo_onnx.runtime'"):
        exec("from gptneo_onnx.runtime import x")


WITHOUT_ONNX_RUNTIME = """
import sys
sys.modules["onnxruntime"] = None
from gptneo_onnx.models import MissingDependencyError
import gptneo_onnx.runtime as runtime
for name in [*runtime.__all__, "generation"]:
    try:
        getattr(runtime, name)
    except MissingDependencyError as error:
        print(name, str(error).startswith("running a model needs ONNX Runtime: pip install"))
"""


def test_without_onnx_runtime_all_names_but_errors_say_what_to_install():
    lines = run(WITHOUT_ONNX_RUNTIME).splitlines()
    assert lines == [f"{name} True" for name in [*sorted(_MODULES), "generation"]]


def test_what_is_left_of_an_uninstalled_onnx_runtime_does_not_count():
    script = (
        "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime')\n"
        "try:\n    from gptneo_onnx.runtime import pipeline\n"
        "except ImportError as error:\n    print(type(error).__name__)"
    )
    assert run(script) == "MissingDependencyError\n"
