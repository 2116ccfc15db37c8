"The recordings that come with the package: table and folder agree, voices are apart, and mixes are exact."

import csv
import hashlib
import shutil
from collections import defaultdict

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from source_tree import ROOT

from specdehaze import recordings
from specdehaze.recordings import KINDS, TEST_VOICES, bundled_recordings, cut_loop, noisy_pairs, resource_folder

DATA = ROOT / "data"
RECORDINGS = bundled_recordings()
each_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)


def rows() -> list[dict[str, str]]:
    with open(DATA / "recordings.csv", newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_table_lists_each_file_once():
    listed = [row["file"] for row in rows()]
    audio = {path.relative_to(DATA).as_posix() for path in DATA.rglob("*.flac")}
    assert len(listed) == len(set(listed)) == len({row["name"] for row in rows()})
    assert set(listed) == audio


def test_table_names_kind_licence_author_and_package():
    for row in rows():
        assert row["kind"] in KINDS and row["file"].startswith(row["kind"] + "/")
        assert row["licence"] and row["author"] and row["package"] and row["note"]
        assert row["pair"] == "" or row["pair"] in {other["name"] for other in rows()}


def test_each_licence_has_its_text():
    texts = {path.stem for path in (DATA / "LICENSES").glob("*.txt")}
    assert {row["licence"].removesuffix("-only").removesuffix("-or-later") for row in rows()} == texts


def test_readme_lists_each_recording_with_its_licence_and_author():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(" `"): line for line in readme.splitlines() if line.startswith("| `")}
    for row in rows():
        line = lines[row["file"]]
        assert row["licence"] in line and row["author"] in line and row["package"] in line and row["note"] in line


def test_folder_is_small():
    assert sum(path.stat().st_size for path in DATA.rglob("*.flac")) < 15e6


@each_recording
def test_recording_is_what_the_table_says(recording):
    waveform, sample_rate = recording.load()
    assert sample_rate == recording.sample_rate
    assert abs(waveform.shape[-1] / sample_rate - recording.seconds) < 1e-4
    assert 4.9 <= recording.seconds <= 10.05
    assert soundfile.info(recording.path).subtype == "PCM_16"


@each_recording
def test_recording_has_sound_without_dc_or_clipping(recording):
    waveform, _ = recording.load()
    assert waveform.mean(-1).abs().max() < 1 / 32768
    assert 0.01 < waveform.abs().max() < 1
    silent = waveform.abs().amax(-1) == 0
    assert silent.sum() == (1 if recording.name == "hummy_fr_01" else 0)


def test_no_sound_is_there_twice():
    found = defaultdict(list)
    for recording in RECORDINGS:
        waveform, _ = recording.load()
        found[hashlib.sha256(waveform.numpy().tobytes()).hexdigest()].append(recording.name)
    assert [names for names in found.values() if len(names) > 1] == []


def test_test_voices_are_heard_in_no_lesson():
    speech = [recording for recording in RECORDINGS if recording.kind == "speech"]
    by_voice = defaultdict(set)
    for recording in RECORDINGS:
        by_voice[recording.voice].add((recording.kind, recording.language, recording.package))
    assert {voice for voice in by_voice if voice in TEST_VOICES} == TEST_VOICES
    assert all(len(by_voice[voice]) == 1 for voice in TEST_VOICES)
    assert {r.language for r in speech if r.voice in TEST_VOICES} == {"it", "ru"}
    assert {r.language for r in speech if r.voice not in TEST_VOICES} == {"fr", "es"}


def test_choosing_by_kind_and_language():
    by_kind = [recording for kind in KINDS for recording in bundled_recordings(kind)]
    assert sorted(r.name for r in by_kind) == sorted(r.name for r in RECORDINGS)
    french = bundled_recordings("hummy", language="fr")
    assert [recording.name for recording in french] == ["hummy_fr_01", "hummy_fr_02"]


@pytest.mark.parametrize(("arguments", "keywords"), [(("hiss",), {}), ((), {"language": "xx"}), (("",), {})])
def test_a_choice_that_nothing_meets_names_the_choices(arguments, keywords):
    with pytest.raises(ValueError, match="choose one of"):
        bundled_recordings(*arguments, **keywords)


def test_resource_folder_prefers_what_is_installed(tmp_path, monkeypatch):
    package = tmp_path / "specdehaze"
    package.mkdir()
    monkeypatch.setattr(recordings, "files", lambda name: package)
    with pytest.raises(FileNotFoundError, match="install specdehaze again"):
        resource_folder("data")
    shutil.copytree(DATA / "LICENSES", tmp_path / "data")
    assert resource_folder("data") == tmp_path / "data"
    (package / "_data").mkdir()
    assert resource_folder("data") == package / "_data"


def test_resource_folder_knows_two_names():
    assert resource_folder("data") == DATA and resource_folder("reports") == ROOT / "nbs" / "reports"
    with pytest.raises(ValueError, match="data, reports"):
        resource_folder("weights")


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
def test_cut_loop_runs_in_a_circle(size, start, length):
    loop = list(range(size))
    assert cut_loop(torch.arange(size), start, length).tolist() == [loop[(start + i) % size] for i in range(length)]


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5])
def test_pairs_are_exact(snr_db):
    for pair in noisy_pairs(snr_db, seed=3, language="it"):
        assert pair.noisy.shape == pair.clean.shape == pair.noise.shape
        assert torch.equal(pair.noisy, pair.clean + pair.noise)
        ratio = pair.clean.double().square().sum() / pair.noise.double().square().sum()
        assert abs(10 * ratio.log10() - snr_db) < 1e-4


def test_pairs_hold_the_bundled_voices_and_noises():
    pairs, voices = list(noisy_pairs(10)), bundled_recordings("speech")
    assert len(pairs) == len({pair.name for pair in pairs}) == len(voices)
    for pair, voice in zip(pairs, voices):
        assert pair.name.startswith(voice.name) and torch.equal(pair.clean, voice.load()[0])
    used = {pair.name.split("_")[2] for pair in pairs}
    assert used == {recording.name.removeprefix("noise_") for recording in bundled_recordings("noise")}


def test_seed_and_clip_decide_the_noise():
    alone = {pair.name: pair.noise for pair in noisy_pairs(5, seed=1, language="ru")}
    among_all = {pair.name: pair.noise for pair in noisy_pairs(5, seed=1) if pair.name.startswith("ru_")}
    assert alone.keys() == among_all.keys()
    assert all(torch.equal(noise, among_all[name]) for name, noise in alone.items())
    other = [pair.noise for pair in noisy_pairs(5, seed=2, language="ru")]
    assert not any(torch.equal(a, b) for a, b in zip(alone.values(), other))


def test_pairs_of_a_language_that_nobody_speaks():
    with pytest.raises(ValueError, match="choose one of"):
        next(noisy_pairs(5, language="tlh"))
