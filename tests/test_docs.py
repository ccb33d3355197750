"""The documentation is true: its Python blocks run, its commands parse, its links lead somewhere.

Python blocks run in order, on the embedded model.
"""

import ast
import inspect
import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime.cli.main import build_parser, main

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "examples/*/README.md", "models/tiny/README.md")
    for path in ROOT.glob(pattern)
)
PICTURE = ROOT / "docs/generate.svg"


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture
def models(embedded_export, tmp_path, monkeypatch):
    """The embedded model, in the current directory under the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    for name in ("gpt-neo-1.3B", "gpt-neo-125M"):
        (tmp_path / name).symlink_to(embedded_export, target_is_directory=True)


def run_blocks(page: str, blocks: list[str]) -> dict[str, object]:
    """Run blocks one after another; returns the names that they leave."""
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


def test_every_block_of_the_generation_page_runs(models, capsys):
    blocks = python_blocks("docs/generation.md")
    assert len(blocks) > 8
    names = run_blocks("docs/generation.md", blocks)
    assert "She" in capsys.readouterr().out
    assert names["text"]


def test_every_block_of_the_precision_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_model(EMBEDDED_CHECKPOINT, tmp_path / "gpt-neo-1.3B", precision="fp32,int4")
    names = run_blocks("docs/precision.md", python_blocks("docs/precision.md"))
    assert names["small"].engine.fingerprint == names["model"].engine.twin("int4").fingerprint


def test_every_block_of_the_features_page_runs(models):
    names = run_blocks("docs/features.md", python_blocks("docs/features.md"))
    assert -1 <= names["similarity"] <= 1
    assert names["output"].last_hidden_state.shape[0] == 2


HEADS = {
    "classifier": Head.SEQUENCE_CLASSIFICATION,
    "tagger": Head.TOKEN_CLASSIFICATION,
    "answerer": Head.QUESTION_ANSWERING,
}


def test_every_block_of_the_classification_page_runs(tmp_path, monkeypatch, random):
    monkeypatch.chdir(tmp_path)
    for name, head in HEADS.items():
        checkpoint = Path(shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / f"{name}-checkpoint"))
        export_model(with_head(checkpoint, head, random), tmp_path / name)
    page = "docs/classification.md"
    names = run_blocks(page, python_blocks(page))
    assert names["output"].end_logits.shape == names["output"].start_logits.shape


def test_every_block_of_the_python_page_runs(models, capsys):
    *blocks, exporting = python_blocks("docs/python.md")
    names = run_blocks("docs/python.md", blocks)
    printed = capsys.readouterr().out
    assert "The Pile" in printed
    assert "temperature is -1" in printed
    assert [text[:3] for text in names["texts"]] == ["She", "The", "Ele", "Onc"]
    assert [len(tokens) for tokens in names["completions"]] == [8, 8, 8]
    # Exporting needs the hub; checked here is that it can be called so.
    call = ast.parse(exporting).body[-1].value
    assert isinstance(call, ast.Call)
    inspect.signature(export_model).bind(*call.args, **{k.arg: k.value for k in call.keywords})


def test_every_block_of_the_tokenizers_page_runs(models, capsys):
    pytest.importorskip("jinja2")
    page = "docs/tokenizers.md"
    names = run_blocks(page, python_blocks(page))
    assert names["text"] == "user: Who was fond of whom?\n"
    assert len(names["parts"].input_ids) > 2
    assert "[0, 0, 0" in capsys.readouterr().out


def test_the_readmes_block_is_the_model_cards_example_and_runs(models):
    [block] = python_blocks("README.md")
    assert 'generator("EleutherAI has", do_sample=True, min_length=50)' in block
    result = run_blocks("README.md", [block])["generator"]("EleutherAI has", max_new_tokens=5)
    assert result[0]["generated_text"].startswith("EleutherAI has")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_index_names_every_page():
    index = (ROOT / "docs/README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"]({path.name}) |" in index, path.name


def test_the_architecture_page_names_every_package():
    page = (ROOT / "docs/architecture.md").read_text()
    folders = {
        path.parent
        for top in ("models", "export", "runtime")
        for path in (ROOT / top).rglob("*.py")
    }
    for folder in folders:
        assert f"[{folder.relative_to(ROOT).as_posix()}/](" in page


def test_the_paths_that_contributors_are_sent_to_exist():
    folders = "models|export|runtime|tests|docs|benchmarks|examples"
    paths = re.findall(rf"`((?:{folders})/[^` ]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(paths) > 40
    for path in paths:
        assert (ROOT / path).exists(), path


def command_lines(page: str) -> list[str]:
    """The lines of a page's shell blocks that run gptneo-onnx, without pipes and redirections."""
    lines = re.findall(r"^ {4}(?:.*\| )?gptneo-onnx (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return [re.split(r" [<>|] ", line)[0] for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)])
def test_every_command_line_is_one_that_the_parser_takes(page):
    for line in command_lines(page):
        arguments = shlex.split(line, comments=True)
        if arguments[0] != "lm-eval":  # the harness reads its own command line
            build_parser().parse_args(arguments)


def test_the_picture_is_small_and_shows_commands_that_the_parser_takes():
    assert PICTURE.stat().st_size < 2**20
    svg = ElementTree.parse(PICTURE).getroot()
    title = svg.findtext("{http://www.w3.org/2000/svg}title")
    for command in title.split("; "):
        program, *arguments = shlex.split(command)
        assert program == "gptneo-onnx"
        build_parser().parse_args(arguments)


def shown_at_the_end(picture: Path) -> list[str]:
    """The lines of the terminal in the picture's last state, without spaces at their ends."""
    pieces: dict[float, list[tuple[float, str, float]]] = {}
    for text in ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text"):
        if text.get("class", "").startswith("piece") and text.get("opacity") == "1":
            x, y, width = (float(text.attrib[name]) for name in ("x", "y", "textLength"))
            pieces.setdefault(y, []).append((x, text.text or "", width / len(text.text or "")))
    lines = []
    for y in range(int(min(pieces)), int(max(pieces)) + 1, 20):
        line = ""
        for x, text, width in sorted(pieces.get(y, [])):
            line = line.ljust(round((x - 16) / width)) + text
        lines.append(line.rstrip())
    return lines


def test_the_picture_shows_what_the_commands_print_now(tmp_path, monkeypatch, capsys):
    """The bar of the export's progress aside, which goes to a terminal alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tiny").symlink_to(EMBEDDED_CHECKPOINT)
    svg = ElementTree.parse(PICTURE).getroot()
    expected = []
    for command in svg.findtext("{http://www.w3.org/2000/svg}title").split("; "):
        assert main(shlex.split(command)[1:]) == 0
        said = capsys.readouterr()
        expected += [f"$ {command}", *said.out.splitlines(), *said.err.splitlines()]
    shown = [line for line in shown_at_the_end(PICTURE) if not line.startswith("weights: 100%")]
    assert shown == expected


def test_the_generation_page_names_every_argument():
    from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES, KEPT

    text = (ROOT / "docs/generation.md").read_text()
    undocumented = {name for name in DEFAULT_VALUES if f"`{name}`" not in text}
    assert undocumented <= set(KEPT)  # without effect
