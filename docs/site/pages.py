"""What MkDocs adds to the pages of docs/: navigation, pages from elsewhere, the Python reference.

The pages are plain Markdown that also reads well in the repository. The navigation is the tables of
docs/README.md. Pages outside docs/ are copied into the site, and links between all of them are
rewritten. The reference's pages are made from docs/reference.md.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
INDEX, REFERENCE = "README.md", "reference.md"
# What the site has that is not in docs/, by paths in the repository.
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "models/tiny/README.md": "embedded-model.md",
    "models/tiny/loss.png": "loss.png",
    **{
        path.relative_to(ROOT).as_posix(): f"example-{path.parent.name}.md"
        for path in sorted(ROOT.glob("examples/*/README.md"))
    },
}
# Where the names of the package at the top come from, which imports them on first use.
_HOME = {"gptneo_onnx": "gptneo_onnx.runtime"}
_IN_REPOSITORY = {page: path for path, page in ELSEWHERE.items()}
# Wide tables: the theme keeps pages narrow.
_STYLE, _STYLE_PAGE = ".md-grid { max-width: 80rem; }\n", "wide.css"
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\]])*)\]\(([^)\s]+)\)")


def on_startup(**_: Any) -> None:
    """Put the packages where mkdocstrings finds them."""
    _link_packages(ROOT / "build/site-package/gptneo_onnx")


def on_config(config: Any) -> Any:
    """Make the navigation."""
    config.extra_css.append(_STYLE_PAGE)
    config.nav = _navigation()
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from elsewhere, and the reference's."""
    for path, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_bytes()))
    files.append(File.generated(config, _STYLE_PAGE, content=_STYLE))
    for title, module, names in _reference_groups():
        content = [f"# {title}\n", *(f"::: {module}.{name}\n" for name in names)]
        files.append(File.generated(config, _reference_page(title), content="\n".join(content)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links by path to links within the site."""
    uri = page.file.src_uri
    if uri.startswith("reference/"):
        return markdown
    if uri == REFERENCE:
        for _title, module, names in _reference_groups():
            for name in names:
                markdown = markdown.replace(f"| `{name}` |", f"| [`{name}`][{module}.{name}] |")
    path = _IN_REPOSITORY.get(uri, f"docs/{uri}")
    return _outside_fences(markdown, lambda text: _with_links_of_site(text, path, uri))


def _link_packages(folder: Path) -> None:
    """Make the package's folder from links, as pyproject.toml maps its parts."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: ROOT / name for name in ("models", "export", "runtime")}
    parts["__init__.py"] = ROOT / "runtime/namespace/__init__.py"
    for name, target in parts.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(target)


def _navigation() -> list[Any]:
    """Return the index, and a section for each table of the index."""
    navigation: list[Any] = [INDEX, {"Overview": ELSEWHERE["README.md"]}]
    text = (DOCS / INDEX).read_text("utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        targets = re.findall(r"^\| \[[^\]]*\]\(([^)]+)\)", section, re.MULTILINE)
        pages: list[Any] = [_site_page(f"docs/{target}") or target for target in targets]
        if REFERENCE in pages:
            groups = [_reference_page(title) for title, _, _ in _reference_groups()]
            pages[pages.index(REFERENCE)] = {_title(DOCS / REFERENCE): [REFERENCE, *groups]}
        if pages:
            navigation.append({title: pages})
    examples = re.findall(r"\]\(([^)]+)\)", text[text.index("\nExamples:") :])
    pages = [page for target in examples if (page := _site_page(f"docs/{target}"))]
    return [*navigation, {"Examples": pages}]


def _reference_groups() -> list[tuple[str, str, list[str]]]:
    """Return (title, module, names) of each section of docs/reference.md with names to import."""
    text = (DOCS / REFERENCE).read_text("utf-8")
    groups = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        source = re.search(r"^From `([\w.]+)`", section, re.MULTILINE)
        if source is None:  # the arguments of generate()
            continue
        module = _HOME.get(source[1], source[1])
        groups.append((title, module, re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)))
    return groups


def _reference_page(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '-')}.md"


def _outside_fences(markdown: str, change: Any) -> str:
    """Change a page's text, and leave its blocks of code."""
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def _with_links_of_site(text: str, path: str, uri: str) -> str:
    """Rewrite the links of a page that is at `path` in the repository and at `uri` in the site.

    A link to a file that the site does not have becomes its text. One that leads nowhere stays, so
    that --strict complains of it.
    """

    def rewritten(match: re.Match[str]) -> str:
        mark, label, link = match.groups()
        label = _LINK.sub(rewritten, label)  # a picture that is a link
        target, hash_sign, anchor = link.partition("#")
        if "://" in link or not target:
            return f"{mark}[{label}]({link})"
        target = os.path.normpath(PurePosixPath(path).parent / target)
        page = _site_page(target)
        if page is not None:
            relative = os.path.relpath(page, PurePosixPath(uri).parent)
            if label.endswith(".md"):  # as the repository's pages name each other
                label = _title(ROOT / target)
            return f"{mark}[{label}]({relative}{hash_sign}{anchor})"
        return label if (ROOT / target).exists() else match[0]

    return _LINK.sub(rewritten, text)


def _title(page: Path) -> str:
    """Return a page's first heading."""
    match = re.search(r"^# (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return match[1] if match else page.name


def _site_page(path: str) -> str | None:
    """Return where a file of the repository is in the site; None if it is not there."""
    path = os.path.normpath(path)
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if path == "docs":
        return INDEX
    inside = path.startswith("docs/") and not path.startswith("docs/site/")
    return path.removeprefix("docs/") if inside and (ROOT / path).is_file() else None
