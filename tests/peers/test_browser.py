"""examples/browser in headless Chromium: transformers.js over onnxruntime-web, token for token."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

PAGE = Path(__file__).parents[2] / "examples/browser"
PROMPT = "It is a truth universally acknowledged, that a single man in possession of a fortune"
NEW_TOKENS = 120


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with a model and its packages, served from static files; its address."""
    packages = Path(os.environ.get("GPTNEO_ONNX_NODE", "nowhere")).absolute() / "node_modules"
    if not packages.is_dir():
        pytest.skip("needs transformers.js: make test-peers installs it where there is npm")
    folder = tmp_path_factory.mktemp("site")
    for name in ("index.html", "page.js"):
        shutil.copyfile(PAGE / name, folder / name)
    (folder / "node_modules").symlink_to(packages)
    export_model(
        EMBEDDED_CHECKPOINT,
        folder / "model",
        layout="transformers.js",
        precision=["fp32", "int8"],
    )
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def wait_until(browser, condition, seconds=120):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, poll_frequency=0.05).until(condition)


def element(browser, name):
    return browser.find_element("id", name)


def state(browser):
    return element(browser, "state").text


def write(browser, prompt, temperature):
    """Have the page write; return all texts that it shows meanwhile, and the last."""
    for name, value in (
        ("prompt", prompt), ("tokens", NEW_TOKENS), ("temperature", temperature),
    ):  # fmt: skip
        element(browser, name).clear()
        element(browser, name).send_keys(str(value))
    element(browser, "go").click()
    shown = set()

    def is_done(_):
        shown.add(element(browser, "text").get_property("textContent"))
        return state(browser).endswith("done") or state(browser).startswith("failed")

    wait_until(browser, is_done)
    assert not state(browser).startswith("failed"), state(browser)
    return shown, element(browser, "text").get_property("textContent")


def test_the_page_writes_what_our_runtime_writes(site, browser, embedded_export):
    browser.get(site)
    wait_until(browser, lambda _: state(browser) not in ("", "loading the model…"))
    assert state(browser) == "ready"
    shown, text = write(browser, PROMPT, 0)
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    ids = model.generate([tokenizer.encode(PROMPT)], max_new_tokens=NEW_TOKENS, do_sample=False)
    assert text == tokenizer.decode(ids[0].tolist(), skip_special_tokens=True)
    assert all(text.startswith(partial) for partial in shown if partial.startswith(PROMPT))
    assert len(shown) > 2  # the page showed the text while it grew
    assert f"{NEW_TOKENS} tokens" in state(browser)


def test_it_samples_and_stops_when_asked(site, browser):
    browser.get(f"{site}?dtype=q8")
    wait_until(browser, lambda _: state(browser) == "ready")
    _, first = write(browser, "She was", 0.9)
    _, second = write(browser, "She was", 0.9)
    assert first != second
    element(browser, "tokens").clear()
    element(browser, "tokens").send_keys("1900")
    element(browser, "go").click()
    wait_until(browser, lambda _: "tokens" in state(browser) and "done" not in state(browser))
    element(browser, "stop").click()
    wait_until(browser, lambda _: state(browser).endswith("done"))
    assert int(state(browser).split()[0]) < 1900


def test_the_page_reports_a_missing_model(site, browser):
    browser.get(f"{site}?model=nothing")
    wait_until(browser, lambda _: "cannot be loaded" in state(browser))
