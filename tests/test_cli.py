"The command line: what a user types, what comes back, and the exit status."

import json
import math
import os
import re
import signal
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from specdehaze.audio import AudioInfo, audio_info, level_db, read_audio, write_audio
from specdehaze.cli import app, parse_value, spans
from specdehaze.methods import list_methods

pytestmark = pytest.mark.usefixtures("plain_output")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def words(text: str) -> str:
    "Text with its boxes and line breaks taken out."
    return re.sub(r"[\s│╭╮╰╯─━┃]+", " ", text)


def sound(seconds: float, rate: int, channels: int = 1) -> torch.Tensor:
    "Bursts of a tone in white noise."
    time = torch.arange(round(seconds * rate)) / rate
    tone = 0.3 * torch.sin(2 * math.pi * 440 * time) * (time % 1 < 0.5)
    return tone + 0.02 * torch.randn(channels, len(time))


GOOD = {  # name -> sample rate, channels, container, encoding
    "stereo.wav": (44_100, 2, "WAV", "PCM_16"),
    "phone.wav": (8000, 1, "WAV", "PCM_16"),
    "studio/deep.wav": (48_000, 1, "WAV", "PCM_24"),
    "studio/deep.flac": (96_000, 2, "FLAC", "PCM_24"),
    "lossy/song.mp3": (44_100, 2, "MP3", "MPEG_LAYER_III"),
    "lossy/memo.m4a": (16_000, 1, "M4A", "AAC"),
}
BAD = {"broken/empty.wav": b"", "broken/notes.wav": b"buy more microphones"}


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    "A folder of recordings of many kinds, two of them broken, as the present folder's `in`."
    for name, (rate, channels, container, encoding) in GOOD.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        waveform = sound(1.3, rate, channels)
        write_audio(path, waveform, rate, like=AudioInfo(None, rate, channels, waveform.shape[-1], container, encoding))
    for name, content in BAD.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_everything(recordings):
    result = run("dehaze", "in", "--out", "results/today", "--method", "mmse_lsa")
    assert result.exit_code == 1, result.output
    assert files_in(Path("results/today")) == set(GOOD)
    for name, (rate, channels, container, encoding) in GOOD.items():
        before, after = audio_info(f"in/{name}"), audio_info(f"results/today/{name}")
        assert (after.sample_rate, after.channels, after.frames) == (rate, channels, before.frames)
        assert (after.container, after.encoding) == (before.container, before.encoding) == (container, encoding)
        noisy, clean = read_audio(before.path)[0], read_audio(after.path)[0]
        pause = slice(int(0.6 * rate), int(0.9 * rate))
        assert level_db(clean[:, pause]) < level_db(noisy[:, pause]) - 6, f"{name}: the noise is still there"
        assert abs(level_db(clean) - level_db(noisy)) < 1.5, f"{name}: the sound is gone"
    for name in BAD:
        assert re.search(rf"failed: in/{name}: \S+", result.stderr)
        assert re.search(rf"in/{name}.*failed", result.stdout)
    assert "6 of 8 cleaned" in result.stdout


def test_all_good_is_exit_status_zero(recordings):
    result = run("dehaze", "in/phone.wav", "in/studio", "--out", "out")
    assert result.exit_code == 0 and result.stderr == ""
    assert files_in(Path("out")) == {"phone.wav", "deep.wav", "deep.flac"}


def test_a_quoted_pattern_is_expanded(recordings):
    assert run("dehaze", "in/**/d*.*", "--out", "out").exit_code == 0
    assert files_in(Path("out")) == {"studio/deep.wav", "studio/deep.flac"}


def test_a_second_run_replaces_the_results(recordings):
    for _ in range(2):
        assert run("dehaze", "in/phone.wav", "--out", "out").exit_code == 0
    assert files_in(Path("out")) == {"phone.wav"}


def test_strength_zero_keeps_the_samples(recordings):
    assert run("dehaze", "in/studio/deep.wav", "--out", "out", "--strength", 0).exit_code == 0
    assert torch.equal(read_audio("in/studio/deep.wav")[0], read_audio("out/deep.wav")[0])


@pytest.mark.parametrize("method", [method.name for method in list_methods()])
def test_every_method_can_be_asked_for(recordings, method):
    assert run("dehaze", "in/phone.wav", "--out", "out", "--method", method).exit_code == 0
    assert audio_info("out/phone.wav").frames == audio_info("in/phone.wav").frames


def test_what_is_not_there_is_named_and_the_rest_done(recordings):
    result = run("dehaze", "absent.wav", "in/phone.wav", "nowhere/*.wav", "--out", "out")
    assert result.exit_code == 1 and files_in(Path("out")) == {"phone.wav"}
    assert "absent.wav" in result.stderr and "nowhere/*.wav" in result.stderr


def test_an_unforeseen_error_stops_one_file_only(recordings, monkeypatch):
    from specdehaze.dehazer import Dehazer

    whole = Dehazer.dehaze_file

    def stumble(self, source, target, **options):
        if source.name == "deep.wav":
            raise ZeroDivisionError("stumbled")
        return whole(self, source, target, **options)

    monkeypatch.setattr(Dehazer, "dehaze_file", stumble)
    result = run("dehaze", "in/studio", "--out", "out")
    assert result.exit_code == 1 and files_in(Path("out")) == {"deep.flac"}
    assert "stumbled" in result.stderr and "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("in/phone.wav", "--out", "in"), "overwrite"),
        (("in", "--out", "in"), "overwrite"),
        (("in/studio", "--out", "in/phone.wav"), "in/phone.wav: results go into a folder"),
        (("in/phone.wav", "--out", "out", "--method", "weiner"), "did you mean 'wiener'"),
        (("in/phone.wav", "--out", "out", "--device", "nowhere"), "'nowhere'"),
        (("in/phone.wav", "--out", "out", "--strength", "1.5"), "--strength"),
        (("in/phone.wav",), "--out"),
        (("--out", "out"), "INPUT"),
    ],
)
def test_a_call_that_makes_no_sense_does_nothing(recordings, arguments, reason):
    before = {path: path.read_bytes() for path in Path("in").rglob("*") if path.is_file()}
    result = run("dehaze", *arguments)
    assert result.exit_code == 2 and reason in words(result.stderr) and result.stdout == ""
    assert not Path("out").exists()
    assert {path: path.read_bytes() for path in Path("in").rglob("*") if path.is_file()} == before


def test_a_wav_in_place_of_what_cannot_be_written_is_told(recordings):
    Path("in/phone.wav").rename("in/phone.sound")
    result = run("dehaze", "in/phone.sound", "in/studio/deep.wav", "--out", "out")
    assert result.exit_code == 0 and files_in(Path("out")) == {"phone.sound.wav", "deep.wav"}
    assert re.search(r"phone\.sound .*cleaned, as \.wav", result.stdout)
    assert re.search(r"deep\.wav .*cleaned *│?$", result.stdout, re.MULTILINE)
    assert "talk.aac.wav" in run("dehaze", "--help").stdout


def test_names_that_the_terminal_cannot_show_stop_nothing(recordings):
    for name in ("Gespräch.wav", "музыка.wav", "müll.wav"):
        Path(name).write_bytes(Path("in/phone.wav").read_bytes())
    Path("müll.wav").write_bytes(b"")
    for call in (["dehaze", "--out", "out"], ["detect-hum"]):
        code = f"from specdehaze.cli import app; app({[*call, 'Gespräch.wav', 'музыка.wav', 'müll.wav']!a})"
        environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, text=True)
        assert done.returncode == 1 and "Gespr?ch.wav" in done.stdout and "Traceback" not in done.stderr, done.stderr
    assert files_in(Path("out")) == {"Gespräch.wav", "музыка.wav"}


def test_two_inputs_for_one_output(recordings):
    Path("other").mkdir()
    Path("other/phone.wav").write_bytes(Path("in/phone.wav").read_bytes())
    result = run("dehaze", "in/phone.wav", "other/phone.wav", "in/studio/deep.wav", "--out", "out")
    assert result.exit_code == 1 and "would both become" in result.stderr
    assert files_in(Path("out")) == {"phone.wav", "deep.wav"}


def test_no_real_time_factor_of_a_sound_that_is_too_short_for_one(recordings):
    write_audio("click.wav", sound(0.09, 8000), 8000)
    result = run("dehaze", "click.wav", "in/phone.wav", "--out", "out")
    assert re.search(r"click\.wav .* – .*cleaned", result.stdout)
    assert re.search(r"phone\.wav .* 0\.\d{4} .*cleaned", result.stdout)


# Cleans in/phone.wav but, once the result is half written, waits for a signal to arrive.
WAITING = """
import sys, time
from pathlib import Path
from specdehaze.audio import AudioWriter
from specdehaze.cli import app
def write(self, block):
    print("waiting", len(list(Path("out").glob(".*.part"))), flush=True)
    time.sleep(60)
AudioWriter.write = write
app(["dehaze", "in/phone.wav", "--out", "out"])
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_no_half_written_file(recordings, name):
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=-1, stderr=-1, text=True) as work:
        assert work.stdout.readline() == "waiting 1\n"
        work.send_signal(getattr(signal, name))
        assert "interrupted" in work.communicate(timeout=20)[1]
    assert work.returncode == 130 and list(Path("out").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_what_shall_outlive_its_terminal_does(recordings, monkeypatch):
    seen = {}

    def listen(*_):
        seen.update({name: signal.getsignal(getattr(signal, name)) for name in ("SIGHUP", "SIGTERM")})
        return []

    monkeypatch.setattr("specdehaze.archive.plan_jobs", listen)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("dehaze", "in", "--out", "out").exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == {"SIGHUP": signal.SIG_IGN, "SIGTERM": signal.default_int_handler}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_methods_are_listed():
    result = run("methods")
    assert result.exit_code == 0
    for method in list_methods():
        assert re.search(rf"{method.name}\W+{method.kind}\W", result.stdout) and method.summary in result.stdout


@pytest.fixture
def hums(tmp_path, monkeypatch):
    "hum.wav with 60 Hz and its third harmonic, and quiet.wav without, in the present folder."
    time = torch.arange(8000 * 6, dtype=torch.float64) / 8000
    tones = sum(0.1 / k * torch.sin(2 * math.pi * 60.02 * k * time) for k in (1, 3))
    write_audio(tmp_path / "hum.wav", (tones + 0.003 * torch.randn(len(time))).float(), 8000)
    write_audio(tmp_path / "quiet.wav", 0.05 * torch.randn(len(time)), 8000)
    monkeypatch.chdir(tmp_path)


def test_hum_is_told_from_no_hum(hums):
    result = run("detect-hum", "hum.wav", "quiet.wav")
    assert result.exit_code == 0
    assert re.search(r"hum\.wav\W+60\.02 Hz\W+0\.0\d Hz\W+\d{2,}\W+1 3\W+-22\.\d dB\W+-23\.\d dB at 1", result.stdout)
    assert re.search(r"quiet\.wav\W+no hum\W+\d+", result.stdout)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_cannot_be_listened_to_is_named_on_standard_error(hums, options):
    result = run("detect-hum", "hum.wav", "absent.wav", *options)
    assert result.exit_code == 1 and "failed: absent.wav: there is no such file" in result.stderr
    assert "hum.wav" not in result.stderr


def test_hum_in_folders_and_patterns(hums):
    Path("notes.txt").write_text("no sound")
    for call in (".", "*.wav"):
        result = run("detect-hum", call, "hum.wav", "--json")
        found = {Path(facts["file"]).name: facts["present"] for facts in json.loads(result.stdout)}
        assert result.exit_code == 0 and found == {"hum.wav": True, "quiet.wav": False}
    assert run("detect-hum", "*.flac").exit_code == 1


def test_hum_as_json(hums):
    result = run("detect-hum", "hum.wav", "quiet.wav", "absent.wav", "--json")
    humming, quiet, absent = json.loads(result.stdout)
    assert humming["present"] and humming["fundamental"] == pytest.approx(60.02, abs=0.02)
    assert {"1", "3"} <= set(humming["levels_db"]) and humming["levels_db"]["1"] > humming["levels_db"]["3"]
    assert humming["level_db"] == pytest.approx(10 * math.log10(0.1**2 * (1 + 1 / 9) / 2), abs=0.15)
    assert 0 <= humming["drift_hz"] < 0.02
    assert not quiet["present"] and "fundamental" not in quiet and quiet["confidence"] < 30 < humming["confidence"]
    assert "absent.wav" in absent["error"] and result.exit_code == 1


@pytest.mark.parametrize("method", ["hum", "notch", "comb", "least_squares"])
def test_a_cleaner_of_hum_says_what_it_found(hums, method):
    result = run("dehaze", ".", "absent.wav", "--out", "out", "--method", method)
    line = r"hum\.wav .*60\.02 Hz, drift 0\.0\d Hz, -22\.\d dBFS, 2 harmonics, loudest 1 3 .*cleaned *│"
    assert re.search(line, result.stdout)
    assert re.search(r"quiet\.wav .*none +│ no hum: left as it is", result.stdout)
    assert "1 of 3 cleaned, 1 without hum left as they are" in words(result.stdout)
    assert Path("out/quiet.wav").read_bytes() == Path("quiet.wav").read_bytes()
    assert level_db(read_audio("out/hum.wav")[0]) < level_db(read_audio("hum.wav")[0]) - 10


def test_what_was_cleaned_as_json(hums):
    result = run("dehaze", "hum.wav", "quiet.wav", "absent.wav", "--out", "out", "--method", "hum", "--json")
    humming, quiet, absent = json.loads(result.stdout)
    assert result.exit_code == 1 and absent["file"] == "absent.wav" and "no such file" in absent["error"]
    heard = {facts["file"]: facts for facts in json.loads(run("detect-hum", ".", "--json").stdout)}
    assert {"file": "hum.wav", **humming["hum"]} == heard["hum.wav"] and not quiet["hum"]["present"]
    assert humming["result"] == str(Path("out/hum.wav")) and humming["seconds"] == 6
    assert humming["level_after_db"] < humming["level_before_db"]
    assert quiet["level_after_db"] == quiet["level_before_db"]


def test_a_mask_looks_for_no_hum(hums):
    result = run("dehaze", "hum.wav", "--out", "out")
    assert "harmonics" not in result.stdout and "no hum" not in result.stdout
    (facts,) = json.loads(run("dehaze", "hum.wav", "--out", "out", "--json").stdout)
    measured = {"seconds", "level_before_db", "level_after_db", "real_time_factor"}
    assert set(facts) == {"file", "result", "untouched", *measured} and not facts["untouched"]


@pytest.mark.parametrize(
    "numbers, text", [([], ""), ([3], "3"), ([1, 2], "1 2"), ([1, 2, 3], "1-3"), ([1, 3, 4, 5, 6, 9], "1 3-6 9")]
)
def test_runs_of_harmonics_are_drawn_together(numbers, text):
    assert spans(numbers) == text


def fake_reports(run_report):
    "Stands in for the module `reports`."
    return types.SimpleNamespace(run_report=run_report, ReportError=RuntimeError)


def test_a_report_gets_its_parameters(monkeypatch):
    asked = {}

    def run_report(name, *, profile, parameters):
        asked.update(name=name, profile=profile, parameters=parameters)
        return Path("_runs/some/page.html")

    monkeypatch.setitem(sys.modules, "specdehaze.reports", fake_reports(run_report))
    result = run("report", "some", "--profile", "full", "-p", "method", "wiener", "-p", "seconds", "-2.5")
    assert result.exit_code == 0 and result.stdout.strip() == str(Path("_runs/some/page.html"))
    assert asked == {"name": "some", "profile": "full", "parameters": {"method": "wiener", "seconds": -2.5}}
    run("report", "other")
    assert asked == {"name": "other", "profile": "smoke", "parameters": {}}


def test_a_report_that_is_not_there(monkeypatch):
    def run_report(name, **options):
        raise ValueError(f"no report is called {name}")

    monkeypatch.setitem(sys.modules, "specdehaze.reports", fake_reports(run_report))
    result = run("report", "absent")
    assert result.exit_code == 2 and "no report is called absent" in result.stderr
    assert run("report", "absent", "-p", "key").exit_code == 2, "a key without a value"


@pytest.mark.parametrize(
    "key, value, reason",
    [("folder", "nonexistent", "no such file or folder"), ("method", "weiner", "did you mean 'wiener'")],
)
def test_a_report_that_cannot_be_is_told_before_any_work(tmp_path, monkeypatch, key, value, reason):
    monkeypatch.chdir(tmp_path)
    result = run("report", "clean_recordings", "-p", key, value)
    assert result.exit_code == 1 and "in cell In [4]" in result.stderr and reason in result.stderr
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".ipynb"}


def test_a_report_that_fails(monkeypatch):
    def run_report(name, **options):
        raise RuntimeError("it failed in cell In [3]")

    monkeypatch.setitem(sys.modules, "specdehaze.reports", fake_reports(run_report))
    result = run("report", "some")
    assert result.exit_code == 1 and "failed in cell In [3]" in result.stderr and result.stdout == ""


def test_a_report_ends_with_its_summary_and_its_page(monkeypatch, tmp_path):
    (tmp_path / "summary.txt").write_text("rain: -31 dB, then -48 dB\n")
    answer = fake_reports(lambda name, **options: tmp_path / "page.html")
    monkeypatch.setitem(sys.modules, "specdehaze.reports", answer)
    lines = run("report", "some").stdout.splitlines()
    assert lines == ["rain: -31 dB, then -48 dB", "", str(tmp_path / "page.html")]


@pytest.mark.parametrize(
    "text, value",
    [("1", 1), ("-0.5", -0.5), ("true", True), ("null", None), ('["a", 1]', ["a", 1]), ("a b", "a b"), ("", "")],
)
def test_values_are_read_as_json_or_text(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_the_version():
    assert run("--version").stdout.strip() == f"specdehaze {version('specdehaze')}"


@pytest.mark.parametrize("command", ["dehaze", "methods", "detect-hum", "report"])
def test_help_is_there_for_every_command(command):
    assert command in run("--help").stdout
    result = run(command, "--help")
    assert result.exit_code == 0
    if command != "methods":
        assert f"specdehaze {command} " in words(result.stdout), "an example"


def test_help_loads_no_torch():
    code = "import sys; from specdehaze.cli import app; app(['--help'], standalone_mode=False)"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
