"""What pyproject.toml promises: every package, file and name that users get."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("models", "export", "runtime")


def test_every_folder_with_files_is_a_listed_package():
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    assert sorted(mapped) == sorted(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert found == set(mapped.values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_package_is_typed_and_ships_its_files(folder):
    assert (ROOT / folder / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][f"gptneo_onnx.{folder}"]


def test_every_file_that_is_no_module_is_shipped():
    declared = PROJECT["tool"]["setuptools"]["package-data"]
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    for package, folder in mapped.items():
        for path in (ROOT / folder).iterdir():
            if path.is_file() and path.suffix != ".py":
                assert any(path.match(pattern) for pattern in declared.get(package, [])), path


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_names_exist_and_have_docstrings(folder):
    package = importlib.import_module(f"gptneo_onnx.{folder}")
    assert package.__doc__
    assert len(package.__all__) == len(set(package.__all__))
    for name in package.__all__:
        value = getattr(package, name)
        assert not callable(value) or value.__doc__, name


def test_the_written_documentation_shows_every_public_name_of_the_runtime():
    pages = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs/reference.md"}
    shown = {word for page in pages for word in re.findall(r"\w+", page.read_text())}
    runtime = importlib.import_module("gptneo_onnx.runtime")
    assert set(runtime.__all__) <= shown


def test_the_repository_stays_small():
    tiny = sum(path.stat().st_size for path in (ROOT / "models/tiny").iterdir())
    assert tiny <= 16 * 2**20


def test_files_are_short():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 320, path
