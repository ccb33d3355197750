"""The pages that are made from the code are what the code says now (`make pages` writes them)."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def write_pages():
    spec = importlib.util.spec_from_file_location("write_pages", DOCS / "site/write_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("columns", ["20", "300"])
def test_the_page_of_options_is_what_the_parsers_say_at_any_width(
    write_pages, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", columns)
    written = (DOCS / write_pages.COMMANDS).read_text()
    assert written == write_pages.commands_page(), "run `make pages`"


def test_the_page_of_options_has_every_option(write_pages):
    page = (DOCS / write_pages.COMMANDS).read_text()
    names = [name for name, _, _ in write_pages._commands()]
    assert {"export", "generate", "doctor"} < set(names)
    for name, _, command in write_pages._commands():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for action in command._actions:
            if action.dest != "help" and action.help != "==SUPPRESS==":
                for option in action.option_strings:
                    assert re.search(rf"`{option}[ `]", section), f"{name} {option}"


def test_the_reference_is_what_the_docstrings_say(write_pages):
    written = (DOCS / write_pages.REFERENCE).read_text()
    assert written == write_pages.reference_page(), "run `make pages`"


def test_the_reference_has_every_public_name_once():
    page = (DOCS / "reference.md").read_text()
    names = page.partition("## Arguments of generate()")[0]
    shown = re.findall(r"^\| `(\w+)` \|", names, re.MULTILINE)
    assert len(shown) == len(set(shown))
    public = {
        name
        for module in ("runtime", "runtime.generation", "export")
        for name in importlib.import_module(f"gptneo_onnx.{module}").__all__
    }
    errors = importlib.import_module("gptneo_onnx.models.errors")
    public |= {name for name in vars(errors) if name.endswith("Error") and name[0].isupper()}
    assert set(shown) == public


def test_the_reference_has_every_argument_of_generate_once():
    from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES

    page = (DOCS / "reference.md").read_text().partition("## Arguments of generate()")[2]
    shown = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    passed_over = re.findall(r"`(\w+)`", page.partition("Kept for `transformers`")[2])
    assert sorted([*shown, *passed_over]) == sorted(DEFAULT_VALUES)


def test_each_name_of_the_reference_can_be_imported_from_where_it_says(write_pages):
    for _, module, names in write_pages.sections():
        for name in names:
            assert getattr(importlib.import_module(module), name).__doc__, name
