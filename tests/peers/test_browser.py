"""examples/browser in headless Chromium: transformers.js over onnxruntime-web, token for token."""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from page_checks import (
    NARROW,
    background,
    low_contrasts,
    overflow,
    set_scheme_and_width,
)

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
    for file in (*PAGE.glob("*.html"), *PAGE.glob("*.css"), *PAGE.glob("*.js")):
        shutil.copyfile(file, folder / file.name)
    (folder / "node_modules").symlink_to(packages)
    export_model(
        EMBEDDED_CHECKPOINT,
        folder / "model",
        layout="transformers.js",
        precision=["fp32", "fp16", "int8", "int4"],
    )
    for name in ("two", "failing"):
        copied = shutil.copytree(folder / "model", folder / name)
        for file in (*copied.glob("onnx/*_fp16*"), *copied.glob("onnx/*_q4*")):
            file.unlink()
    add_token_without_a_row(folder / "failing/tokenizer.json")
    (folder / "empty").mkdir()
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def add_token_without_a_row(tokenizer):
    """Have `<|fails|>` be a token that the model's table has no row for: running it fails."""
    content = json.loads(tokenizer.read_text())
    end = content["added_tokens"][0]
    content["added_tokens"].append(end | {"id": 60000, "content": "<|fails|>"})
    tokenizer.write_text(json.dumps(content))


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


def is_error(browser):
    return "error" in element(browser, "state").get_attribute("class").split()


def shown_text(browser):
    return element(browser, "text").get_property("textContent")


def open_page(browser, address):
    """Open the page, and wait until it has loaded its model or says why it cannot."""
    set_scheme_and_width(browser, 1200, "light")
    browser.get(address)
    wait_until(browser, lambda _: state(browser) == "ready" or is_error(browser))


def fill(browser, **values):
    for name, value in values.items():
        element(browser, name).clear()
        element(browser, name).send_keys(str(value))


def write(browser, prompt, temperature, **values):
    """Have the page write; return all texts that it shows meanwhile, and the last."""
    fill(browser, **{"prompt": prompt, "temperature": temperature, "tokens": NEW_TOKENS} | values)
    element(browser, "go").click()
    shown = set()

    def is_done(_):
        shown.add(shown_text(browser))
        return state(browser).endswith("done") or is_error(browser)

    wait_until(browser, is_done)
    assert not is_error(browser), state(browser)
    return shown, shown_text(browser)


@pytest.fixture(scope="module")
def expected_text(embedded_export):
    """What our runtime writes greedily after the prompt."""
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    ids = model.generate([tokenizer.encode(PROMPT)], max_new_tokens=NEW_TOKENS, do_sample=False)
    return tokenizer.decode(ids[0].tolist(), skip_special_tokens=True)


def test_the_page_writes_what_our_runtime_writes(site, browser, expected_text):
    open_page(browser, site)
    assert state(browser) == "ready"
    assert element(browser, "progress").get_property("value") == 100
    assert not element(browser, "progress").is_displayed()
    shown, text = write(browser, PROMPT, 0)
    assert text == expected_text
    assert all(text.startswith(partial) for partial in shown if partial.startswith(PROMPT))
    assert len(shown) > 2  # the page showed the text while it grew
    assert f"{NEW_TOKENS} tokens" in state(browser)


def test_it_samples_by_a_seed_that_it_names(site, browser):
    open_page(browser, f"{site}?dtype=q8")
    _, first = write(browser, "She was", 0.9, tokens=40)
    seed = re.search(r"seed (\d+), done", state(browser))[1]
    _, second = write(browser, "She was", 0.9, tokens=40)
    assert first != second
    _, again = write(browser, "She was", 0.9, tokens=40, seed=seed)
    assert again == first


def test_it_stops_when_asked_and_goes_on(site, browser):
    open_page(browser, f"{site}?dtype=q8")
    fill(browser, prompt="She was", tokens=500, temperature=0.9)
    element(browser, "go").click()
    wait_until(browser, lambda _: re.match(r"\d+ tokens", state(browser)))
    assert not element(browser, "go").is_enabled()
    element(browser, "stop").click()
    wait_until(browser, lambda _: state(browser).endswith("stopped"))
    assert int(state(browser).split()[0]) < 500
    assert not element(browser, "stop").is_enabled()
    write(browser, "She was", 0.9, tokens=10)


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("prompt", {"prompt": ""}, "the prompt is empty; type some words to begin with"),
        (
            "prompt",
            {"prompt": "She was " * 300},
            "the prompt has 601 tokens; the model holds 512 with those that it writes, so shorten "
            "it to 511 or less",
        ),
        (
            "tokens",
            {"tokens": "511"},
            "the model holds 512 tokens and the prompt has 2; at most 510 new tokens fit",
        ),
        ("tokens", {"tokens": ""}, "new tokens must be a whole number of at least 1"),
        ("tokens", {"tokens": "1.5"}, "new tokens must be a whole number of at least 1"),
        ("temperature", {"temperature": "-1"}, "the temperature must be a number of at least 0"),
        ("temperature", {"temperature": ""}, "the temperature must be a number of at least 0"),
        ("seed", {"seed": "-1"}, "the seed must be a whole number from 0 to 4294967295"),
        ("seed", {"seed": "4294967296"}, "the seed must be a whole number from 0 to 4294967295"),
    ],
)
def test_bad_input_is_refused_before_it_runs(site, browser, field, values, message):
    """The page goes on without being loaded again."""
    if not browser.current_url.startswith(f"{site}?model=two"):
        open_page(browser, f"{site}?model=two")
    fill(browser, **{"prompt": "She was", "tokens": 3, "temperature": 0, "seed": ""} | values)
    element(browser, "go").click()
    assert state(browser) == message
    assert is_error(browser)
    assert element(browser, field).get_attribute("aria-invalid") == "true"
    write(browser, "She was", 0, tokens=3, seed="")
    assert element(browser, field).get_attribute("aria-invalid") is None


def test_it_recovers_from_a_prompt_that_fails_in_the_model(site, browser, expected_text):
    open_page(browser, f"{site}?model=failing")
    fill(browser, prompt="She was <|fails|>", tokens=5)
    element(browser, "go").click()
    wait_until(browser, lambda _: "the model was loaded again" in state(browser))
    assert state(browser).startswith("failed: ")
    _, text = write(browser, PROMPT, 0)
    assert text == expected_text


def choices(browser):
    return [option.text for option in browser.find_elements("css selector", "#dtype option")]


def test_it_offers_the_dtypes_that_are_there(site, browser, expected_text):
    open_page(browser, f"{site}?model=two&dtype=q8")
    assert choices(browser) == ["fp32", "q8"]
    assert element(browser, "dtype").get_property("value") == "q8"
    browser.find_element("css selector", "#dtype option[value=fp32]").click()
    wait_until(browser, lambda _: state(browser) == "ready")
    assert write(browser, PROMPT, 0)[1] == expected_text


def test_a_dtype_that_is_not_there_is_refused_and_another_can_be_chosen(site, browser):
    open_page(browser, f"{site}?model=two&dtype=q4")
    message = "the model cannot be loaded: two has no q4; choose one of fp32, q8"
    assert state(browser) == message
    browser.find_element("css selector", "#dtype option[value=q8]").click()
    wait_until(browser, lambda _: state(browser) == "ready")
    write(browser, "She was", 0, tokens=3)


@pytest.mark.parametrize("dtype", ["fp16", "q8", "q4"])
def test_every_dtype_runs(site, browser, expected_text, dtype):
    """Rounded weights give another text in the end, but with the same beginning."""
    open_page(browser, f"{site}?dtype={dtype}")
    assert choices(browser) == ["fp32", "fp16", "q8", "q4"]
    _, text = write(browser, PROMPT, 0, tokens=20)
    assert text.startswith(expected_text[: len(PROMPT) + 2])


def test_the_text_is_copied_and_what_is_new_has_a_colour(site, browser):
    open_page(browser, site)
    assert not element(browser, "copy").is_enabled()
    _, text = write(browser, "She was", 0, tokens=20)
    assert element(browser, "read").text == "She was"
    assert element(browser, "written").get_property("textContent") == text.removeprefix("She was")
    colors = {element(browser, n).value_of_css_property("color") for n in ("read", "written")}
    assert len(colors) == 2
    browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    element(browser, "copy").click()
    wait_until(browser, lambda _: not state(browser).endswith("done"))
    assert state(browser) == "copied"
    read = "navigator.clipboard.readText().then(arguments[0], arguments[0])"
    assert browser.execute_async_script(read) == text


def test_a_text_that_cannot_be_copied_is_selected(site, browser):
    open_page(browser, site)
    _, text = write(browser, "She was", 0, tokens=5)
    denied = {"permission": {"name": "clipboard-write"}, "setting": "denied"}
    browser.execute_cdp_cmd("Browser.setPermission", denied)
    try:
        element(browser, "copy").click()
        wait_until(browser, is_error)
        assert "the text is selected" in state(browser)
        assert browser.execute_script("return getSelection().toString()") == text.rstrip()
    finally:
        browser.execute_cdp_cmd("Browser.resetPermissions", {})


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_the_page_reports_a_missing_model(site, browser, folder):
    open_page(browser, f"{site}?model={folder}")
    assert state(browser) == (
        f"the model cannot be loaded: there is no graph in {folder}/onnx; make it with: "
        f"gptneo-onnx export CHECKPOINT examples/browser/{folder} --layout transformers.js"
    )
    assert not element(browser, "go").is_enabled()


def test_it_fits_and_can_be_read_narrow_and_wide_in_light_and_dark(site, browser):
    open_page(browser, site)
    write(browser, "She was", 0, tokens=60)
    dark = {}
    for scheme in ("light", "dark"):
        for width in (NARROW, 1200):
            set_scheme_and_width(browser, width, scheme)
            assert overflow(browser) == 0
            assert low_contrasts(browser) == {}
        dark[scheme] = background(browser)
    assert dark["light"] != dark["dark"]
