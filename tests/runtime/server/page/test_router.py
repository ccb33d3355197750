"""The page's files as they are sent, and GET /page/status; tests/peers has it in a browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_server import model_server, served_model

from gptneo_onnx.runtime.server import page

FOLDER = Path(page.__file__).parent
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg"))


@pytest.fixture(scope="module")
def client(embedded_export: Path) -> Iterator[httpx.Client]:
    model = served_model(embedded_export, slots=3)
    with model_server(model) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
def test_a_file_is_sent_once(client: httpx.Client, path: str) -> None:
    """A browser with the newest copy gets 304 without content; HEAD gets the headers alone."""
    sent = client.get(path)
    assert sent.status_code == 200
    assert (
        sent.content
        == (FOLDER / (path.removeprefix("/page").strip("/") or "index.html")).read_bytes()
    )
    tag = sent.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = client.get(path, headers={"If-None-Match": known})
        assert unchanged.status_code == 304
        assert unchanged.headers["ETag"] == tag
        assert unchanged.content == b""
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == sent.content
    head = client.head(path)
    assert head.headers["Content-Length"] == str(len(sent.content))
    assert head.content == b""


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("style.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_has_its_type(client: httpx.Client, name: str, media_type: str) -> None:
    headers = client.get(f"/page/{name}").headers
    assert headers["Content-Type"].split(";")[0] == media_type
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    ["router.py", "__init__.py", "nothing.js", "..%2Fapp.py", "%2e%2e/app.py", "index.html%00"],
)
def test_other_files_are_not_sent(client: httpx.Client, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


def test_the_page_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert {*directives.values()} <= {"'none'", "'self'", "'script'"}


def test_the_files_name_no_other_host_and_nothing_inline() -> None:
    for path in FOLDER.glob("*.*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text()
            assert not re.search(r"https?:|[\"'(=]//", text), path
            assert not re.search(r"\son\w+=|\sstyle=|<style|innerHTML|eval\(", text), path


def test_every_file_that_the_page_names_is_there(client: httpx.Client) -> None:
    named = re.findall(r'(?:href|src)="([^"]+)"', client.get("/").text)
    named += [
        f"page/{name}"
        for script in FOLDER.glob("*.js")
        for name in re.findall(r'from "\./([^"]+)"', script.read_text())
    ]
    assert len(named) > 8
    for path in named:
        assert client.get(f"/{path}").status_code == 200, path


def test_the_status_says_how_busy_each_model_is(client: httpx.Client) -> None:
    [status] = client.get("/page/status").json()["models"]
    assert status == {
        "name": "tiny",
        "max_length": 512,
        "slots": 3,
        "slots_in_use": 0,
        "waiting": 0,
    }


def test_the_status_counts_what_runs_and_what_waits(embedded_export: Path) -> None:
    """Two requests of two slots each are there beside the one that has them: the prompt of the
    first is read meanwhile, and the other waits."""
    model = served_model(embedded_export, slots=3)
    options = {"max_new_tokens": 450, "eos_token_id": None, "num_return_sequences": 2}
    with model_server(model) as url, httpx.Client(base_url=url) as client:
        submit = model.engine.scheduler.submit
        streams = [submit(input_ids=[[n]], do_sample=True, **options) for n in (5, 6, 7)]
        seen = set()
        while (2, 1) not in seen and streams[0].statistics.finished is None:
            [status] = client.get("/page/status").json()["models"]
            seen.add((status["slots_in_use"], status["waiting"]))
        for stream in streams:
            stream.cancel()
    assert (2, 1) in seen
