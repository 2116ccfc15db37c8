"Versions of a sound lie on a page as players, and are switched between while they play where a browser runs scripts."

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import torch

from specdehaze.players import SWITCH_SCRIPT, show_comparison
from specdehaze.plots import plot_spectrograms
from specdehaze.reports import make_page

RATE = 16_000
CHROMIUM = shutil.which("chromium")


def tones(*frequencies: float, seconds: float = 2.0, amplitude: float = 0.3) -> dict[str, torch.Tensor]:
    time = torch.arange(round(seconds * RATE)) / RATE
    return {f"{hertz:g} <Hz>": amplitude * torch.sin(6.2832 * hertz * time)[None] for hertz in frequencies}


def row_of(clips: dict[str, torch.Tensor], scores: dict | None = None) -> str:
    figure = plot_spectrograms(clips, sample_rate=RATE, columns=2)
    return show_comparison(clips, RATE, figure=figure, alt='"tones"', scores=scores or {}).data


def page_of(rows: list[str], path: Path) -> Path:
    outputs = [nbformat.v4.new_output("display_data", {"text/html": row}) for row in rows]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    return make_page(nbformat.v4.new_notebook(cells=[cell]), path)


def test_a_row_has_a_player_and_the_scores_of_each_version():
    clips = tones(200, 300, 400)
    row = row_of(clips, {"200 <Hz>": {"SI-SDR": "5"}, "400 <Hz>": {"PESQ": "2", "SI-SDR": "−7"}})
    lines = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)<td class=\"player\"><audio", row)
    assert lines == [
        ("200 &lt;Hz&gt;", "<td>5</td><td></td>"),
        ("300 &lt;Hz&gt;", "<td></td><td></td>"),
        ("400 &lt;Hz&gt;", "<td>−7</td><td>2</td>"),
    ]
    assert row.count('class="panel"') == 3 and 'alt="&quot;tones&quot;"' in row and 'data-seconds="2.0000"' in row


@pytest.mark.parametrize("clips", [{}, tones(200) | tones(300, seconds=1.0)])
def test_versions_that_cannot_be_switched_between(clips):
    figure = plot_spectrograms(tones(200), sample_rate=RATE)
    with pytest.raises(ValueError, match="have one length"):
        show_comparison(clips, RATE, figure=figure, alt="", scores={})


def test_versions_keep_their_ratio_when_one_is_too_loud(monkeypatch):
    peaks = []
    monkeypatch.setattr("specdehaze.players.audio_player", lambda clip, *_: peaks.append(float(clip.max())) or "")
    row_of(tones(200, amplitude=0.4) | tones(300, amplitude=1.6))
    row_of(tones(200, amplitude=0.4))
    assert peaks == pytest.approx([0.25, 1.0, 0.4], abs=1e-3)


def test_only_pages_with_versions_have_a_script(tmp_path):
    plain = page_of(["<p>nothing to hear</p>"], tmp_path / "plain.html").read_text(encoding="utf-8")
    rich = page_of([row_of(tones(200))] * 2, tmp_path / "rich.html").read_text(encoding="utf-8")
    assert "<script" not in plain and rich.count("<script>") == 1 and SWITCH_SCRIPT in rich


SPY = """
window.starts = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  starts.push([when, offset, this.buffer.duration]);
  return start.apply(this, arguments);
};
"""


@pytest.fixture
def browser():
    "A browser without a network, or no test."
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(offline=True)
        context.add_init_script(SPY)
        yield context
        chromium.close()


def opened(browser, path: Path):
    page = browser.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text))
    page.goto(path.as_uri())
    return page


def place(row) -> float:
    return float(row.locator("output").inner_text().split()[0])


def heard(row) -> list[str]:
    return row.locator("tr.heard button").evaluate_all("all => all.map(button => button.lastChild.textContent)")


def test_switching_goes_on_at_the_same_place(browser, tmp_path):
    page = opened(browser, page_of([row_of(tones(200, 300, 400))], tmp_path / "page.html"))
    row = page.locator(".comparison")
    assert heard(row) == ["200 <Hz>"] and not row.locator("audio").first.is_visible()
    row.locator(".transport button").click()
    page.wait_for_function("starts.length === 3")
    assert len({(when, offset) for when, offset, _ in page.evaluate("starts")}) == 1
    assert [seconds for *_, seconds in page.evaluate("starts")] == pytest.approx([2, 2, 2], abs=0.1)
    for key, name in ("3", "400 <Hz>"), ("2", "300 <Hz>"), ("9", "300 <Hz>"), ("1", "200 <Hz>"):
        page.keyboard.press(key)
        assert heard(row) == [name] and row.locator(".panel.heard").count() == 1
    assert page.evaluate("starts.length") == 3, "a switch starts nothing anew"
    page.wait_for_function("parseFloat(document.querySelector('output').textContent) > 0.3")
    page.keyboard.press(" ")
    before = place(row)
    page.wait_for_timeout(200)
    assert place(row) == before and row.locator(".transport button").inner_text() == "Play"
    page.keyboard.press("2")
    page.wait_for_function("starts.length === 6")
    assert page.evaluate("starts[5][1]") == pytest.approx(before, abs=0.1) and page.problems == []


def test_one_row_plays_at_a_time_and_panels_are_places(browser, tmp_path):
    rows = [row_of(tones(200, 300)), row_of(tones(400, 500))]
    page = opened(browser, page_of(rows, tmp_path / "page.html"))
    first, second = page.locator(".comparison").all()
    first.get_by_role("button", name="300").click()
    page.wait_for_function("starts.length === 2")
    panel = second.locator(".panel").nth(1)
    box = panel.bounding_box()
    panel.click(position={"x": box["width"] * 0.75, "y": 10})
    page.wait_for_function("starts.length === 4")
    assert page.evaluate("starts[3][1]") == pytest.approx(1.5, abs=0.05)
    assert heard(second) == ["500 <Hz>"] and heard(first) == ["300 <Hz>"]
    assert [row.locator(".transport button").inner_text() for row in (first, second)] == ["Play", "Stop"]
    second.locator("[type=range]").fill("0.25")
    page.wait_for_function("starts.length === 6")
    assert page.evaluate("starts[5][1]") == pytest.approx(0.5, abs=0.05) and page.problems == []


def test_sounds_that_cannot_be_decoded_leave_the_plain_players(browser, tmp_path):
    broken = re.sub(r"(audio/mpeg;base64,)[^\"]+", r"\1AAAA", row_of(tones(200, 300)))
    page = opened(browser, page_of([broken], tmp_path / "page.html"))
    page.locator(".transport button").click()
    page.locator("audio").first.wait_for(state="visible")
    assert not page.locator(".transport").is_visible()


def test_without_scripts_there_are_plain_players(browser, tmp_path):
    path = page_of([row_of(tones(200, 300))], tmp_path / "page.html")
    page = browser.browser.new_context(java_script_enabled=False).new_page()
    page.goto(path.as_uri())
    assert all(player.is_visible() for player in page.locator("audio").all()) and page.locator("button").count() == 0
