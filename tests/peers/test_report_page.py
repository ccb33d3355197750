"""The page of `compare --report` in headless Chromium: wide and narrow, in light and dark."""

import pytest
from page_checks import NARROW, background, low_contrasts, overflow, show

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime.cli.main import main

LONG = "a-directory-with-a-long-name-" * 4
TEXT = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. " + "Unbreakable" * 40 + " & <b>so</b> on.\n"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    exports = [
        export_model(EMBEDDED_CHECKPOINT, folder / f"{LONG}<b>{precision}", precision=precision)
        for precision in ("fp32", "int4")
    ]
    text = folder / "text.txt"
    text.write_text(TEXT * 3)
    page = folder / "page.html"
    command = ["compare", *map(str, exports), "--text", str(text), "--report", str(page)]
    assert main(command) == 0
    return page.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, 1200])
def test_it_fits_and_can_be_read(browser, report, width, scheme):
    show(browser, report, width, scheme)
    assert overflow(browser) == 0
    assert low_contrasts(browser) == {}


def test_it_is_dark_where_the_reader_prefers_that(browser, report):
    colors = []
    for scheme in ("light", "dark"):
        show(browser, report, 1200, scheme)
        colors.append(sum(map(int, background(browser)[4:-1].split(", "))))
    assert colors[0] > 3 * 200
    assert colors[1] < 3 * 60


@pytest.mark.parametrize("width", [NARROW, 1200])
def test_texts_of_charts_have_one_size_and_lie_within_the_window(browser, report, width):
    show(browser, report, width, "light")
    texts = browser.find_elements("css selector", ".chart text")
    assert len(texts) > 20
    for text in texts:
        box = text.rect
        assert text.value_of_css_property("font-size") == "12px"
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert all(
        10 <= text.rect["height"] <= 20
        for text in browser.find_elements("css selector", ".chart .end")
    )


def test_the_difference_has_its_line_at_zero(browser, report):
    show(browser, report, 1200, "light")
    [line] = browser.find_elements("css selector", "line.zero")
    ticks = browser.find_elements("xpath", "//*[name()='line'][@class='zero']/..//*[text()='0']")
    [label] = [tick for tick in ticks if "end" in tick.get_attribute("class")]
    assert line.rect["y"] == pytest.approx(label.rect["y"] + label.rect["height"] / 2, abs=4)
    assert line.rect["width"] > 600


def test_it_loads_nothing(browser, report):
    show(browser, report, 1200, "light")
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser.execute_script(script) == []
