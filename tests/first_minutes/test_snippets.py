"""Every snippet of snippets.py gives what is written there."""

import ast
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from refusals import check_message

from gptneo_onnx.models.errors import GPTNeoOnnxError

TABLES = runpy.run_path(str(Path(__file__).with_name("snippets.py")))
GIVES: dict[str, Any] = TABLES["GIVES"]
REFUSED: dict[str, str] = TABLES["REFUSED"]


def test_the_tables_are_large():
    assert len(GIVES) > 80
    assert len(REFUSED) > 60
    assert not GIVES.keys() & REFUSED.keys()


@pytest.fixture(scope="session")
def loaded(first_directory) -> dict[str, Any]:
    """The names of the prelude, made once."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(first_directory)
        exec(TABLES["PRELUDE"], names)
    return names


def value_of(snippet: str, names: dict[str, Any]) -> Any:
    """Run a snippet, and return the value of its last line."""
    *lines, last = ast.parse(snippet).body
    assert isinstance(last, ast.Expr)
    own = dict(names)
    exec(compile(ast.Module(lines, []), "snippet", "exec"), own)
    return eval(compile(ast.Expression(last.value), "snippet", "eval"), own)


@pytest.mark.parametrize("snippet", GIVES)
def test_a_snippet_gives_what_the_table_says(loaded, snippet):
    assert value_of(snippet, loaded) == GIVES[snippet]


@pytest.mark.parametrize("snippet", REFUSED)
def test_a_snippet_is_refused_in_one_line(loaded, snippet):
    with pytest.raises(GPTNeoOnnxError) as caught:
        value_of(snippet, loaded)
    check_message(caught.value)
    assert re.search(REFUSED[snippet], str(caught.value))


def test_arrays_of_torch_need_torch(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(GPTNeoOnnxError, match="'pt' where torch has been imported"):
        value_of('tokenizer("It is", return_tensors="pt")', loaded)
