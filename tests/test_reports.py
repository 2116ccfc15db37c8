"Reports run in this Python, keep everything in one folder, and make a page that needs no network."

import base64
import json
import math
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from source_tree import NOTEBOOKS, ROOT

from specdehaze import reports
from specdehaze.audio import audio_info, read_audio, write_audio
from specdehaze.recordings import bundled_recordings
from specdehaze.reports import (
    ReportError,
    audio_player,
    change,
    figures_folder,
    list_reports,
    markdown_table,
    report_parameters,
    run_report,
    text_table,
)
from specdehaze.tables import read_table


class Page(HTMLParser):
    "What a page holds, and what a browser would fetch to show it."

    def __init__(self, text: str):
        super().__init__()
        self.embedded, self.fetched, self.links, self.words, self.script, self.inside = [], [], [], "", "", ""
        self.feed(text)
        self.fetched += [found for found in re.findall(r"@import|url\([^)]*\)", text) if "data:" not in found]
        asking = r"fetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\b|new Image|\w+://|\.src ="
        self.fetched += re.findall(asking, self.script)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        for key, value in attributes:
            if key in ("src", "srcset", "data", "poster") or (tag == "link" and key == "href"):
                (self.embedded if value.startswith("data:") else self.fetched).append(value)
            elif key == "href":
                self.links.append(value)

    def handle_data(self, data):
        if self.inside == "script":
            self.script += data
        else:
            self.words += data

    def handle_endtag(self, tag):
        self.inside = ""


CASE = ("noise", "snr_db", "clip")
STUDIES = {
    "phase_study": {"phase_study": ("magnitude", "phase")},
    "veil_study": {"veil_study": ("method", "grid", "rows", "ruler"), "veil_study_cleaned": ("method",)},
}  # report -> its tables, and the columns that name what is compared in each

one_run = pytest.mark.xdist_group("smoke")  # its tests go to one worker, so that the run is made once


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    "The folder that a quick run was started in, and its page."
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page = run_report("clean_recordings")
    assert page == Path("_runs/clean_recordings/clean_recordings.html")
    return folder, folder / page


@pytest.mark.parametrize("name", sorted({*list_reports()} - {"clean_recordings"}))
def test_every_other_report_runs_as_well(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = {"n_clips": 1}.keys() & report_parameters(name).keys()
    page = run_report(name, parameters=dict.fromkeys(few, 1))
    assert Page(page.read_text(encoding="utf-8")).fetched == []
    assert [path.name for path in tmp_path.iterdir()] == ["_runs"]
    made = {path.name for path in page.parent.iterdir()}
    assert {f"{table}.{suffix}" for table in STUDIES.get(name, {}) for suffix in ("csv", "json")} <= made


@pytest.mark.parametrize("study", STUDIES)
def test_studies_compare_everything_on_the_same_clips(study):
    "The tables in figures/ are those of full runs, in which each thing that is compared met each clip as often."
    figures = ROOT / "figures"
    assert (figures / f"{study}.png").stat().st_size <= 300_000
    for table, compared in STUDIES[study].items():
        rows = read_table(figures / f"{table}.csv")
        settings = json.loads((figures / f"{table}.json").read_text(encoding="utf-8"))
        assert settings["profile"] == "full" and {"specdehaze", "torch"} <= settings["versions"].keys()
        assert {row["clip"] for row in rows} == set(settings["clips"])
        kinds, cases = (Counter(tuple(row[key] for key in keys) for row in rows) for keys in (compared, CASE))
        assert len(set(kinds.values())) == len(set(cases.values())) == 1
        assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))


@one_run
def test_everything_lands_in_the_run_folder(smoke):
    folder, page = smoke
    assert [path.name for path in folder.iterdir()] == ["_runs"]
    tables = [f"clean_recordings_{name}.{suffix}" for name in ("real", "pairs") for suffix in ("csv", "json")]
    wanted = {"cleaned", "figures", "clean_recordings.html", "clean_recordings.ipynb", "summary.txt", *tables}
    assert {path.name for path in page.parent.iterdir()} == wanted


@one_run
def test_the_page_fetches_nothing(smoke):
    text = smoke[1].read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == [] and len(text) < 20e6
    kinds = [value.split(";")[0] for value in page.embedded]
    assert kinds.count("data:audio/mpeg") == 10 and kinds.count("data:image/png") == 7


@one_run
def test_links_of_the_page_lead_somewhere(smoke):
    links = [link for link in Page(smoke[1].read_text(encoding="utf-8")).links if not link.startswith("#")]
    assert len(links) == 2 and all((smoke[1].parent / link).is_file() for link in links)


@one_run
def test_the_page_has_no_code_and_no_complaints(smoke):
    words = Page(smoke[1].read_text(encoding="utf-8")).words
    assert "import " not in words and "Warning" not in words and "Traceback" not in words
    notebook = nbformat.read(smoke[1].with_suffix(".ipynb"), as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type in ("stream", "error")] == []
    assert [output for output in outputs if set(output.get("data", {})) == {"text/plain"}] == []


@one_run
def test_cleaned_files_are_like_their_sources(smoke):
    for recording in bundled_recordings():
        cleaned = smoke[1].parent / "cleaned" / recording.kind / recording.path.name
        if recording.name in ("hummy_gl_01", "noisy_cs_03"):
            (before, rate), (after, rate_after) = read_audio(recording.path), read_audio(cleaned)
            assert (before.shape, rate) == (after.shape, rate_after) and not torch.equal(before, after)
            assert audio_info(cleaned).encoding == audio_info(recording.path).encoding
        else:
            assert not cleaned.exists()


@one_run
def test_tables_show_what_cleaning_did(smoke):
    hummy, noisy = read_table(smoke[1].parent / "clean_recordings_real.csv")
    assert (hummy["method"], noisy["method"]) == ("hum", "voice")
    assert hummy["fundamental"] == pytest.approx(49.98, abs=0.02)
    assert hummy["hum_level_after"] < hummy["hum_level_before"] - 20
    assert hummy["hum_excess_after"] < 1 < 15 < hummy["hum_excess_before"] and abs(hummy["elsewhere_change"]) < 0.1
    assert noisy["pause_level_after"] < noisy["pause_level_before"] - 3
    for row in read_table(smoke[1].parent / "clean_recordings_pairs.csv"):
        assert row["si_sdr_before"] == pytest.approx(5, abs=0.3)
        assert row["si_sdr_after"] > row["si_sdr_before"] + (25 if row["disturbance"] == "hum" else 3)
    settings = json.loads((smoke[1].parent / "clean_recordings_real.json").read_text())
    assert settings["profile"] == "smoke" and settings["seed"] == 0


@one_run
def test_the_summary_says_where_to_look(smoke):
    summary = smoke[1].with_name("summary.txt").read_text(encoding="utf-8")
    assert "hummy_gl_01" in summary and "SI-SDR" in summary and str(Path("_runs/clean_recordings/cleaned")) in summary


@one_run
def test_figures_are_small(smoke):
    sizes = {path.name: path.stat().st_size for path in smoke[1].parent.rglob("*.png")}
    assert "clean_recordings.png" in sizes and len(sizes) == 5 and max(sizes.values()) <= 300_000


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    "A folder of a user's: a short humming recording in stereo, and a text that calls itself one."
    monkeypatch.chdir(tmp_path)
    voice, rate = read_audio(ROOT / "data" / "speech" / "fr_01.flac", frames=48_000)
    hum = 0.03 * torch.sin(2 * math.pi * 50.02 * torch.arange(48_000, dtype=torch.float64) / rate)
    (tmp_path / "takes" / "monday").mkdir(parents=True)
    write_audio(tmp_path / "takes" / "monday" / "voice.wav", torch.cat([voice, 0.5 * voice]) + hum.float(), rate)
    (tmp_path / "takes" / "notes.wav").write_text("buy more microphones")
    return tmp_path


def test_a_folder_of_your_own(own_folder):
    page = run_report("clean_recordings", parameters={"folder": "takes"}, output="seen")
    assert page == Path("seen/clean_recordings.html")
    words = Page(page.read_text(encoding="utf-8")).words
    assert all(phrase in words for phrase in ("1 of your own", "notes.wav", "not readable as audio"))
    assert "mixes" not in words
    (row,) = read_table("seen/clean_recordings_real.csv")
    assert row["recording"] == "monday/voice.wav" and row["method"] == "hum"
    before, after = audio_info("takes/monday/voice.wav"), audio_info("seen/cleaned/monday/voice.wav")
    assert (before.frames, before.channels, before.encoding) == (after.frames, after.channels, after.encoding)
    assert "notes.wav" in Path("seen/summary.txt").read_text() and not Path("seen/clean_recordings_pairs.csv").exists()


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("clean_recording", {}, "did you mean 'clean_recordings'"),
        ("", {}, "clean_recordings"),
        ("clean_recordings", {"profile": "ful"}, "did you mean 'full'"),
        ("clean_recordings", {"parameters": {"sed": 1}}, "did you mean 'seed'"),
        ("clean_recordings", {"parameters": {"zzz": 1}}, "known are profile, folder, method"),
    ],
)
def test_calls_that_make_no_sense(name, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(words)):
        run_report(name, **options)
    assert [*tmp_path.iterdir()] == []


def test_reports_are_the_templates():
    assert list_reports() == sorted(path.stem for path in (NOTEBOOKS / "reports").glob("*.ipynb"))
    assert {"profile", "device", "seed", "output", "figures"} <= set(report_parameters("clean_recordings"))


@pytest.fixture
def template(tmp_path, monkeypatch):
    "Write a template called `tiny`, the only one there is; returns what takes its cells."
    (tmp_path / "templates").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reports, "resource_folder", lambda name: tmp_path / "templates")

    def write(*cells: str, parameters: str = "seed = 1"):
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        title = nbformat.v4.new_markdown_cell("# Tiny & <small>")
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}}
        notebook = nbformat.v4.new_notebook(cells=[title, first, *code], metadata=kernel)
        nbformat.write(notebook, tmp_path / "templates" / "tiny.ipynb")

    return write


def test_a_failing_cell_is_named_and_what_was_done_is_kept(template):
    template("print('as far as here')", "# a comment\nwrong = {}['key']", "print('never')")
    stale = Path("_runs/tiny/tiny.html")
    stale.parent.mkdir(parents=True)
    stale.write_text("an old page")
    with pytest.raises(ReportError, match=re.escape("In [4]")) as caught:
        run_report("tiny")
    assert "KeyError: 'key'" in str(caught.value) and str(Path("_runs/tiny/tiny.ipynb")) in str(caught.value)
    kept = Path("_runs/tiny/tiny.ipynb").read_text()
    assert "as far as here\\n" in kept and "KeyError" in kept and not stale.exists()


def test_a_kernel_that_dies_is_an_error_as_well(template):
    template("import os; os._exit(3)")
    with pytest.raises(ReportError, match="stopped"):
        run_report("tiny")


def test_the_kernel_is_this_python_whatever_is_installed(template, tmp_path, monkeypatch):
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "python3", "language": "python"}
    (tmp_path / "jupyter" / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    template("import os, sys, matplotlib\nprint(sys.executable, os.environ['IN_TEST'], matplotlib.get_backend(), seed)")
    words = Page(run_report("tiny", parameters={"seed": 7}).read_text(encoding="utf-8")).words
    executable, in_test, backend, seed = words.split()[-4:]
    assert (executable, in_test, seed) == (sys.executable, "1", "7") and "inline" in backend


def test_parameters_arrive_as_they_are(template):
    given = {"text": "it's \"so\" \\ ä", "numbers": [1, 2.5, None, True], "place": Path("a") / "b", "seed": -1}
    template("print(repr([text, numbers, place, seed]))", parameters="text = ''\nnumbers = []\nplace = ''\nseed = 0")
    run_report("tiny", parameters=given, output="out")
    notebook = nbformat.read("out/tiny.ipynb", as_version=4)
    expected = [given["text"], given["numbers"], str(given["place"]), given["seed"]]
    assert notebook.cells[-1].outputs[0].text.strip() == repr(expected)


def test_a_template_need_not_know_every_common_parameter(template):
    template("print('done')", parameters="nothing = 0")
    text = run_report("tiny", output="out").read_text(encoding="utf-8")
    assert "done" in Page(text).words and "<title>Tiny &amp; &lt;small&gt;</title>" in text


def test_figures_go_to_the_checkout_only_from_its_top(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert figures_folder().samefile(ROOT / "figures")
    monkeypatch.chdir(tmp_path)
    assert figures_folder() is None


@pytest.mark.parametrize("channels, rate", [(1, 8000), (2, 44_100), (3, 48_000), (1, 96_000), (1, 10_000)])
def test_players_play_any_rate_and_channel_count(channels, rate, tmp_path):
    sound = 0.1 * torch.sin(2 * math.pi * 440 * torch.arange(rate) / rate).expand(channels, -1)
    (source,) = Page(audio_player(sound, rate)).embedded
    (tmp_path / "sound.mp3").write_bytes(base64.b64decode(source.split(",")[1]))
    heard, heard_rate = read_audio(tmp_path / "sound.mp3")
    assert heard.shape[0] == min(channels, 2) if channels < 3 else heard.shape[0] == 1
    assert heard.shape[1] / heard_rate == pytest.approx(1, abs=0.05)
    level = heard[0, heard_rate // 4 : 3 * heard_rate // 4].square().mean().sqrt() / sound[0].square().mean().sqrt()
    assert float(level) == pytest.approx(1, abs=0.06)  # at 16 kHz the encoder takes off a twentieth


cells = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8)


@given(st.lists(st.dictionaries(cells, cells, min_size=1, max_size=4), max_size=5))
def test_tables_have_a_cell_for_every_column(rows):
    columns = {name for row in rows for name in row}
    markdown, text = markdown_table(rows).splitlines(), text_table(rows).split("\n")
    assert len(markdown) == len(rows) + 2 and len({len(re.split(r"(?<!\\)\|", line)) for line in markdown}) == 1
    assert len({len(line) for line in text}) == 1 and (rows == []) == (text == [""])
    assert len(text) == len(rows) + 2 or not columns


def test_changes_have_true_minus_signs():
    assert change(-1.25, 3, digits=1) == "\N{MINUS SIGN}1.2 → 3.0"
    assert change(0.5, -0.125, digits=2) == "0.50 → \N{MINUS SIGN}0.12"
