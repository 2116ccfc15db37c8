"Widgets that are touched, in JupyterLab: boxes on a picture, a listening test, a recording of one's own."

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="pip install playwright, to drive a browser")

from specdehaze.audio import read_audio, write_audio
from specdehaze.recordings import bundled_recordings

from .jupyter import broken_pictures, broken_sounds, run_notebook, write_notebook

pytestmark = pytest.mark.xdist_group("browser")

IMPORTS = """
import torch
from specdehaze.listening_test import ListeningTest
from specdehaze.mask_painter import MaskPainter
from specdehaze.own_audio import OwnAudio

a, b = torch.randn(2, 1, 32_000, generator=torch.manual_seed(0)) / 10
"""
CELLS = (
    IMPORTS, "MaskPainter(a, 16_000)", "ListeningTest(a, b, 16_000, names=('one', 'another'), count=3)", "OwnAudio()"
)


@pytest.fixture
def notebook(page, jupyter):
    "A page with all three."
    address, folder = jupyter
    write_notebook(folder / "touch.ipynb", *CELLS)
    run_notebook(page, address.format("touch.ipynb"))
    return page


def changes(part, act) -> str:
    "What is told after something was done; it is another thing than before."
    told, before = part.locator(".specdehaze-facts"), part.locator(".specdehaze-facts").inner_text()
    act()
    part.page.wait_for_function("([told, before]) => told.innerText !== before", arg=[told.element_handle(), before])
    return told.inner_text()


def test_widgets_answer_to_keys_and_files(notebook, tmp_path, keep_screen):
    painter = notebook.locator(".specdehaze-painter")
    changes(painter, lambda: painter.get_by_role("button", name="Add a box").press("Enter"))
    box = painter.locator("[data-box]").first
    placed = box.get_attribute("aria-label")
    box.focus()
    changes(painter, lambda: box.press("Shift+ArrowUp"))
    assert box.get_attribute("aria-label") != placed
    keep_screen(painter, "mask_painter")
    changes(painter, lambda: box.press("Control+z"))
    assert box.get_attribute("aria-label") == placed

    test = notebook.locator(".specdehaze-abx")
    for number in (1, 2, 3):
        test.get_by_text(f"Trial {number} of 3").wait_for()
        test.get_by_role("button", name="Play X").click()
        test.press("1")
    test.get_by_text("Done.").wait_for()
    assert "one" in test.locator(".specdehaze-facts").inner_text()
    keep_screen(test, "listening_test")

    own, path = notebook.locator(".specdehaze-own"), tmp_path / "mine.flac"
    recording = bundled_recordings("noisy")[0]
    write_audio(path, read_audio(recording.path, frames=44_100)[0], 44_100)
    own.locator("input[type=file]").set_input_files(path)
    own.get_by_text("mine.flac").first.wait_for()
    (tmp_path / "notes.wav").write_text("buy more microphones")
    own.locator("input[type=file]").set_input_files(tmp_path / "notes.wav")
    own.locator(".failed").wait_for()
    own.get_by_role("button", name="Record", exact=True).click()
    own.get_by_text(re.compile(r"[1-9]\.\d s")).first.wait_for()
    own.get_by_role("button", name="Stop").click()
    own.get_by_text("take_", exact=False).first.wait_for()
    keep_screen(own, "own_audio")
    assert broken_sounds(notebook) == [] and broken_pictures(notebook) == 0
