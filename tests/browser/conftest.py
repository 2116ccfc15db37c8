"A real browser, where there is one: Debian's chromium, driven by Playwright."

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, to drive a browser")


@pytest.fixture(scope="session")
def browser():
    "Chromium without a window, with a microphone that beeps."
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *fake]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    "A fresh page."
    with browser.new_context(viewport={"width": 1280, "height": 1600}, accept_downloads=True) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page


@pytest.fixture
def keep_screen():
    "Save a picture of a part of the page under a name, if `SCREENS` names a folder for them."
    folder = os.environ.get("SCREENS")

    def keep(part, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            part.screenshot(path=Path(folder) / f"{name}.png")

    return keep
