"""What a page must be in a browser at any width, in light and dark: selenium measures it."""

from typing import Any

NARROW = 420
# The least ratio that WCAG 2.1 asks for, of text in its usual size.
LEAST_CONTRAST = 4.5

_CONTRASTS = """
const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const [r, g, b] = parts(color).map((value) => channel(value / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if ((parts(color)[3] ?? 1) > 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const texts = [];
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const text = own.map((node) => node.textContent).join("").trim() || element.value || "";
  const hidden = element.getClientRects().length === 0 || element.closest("title, script");
  if (text === "" || hidden || element.disabled) continue;
  const style = getComputedStyle(element);
  const color = element instanceof SVGElement ? style.fill : style.color;
  const [dark, bright] = [light(color), light(behind(element))].sort((a, b) => a - b);
  texts.push([`${text}`.slice(0, 40), (bright + 0.05) / (dark + 0.05)]);
}
return texts;
"""


def show(browser: Any, address: str, width: int, scheme: str) -> None:
    """Open a page in a window of a width, in pixels, with a colour scheme: light or dark."""
    set_scheme_and_width(browser, width, scheme)
    browser.get(address)


def set_scheme_and_width(browser: Any, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def overflow(browser: Any) -> int:
    """Return by how many pixels the page is wider than the window, as a reader scrolls it."""
    return int(
        browser.execute_script(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth;"
        )
    )


def low_contrasts(browser: Any) -> dict[str, float]:
    """Return the texts that are shown in too little contrast, each with its ratio."""
    texts = browser.execute_script(_CONTRASTS)
    assert texts, "the page shows no text"
    return {text: ratio for text, ratio in texts if ratio < LEAST_CONTRAST}


def background(browser: Any) -> str:
    """Return the page's background colour, as `rgb(r, g, b)`."""
    return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
