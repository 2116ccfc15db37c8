"A real browser, where there is one: Debian's chromium, driven by Playwright; and JupyterLab for it."

import os
import re
import shutil
from pathlib import Path

import pytest

HERE = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:")


# Playwright keeps an event loop running: tests of other folders could not start theirs, so it ends with this folder.
@pytest.fixture(scope="package")
def browser():
    "Chromium without a window, with a microphone that beeps."
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, to drive a browser")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *fake]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    "A fresh page, which may ask no other computer for anything."
    with browser.new_context(viewport={"width": 1280, "height": 1600}, accept_downloads=True) as context:
        page, strangers = context.new_page(), []
        page.on("request", lambda request: HERE.match(request.url) or strangers.append(request.url))
        page.set_default_timeout(60_000)
        yield page
    assert strangers == []


@pytest.fixture(scope="package")
def jupyter(browser, tmp_path_factory):
    "A server over a folder, and the folder."
    from .jupyter import serving

    folder = tmp_path_factory.mktemp("notebooks")
    with serving(folder, tmp_path_factory.mktemp("jupyter")) as address:
        yield address, folder


@pytest.fixture
def keep_screen():
    "Save a picture of a part of the page under a name, if `SCREENS` names a folder for them."
    folder = os.environ.get("SCREENS")

    def keep(part, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            part.screenshot(path=Path(folder) / f"{name}.png")

    return keep
