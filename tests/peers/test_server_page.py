"""The page at / of a server that runs, in headless Chromium."""

import json
import re
import shutil
import signal
import urllib.request

import numpy as np
import pytest
from page_checks import background, low_contrasts, overflow, set_scheme_and_width
from safetensors.numpy import load_file, save_file
from server_process import serving

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer

PROMPT = "It is a truth universally acknowledged, that a single man"
PHONE = 375
SURPRISES = 5
LINE_HEIGHT = 36
SLOW_LAYERS = 48


@pytest.fixture(scope="module")
def site(embedded_export):
    with serving(embedded_export, "--served-model-name", "tiny") as server:
        yield server.url


@pytest.fixture(scope="module")
def alone(embedded_export):
    """Continues a text with generate(), and nobody else's requests beside it."""
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    model = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu", batch_invariant=True)

    def generate(prompt, **options):
        ids = model.generate([tokenizer.encode(prompt)], **options)
        return tokenizer.decode(ids[0].tolist(), skip_special_tokens=True)

    return generate


@pytest.fixture(scope="module")
def slow_site(tmp_path_factory):
    """A server whose model takes its time, so that one can do something meanwhile.

    It is the embedded model with layers that add nothing.
    """
    folder = tmp_path_factory.mktemp("slow")
    checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, folder / "checkpoint")
    tensors = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    for layer in range(config["num_layers"], SLOW_LAYERS):
        for name in [each for each in tensors if each.startswith("transformer.h.0.")]:
            adds = "out_proj" in name or "c_proj" in name
            copied = np.zeros_like(tensors[name]) if adds else tensors[name].copy()
            tensors[name.replace(".0.", f".{layer}.", 1)] = copied
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    del config["attention_layers"]
    config |= {
        "num_layers": SLOW_LAYERS,
        "attention_types": [[["global", "local"], SLOW_LAYERS // 2]],
    }
    (checkpoint / "config.json").write_text(json.dumps(config))
    with serving(export_model(checkpoint, folder / "export")) as server:
        yield server.url


@pytest.fixture
def page(browser, site):
    """The page in a wide window; what it loads or runs against its policy fails the test."""
    yield opened(browser, site)
    assert browser.execute_script("return window.violations") == []


@pytest.fixture
def slow_page(browser, slow_site):
    return opened(browser, slow_site)


def opened(browser, address):
    set_scheme_and_width(browser, 1200, "light")
    browser.get("about:blank")
    browser.get(address)
    wait_until(browser, lambda _: "slots" in text_of(browser, "load"))
    browser.execute_script(
        "window.violations = [];"
        "document.addEventListener('securitypolicyviolation',"
        " (event) => window.violations.push(event.violatedDirective));"
    )
    return browser


def wait_until(browser, condition, seconds=60):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, poll_frequency=0.02).until(condition)


def element(browser, name):
    return browser.find_element("id", name)


def text_of(browser, name):
    return element(browser, name).get_property("textContent")


def written(browser):
    return element(browser, "text").get_property("value")


def message(browser):
    shown = element(browser, "message")
    return shown.get_property("textContent") if shown.is_displayed() else ""


def set_value(browser, name, value):
    """Set a field as a user does who has typed or dragged: with its events."""
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind));",
        name,
        str(value),
    )


def keys(browser, *pressed, holding=()):
    """Press keys one after another, while others are held down."""
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(browser)
    for held in holding:
        actions.key_down(held)
    actions.send_keys(*pressed)
    for held in holding:
        actions.key_up(held)
    actions.perform()


def is_idle(browser):
    return element(browser, "go").is_displayed()


def finish(browser):
    """Wait until nothing is being generated; return the text."""
    wait_until(browser, lambda _: is_idle(browser))
    return written(browser)


def proceed(browser, prompt=None, **settings):
    """Have the page continue; return the text that it then has."""
    for name, value in settings.items():
        set_value(browser, name, value)
    if prompt is not None:
        set_value(browser, "text", prompt)
    element(browser, "go").click()
    return finish(browser)


def pieces(browser):
    """The coloured pieces of the text."""
    return browser.find_elements("css selector", "#mirror span")


def words(browser):
    """The pieces that one can point at: words on one line."""
    return [
        piece
        for piece in pieces(browser)
        if piece.text.strip() and piece.size["height"] < LINE_HEIGHT
    ]


def point_at(browser, piece):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).move_to_element(piece).perform()
    wait_until(browser, lambda _: element(browser, "alternatives").is_displayed())


def alternatives(browser):
    """What the box of alternatives lists: each text, its percentage, and whether it was chosen."""
    return [
        (
            button.find_element("tag name", "bdi").text,
            button.find_element("css selector", ".share").text,
            button.get_attribute("aria-current") == "true",
        )
        for button in browser.find_elements("css selector", "#alternatives button")
    ]


def test_the_text_grows_in_place(page):
    set_value(page, "length", 200)
    set_value(page, "seed", 1)
    element(page, "text").send_keys(PROMPT)
    element(page, "go").click()
    shown = set()

    def is_done(_):
        shown.add(written(page))
        return is_idle(page)

    wait_until(page, is_done)
    text = written(page)
    assert text.startswith(PROMPT)
    assert len(shown) > 2  # what it began with, what it ended with, and something between
    assert all(text.startswith(partial) for partial in shown)
    assert re.match(r"200 tokens · [\d.]+ a second · first after \d+ ms", text_of(page, "progress"))


def test_a_seed_gives_what_generate_gives_with_it(page, alone):
    settings = {"temperature": 0.9, "top_p": 0.85, "top_k": 40, "repetition_penalty": 1.2}
    first = proceed(page, PROMPT, seed=11, length=60, **settings)
    second = proceed(page, PROMPT)
    expected = alone(
        PROMPT,
        max_new_tokens=60,
        do_sample=True,
        seed=11,
        **settings,
    )
    assert first == second == expected
    assert proceed(page, PROMPT, seed=12) != first


def test_without_temperature_it_is_greedy(page, alone):
    text = proceed(page, PROMPT, temperature=0, top_p=1, length=40, seed="")
    assert text == alone(PROMPT, max_new_tokens=40, do_sample=False)


def test_another_seed_is_drawn_each_time_and_can_be_kept(page):
    first = proceed(page, PROMPT, temperature=1, top_p=1, length=40, seed="")
    element(page, "keep-seed").click()
    assert element(page, "seed").get_property("value") == text_of(page, "used-seed")
    assert proceed(page, PROMPT) == first
    assert proceed(page, PROMPT, seed="") != first


def test_it_stops_and_keeps_what_came(slow_page):
    set_value(slow_page, "length", 450)
    set_value(slow_page, "text", PROMPT)
    element(slow_page, "go").click()
    wait_until(slow_page, lambda _: len(pieces(slow_page)) > 3)
    assert not element(slow_page, "go").is_displayed()
    element(slow_page, "stop").click()
    text = finish(slow_page)
    assert 3 < len(pieces(slow_page)) < 450
    assert text.startswith(PROMPT)
    assert "stopped" in text_of(slow_page, "progress")
    assert len(proceed(slow_page, length=5)) > len(text)


def test_continuations_are_undone_redone_and_tried_again(page):
    once = proceed(page, PROMPT, length=10, temperature=1, seed="")
    twice = proceed(page)
    assert twice.startswith(once)
    element(page, "undo").click()
    assert written(page) == once
    element(page, "redo").click()
    assert written(page) == twice
    element(page, "again").click()
    other = finish(page)
    assert other.startswith(once)
    assert other != twice
    element(page, "undo").click()
    element(page, "undo").click()
    assert written(page) == once
    element(page, "undo").click()
    assert written(page) == PROMPT
    assert pieces(page) == []


def test_what_is_edited_is_no_longer_the_models(page):
    from selenium.webdriver.common.keys import Keys

    text = proceed(page, "She was", length=12, seed=3)
    count = len(pieces(page))
    field = element(page, "text")
    field.send_keys(Keys.CONTROL, Keys.HOME)
    field.send_keys("Then ")
    assert written(page) == f"Then {text}"
    assert len(pieces(page)) == count
    field.send_keys(Keys.CONTROL, Keys.END)
    field.send_keys(Keys.BACKSPACE, "x")
    assert len(pieces(page)) == count - 1
    assert "".join(each.get_property("textContent") for each in pieces(page)) in written(page)


def test_pointing_at_a_token_shows_what_else_could_have_come(page):
    proceed(page, PROMPT, length=20, seed=5)
    piece = words(page)[7]
    token = piece.get_property("textContent")
    point_at(page, piece)
    listed = alternatives(page)
    assert 5 <= len(listed) <= 6
    [chosen] = [text for text, _, is_chosen in listed if is_chosen]
    assert chosen.replace("␣", " ").replace("⏎", "\n") == token
    shares = [float(share.split()[-2]) for _, share, _ in listed]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 100.5
    assert "marked" in piece.get_attribute("class")


def test_colours_say_how_likely_tokens_were(page):
    proceed(page, PROMPT, length=80, temperature=1.3, top_p=1, seed=5)
    bounds = [50, 20, 5, 1, 0]
    seen = set()
    for piece in words(page)[::6]:
        point_at(page, piece)
        [share] = [share for _, share, is_chosen in alternatives(page) if is_chosen]
        percent = float(share.split()[-2])
        level = int(re.search(r"surprise-(\d)", piece.get_attribute("class"))[1])
        assert bounds[level] - 0.5 <= percent
        assert level == 0 or percent <= bounds[level - 1] + 0.5
        seen.add(level)
        keys(page, "\ue00c")
    assert len(seen) >= 3
    element(page, "colours").click()
    colors = {piece.value_of_css_property("background-color") for piece in pieces(page)}
    assert colors == {"rgba(0, 0, 0, 0)"}


def test_an_alternative_is_chosen_and_continued(page):
    text = proceed(page, PROMPT, length=20, temperature=1, seed=5)
    tokens = [piece.get_property("textContent") for piece in pieces(page)]
    point_at(page, pieces(page)[4])
    buttons = page.find_elements("css selector", "#alternatives button:enabled")
    other = buttons[0].find_element("tag name", "bdi").text.replace("␣", " ")
    buttons[0].click()
    changed = finish(page)
    assert changed.startswith(PROMPT + "".join(tokens[:4]) + other)
    assert changed != text
    element(page, "undo").click()
    assert written(page) == text


def test_everything_can_be_done_by_keyboard(slow_page):
    from selenium.webdriver.common.keys import Keys

    page = slow_page
    set_value(page, "length", 450)
    assert page.switch_to.active_element.get_attribute("id") == "text"
    keys(page, PROMPT)
    keys(page, Keys.ENTER, holding=[Keys.CONTROL])
    wait_until(page, lambda _: len(pieces(page)) > 3)
    keys(page, Keys.ESCAPE)
    text = finish(page)
    keys(page, Keys.ARROW_LEFT)
    wait_until(page, lambda _: element(page, "alternatives").is_displayed())
    assert "instead: " in text_of(page, "announcement")
    keys(page, Keys.TAB)
    assert page.switch_to.active_element.find_element("xpath", "..").tag_name == "li"
    keys(page, Keys.ESCAPE)
    assert not element(page, "alternatives").is_displayed()
    assert page.switch_to.active_element.get_attribute("id") == "text"
    keys(page, "z", holding=[Keys.CONTROL])
    assert written(page) == PROMPT
    keys(page, "z", holding=[Keys.CONTROL, Keys.SHIFT])
    assert written(page) == text


def test_the_focus_goes_through_the_page_in_reading_order(page):
    from selenium.webdriver.common.keys import Keys

    proceed(page, PROMPT, length=3)
    element(page, "undo").click()
    element(page, "text").click()
    order = []
    for _ in range(12):
        order.append(page.switch_to.active_element.get_attribute("id"))
        keys(page, Keys.TAB)
    expected = ["text", "go", "undo", "redo", "keep-seed", "", "length", "temperature", "top_p"]
    assert order[: len(expected)] == expected
    assert [name for name in order if name] == [
        *(name for name in expected if name), "top_k", "repetition_penalty", "seed",
    ]  # fmt: skip


def test_every_field_has_a_label(page):
    unlabelled = page.execute_script(
        "return [...document.querySelectorAll('input, select, textarea')]"
        ".filter((field) => field.labels.length === 0).map((field) => field.id)"
    )
    assert unlabelled == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("text", "", "type some words to begin with"),
        ("length", "0", "the length must be a whole number of at least 1"),
        ("length", "", "the length must be a whole number of at least 1"),
        ("top_k", "-1", "top k must be a whole number of at least 0"),
        ("repetition_penalty", "0", "the repetition penalty must be a number above 0"),
        ("seed", "4294967296", "the seed must be a whole number from 0 to 4294967295"),
        ("seed", "1.5", "the seed must be a whole number from 0 to 4294967295"),
    ],
)
def test_bad_input_is_refused_in_one_line(page, field, value, said):
    set_value(page, "text", PROMPT)
    set_value(page, field, value)
    element(page, "go").click()
    assert message(page) == said
    assert page.switch_to.active_element.get_attribute("id") == field
    assert element(page, field).get_attribute("aria-invalid") == "true"


def test_what_the_server_refuses_is_said_in_its_words(page):
    proceed(page, PROMPT, length=3000)
    assert message(page).startswith("max_tokens is 3000 and the prompt has ")
    assert written(page) == PROMPT
    assert len(proceed(page, length=3)) > len(PROMPT)
    assert message(page) == ""


HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


def test_markup_in_a_prompt_is_text(page):
    text = proceed(page, HOSTILE, length=30, temperature=2, top_p=1, seed=1)
    assert text.startswith(HOSTILE)
    assert page.title == "gptneo-onnx"
    assert page.find_elements("css selector", "main script, main img") == []


def test_markup_and_marks_in_tokens_are_text(page):
    """A server may say anything: here one whose tokens are markup, and marks that reorder text."""
    tokens = ["<img src=x onerror=alert(1)>", "\u202e", "\x07", "&lt;b>"]
    answer_with(page, tokens)
    text = proceed(page, "She", length=4)
    assert text == "She" + "".join(tokens)
    assert page.find_elements("css selector", "main img, main b") == []
    shown = []
    for piece in [pieces(page)[0], pieces(page)[3]]:
        point_at(page, piece)
        shown += [text for text, _, is_chosen in alternatives(page) if is_chosen]
        keys(page, "\ue00c")
    assert shown == [tokens[0], tokens[3]]
    note = element(page, "invisible")
    assert note.is_displayed()
    assert note.text == "The text has characters that nobody sees: U+202E, U+0007."


def answer_with(browser, tokens):
    """Have the page's next completion consist of these tokens."""
    parts = [
        {
            "choices": [
                {
                    "text": token,
                    "finish_reason": None,
                    "logprobs": {
                        "tokens": [token],
                        "token_logprobs": [-1.0],
                        "top_logprobs": [{token: -1.0, " other": -2.0}],
                    },
                }
            ]
        }
        for token in tokens
    ]
    browser.execute_script(
        "const events = arguments[0].map((part) => `data: ${JSON.stringify(part)}\\n\\n`);"
        "const fetched = window.fetch;"
        "window.fetch = (address, options) => {"
        "  if (options.method !== 'POST') return fetched(address, options);"
        "  window.fetch = fetched;"
        "  return Promise.resolve(new Response([...events, 'data: [DONE]\\n\\n'].join('')));"
        "};",
        parts,
    )


def test_a_character_of_several_tokens_is_one_piece(page):
    part = {
        "choices": [
            {
                "text": "é",
                "logprobs": {
                    "tokens": ["bytes:\\xc3", "bytes:\\xa9"],
                    "token_logprobs": [-1.0, -0.1],
                    "top_logprobs": [{"bytes:\\xc3": -1.0}, {"bytes:\\xa9": -0.1}],
                },
            }
        ]
    }
    page.execute_script(
        "const answer = `data: ${JSON.stringify(arguments[0])}\\n\\ndata: [DONE]\\n\\n`;"
        "const fetched = window.fetch;"
        "window.fetch = (address, options) => options.method === 'POST'"
        "  ? Promise.resolve(new Response(answer)) : fetched(address, options);",
        part,
    )
    assert proceed(page, "caf") == "café"
    [piece] = pieces(page)
    point_at(page, piece)
    assert [text for text, _, _ in alternatives(page)] == ["bytes:\\xc3", "bytes:\\xa9"]


@pytest.mark.parametrize("width", [PHONE, 768, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(page, width, scheme):
    text = PROMPT + " Unbreakable" + "unbreakable" * 20 + "\n\n" + "She was. " * 30
    proceed(page, text, length=60, temperature=1.5, top_p=1, seed=2)
    set_scheme_and_width(page, width, scheme)
    page.execute_script("document.getElementById('settings').open = true")
    assert overflow(page) == 0
    assert low_contrasts_of_shown_text(page) == {}
    point_at(page, words(page)[0])
    box = element(page, "alternatives").rect
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert overflow(page) == 0
    assert low_contrasts_of_shown_text(page) == {}


def low_contrasts_of_shown_text(browser):
    """Low contrasts but those of the mirror, whose text is there for its layout alone."""
    browser.execute_script("document.getElementById('mirror').style.display = 'none'")
    found = low_contrasts(browser)
    browser.execute_script("document.getElementById('mirror').style.display = ''")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_colour(page, scheme):
    set_scheme_and_width(page, 1200, scheme)
    ink = luminance(element(page, "text").value_of_css_property("color"))
    for level in range(SURPRISES):
        swatch = page.find_element("css selector", f".swatch.surprise-{level}")
        colour = luminance(swatch.value_of_css_property("background-color"))
        dark, bright = sorted([ink, colour])
        assert (bright + 0.05) / (dark + 0.05) >= 7


def luminance(color):
    channels = [int(each) / 255 for each in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_is_dark_where_the_reader_prefers_that(page):
    lights = []
    for scheme in ("light", "dark"):
        set_scheme_and_width(page, 1200, scheme)
        color = page.execute_script(
            "return getComputedStyle(document.documentElement).backgroundColor"
        )
        lights.append(luminance(color))
    assert lights[0] > 0.9
    assert lights[1] < 0.02
    assert background(page) == "rgba(0, 0, 0, 0)"  # the page's own is the window's


@pytest.mark.parametrize("width", [PHONE, 700, 1200])
def test_colours_lie_where_their_words_are(page, width):
    """The field and its mirror break lines alike: both are as high, at any width."""
    text = " ".join(f"{'word' * (n % 5 + 1)}{n % 7}" for n in range(300)) + "\n\n  two  spaces\n"
    set_value(page, "text", text)
    set_scheme_and_width(page, width, "light")
    heights = page.execute_script(
        "const field = document.getElementById('text'), mirror = document.getElementById('mirror');"
        "return [field.scrollHeight, field.clientHeight, mirror.clientHeight, field.clientWidth,"
        " mirror.clientWidth]"
    )
    assert heights[0] == heights[1] == heights[2]
    assert heights[3] == heights[4]


def test_nothing_comes_from_elsewhere(page, site):
    proceed(page, PROMPT, length=5)
    loaded = page.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert len(loaded) > 5
    assert all(each.startswith(f"{site}/") for each in loaded)
    assert page.execute_script("return document.cookie") == ""


def test_the_browser_is_told_to_load_nothing_else(page, site):
    """The policy holds: a picture of another host, an inline script and markup are refused."""
    with urllib.request.urlopen(site) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    refused = page.execute_script(
        "const image = new Image(); image.src = 'http://127.0.0.2:9/x.png';"
        "document.body.append(image); image.remove();"
        "try { document.createElement('p').innerHTML = '<b>x</b>'; return false; }"
        "catch (error) { return error instanceof TypeError; }"
    )
    assert refused
    wait_until(page, lambda _: "img-src" in page.execute_script("return window.violations"))
    page.execute_script("window.violations = []")


def test_it_shows_how_busy_the_server_is(slow_page):
    assert text_of(slow_page, "load") == "0 of 8 slots in use"
    set_value(slow_page, "length", 450)
    set_value(slow_page, "text", PROMPT)
    element(slow_page, "go").click()
    wait_until(slow_page, lambda _: text_of(slow_page, "load") == "1 of 8 slots in use")
    element(slow_page, "stop").click()
    finish(slow_page)
    wait_until(slow_page, lambda _: text_of(slow_page, "load") == "0 of 8 slots in use")


def test_several_models_can_be_chosen(browser, embedded_export):
    with serving("-m", f"one={embedded_export}", "-m", f"two={embedded_export}") as server:
        set_scheme_and_width(browser, 1200, "light")
        browser.get(server.url)
        wait_until(browser, lambda _: element(browser, "model").is_displayed())
        options = browser.find_elements("css selector", "#model option")
        assert [option.text for option in options] == ["one", "two"]
        options[1].click()
        assert proceed(browser, PROMPT, length=3) != PROMPT


def test_a_server_that_goes_away_and_comes_back(browser, embedded_export):
    with serving(embedded_export) as server:
        set_scheme_and_width(browser, 1200, "light")
        browser.get(server.url)
        wait_until(browser, lambda _: "slots" in text_of(browser, "load"))
        set_value(browser, "length", 450)
        set_value(browser, "text", PROMPT)
        element(browser, "go").click()
        wait_until(browser, lambda _: len(pieces(browser)) > 3)
        server.process.send_signal(signal.SIGKILL)
        text = finish(browser)
        assert text.startswith(PROMPT)
        assert len(text) > len(PROMPT)
        lost = "the connection to the server was lost; what came is kept"
        gone = "the server does not answer; check that it runs, and try again"
        assert message(browser) in (lost, gone)
        wait_until(browser, lambda _: text_of(browser, "load") == "no answer")
        assert proceed(browser) == text
        assert message(browser) == gone
        port = server.url.rpartition(":")[2]
    with serving(embedded_export, "--port", port, free_port=False):
        wait_until(browser, lambda _: "slots" in text_of(browser, "load"))
        assert message(browser) == ""
        assert len(proceed(browser, length=3)) > len(text)


def test_a_server_with_keys_is_asked_with_one(browser, embedded_export, tmp_path):
    keys_file = tmp_path / "keys"
    keys_file.write_text("right-key-of-some-length\n")
    with serving(embedded_export, "--api-key-file", keys_file) as server:
        set_scheme_and_width(browser, 1200, "light")
        browser.get(server.url)
        wait_until(browser, lambda _: element(browser, "key").is_displayed())
        assert message(browser) == "the server asks for an API key"
        assert browser.switch_to.active_element.get_attribute("id") == "key"
        set_value(browser, "key", "wrong-key-of-some-length")
        proceed(browser, PROMPT, length=3)
        assert message(browser) == "the server does not know this API key"
        set_value(browser, "key", "right-key-of-some-length")
        assert len(proceed(browser)) > len(PROMPT)
        assert message(browser) == ""
