"""Draws docs/serve.png: the page of `gptneo-onnx serve`, after the embedded model has written.

    .venv-peers/bin/python docs/site/serve_picture.py docs/serve.png

Needs selenium, chromium and chromedriver. Fonts are those that are installed; FONTCONFIG_FILE can
name others.
"""

import base64
import http.client
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))

from server_process import serving

PROMPT = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune,"
)
TEMPERATURE, SEED = 0.6, 20
WIDTH, HEIGHT, SCALE = 1040, 724, 1.25
# Which generated token the alternatives are shown of.
TOKEN = 6


def main() -> None:
    """Draw the page into the file that is named."""
    with serving() as server:
        warm_up(server.url)
        browser = opened_browser()
        try:
            Path(sys.argv[1]).write_bytes(picture(browser, server.url))
        finally:
            browser.quit()


def warm_up(address: str) -> None:
    """Have the server answer once: what the picture says of speed is that of later requests."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    body, headers = json.dumps({"prompt": "She was"}), {"Content-Type": "application/json"}
    connection.request("POST", "/v1/completions", body, headers)
    connection.getresponse().read()
    connection.close()


def opened_browser() -> Any:
    """Start headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tempfile.mkdtemp()}")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": SCALE, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return browser


def picture(browser: Any, address: str) -> bytes:
    """Have the page write, point at a token, and return the page as PNG."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 60)
    browser.get(address)
    wait.until(lambda _: browser.find_element("id", "load").text)
    browser.find_element("id", "text").send_keys(PROMPT)
    browser.find_element("id", "seed").send_keys(str(SEED))
    browser.execute_script(
        "const slider = document.getElementById('temperature');"
        "slider.value = arguments[0]; slider.dispatchEvent(new Event('input'));",
        TEMPERATURE,
    )
    browser.find_element("id", "go").click()
    wait.until(lambda _: browser.find_element("id", "keep-seed").is_displayed())
    token = browser.find_elements("css selector", "#mirror span")[TOKEN]
    ActionChains(browser).move_to_element(token).perform()
    wait.until(lambda _: browser.find_element("id", "alternatives").is_displayed())
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return base64.b64decode(shot["data"])


if __name__ == "__main__":
    main()
