"What the demo says about a recording: odd files, limits, and the page of an answer."

import math
import wave
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from specdehaze import demo_answers
from specdehaze.audio import AudioError, audio_info, read_audio, write_audio
from specdehaze.checkpoints import CheckpointError
from specdehaze.demo_answers import (
    MOST_MEGABYTES,
    check_recording,
    clean_recording,
    comparison,
    example_recordings,
    few_frames,
    hum_report,
    load_preview,
    plain_words,
    usable_methods,
)
from specdehaze.hum import Hum
from specdehaze.methods import METHODS, list_methods


def tone(seconds: float, rate: int, channels: int = 1) -> torch.Tensor:
    time = torch.arange(round(seconds * rate)) / rate
    return 0.3 * torch.sin(2 * math.pi * 440 * time) + 0.01 * torch.randn(channels, len(time))


def eight_bit(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(128 + 40 * (n // 20 % 2) for n in range(8000)))


TAKEN = {  # name -> writes it
    "eight channels.wav": lambda path: write_audio(path, tone(0.5, 44_100, 8), 44_100),
    "eight_bit.wav": eight_bit,
    "fast.wav": lambda path: write_audio(path, tone(0.3, 192_000, 2), 192_000),
    "slow.wav": lambda path: soundfile.write(path, tone(20, 100).T.numpy(), 100),
    "silence.flac": lambda path: write_audio(path, torch.zeros(2, 16_000), 16_000),
    "one_sample.wav": lambda path: write_audio(path, torch.full((1, 1), 0.5), 16_000),
    "too_loud.wav": lambda path: soundfile.write(path, 5 * tone(0.5, 16_000).T.numpy(), 16_000, subtype="FLOAT"),
    "talk.mp3": lambda path: write_audio(path, tone(0.5, 44_100, 2), 44_100),
    "talk.m4a": lambda path: write_audio(path, tone(0.5, 44_100, 2), 44_100),
    "talk.opus": lambda path: write_audio(path, tone(0.5, 48_000), 48_000),
    "TALK.AIFF": lambda path: write_audio(path, tone(0.5, 22_050), 22_050),
    "<b>'ünï'</b> & co.wav": lambda path: write_audio(path.parent / "a.wav", tone(0.1, 8000), 8000),
}


@pytest.mark.parametrize("name", TAKEN)
def test_odd_recordings_keep_rate_length_channels_and_format(tmp_path, name):
    source = tmp_path / name.replace("/", "")
    TAKEN[name](source)
    if not source.exists():
        (tmp_path / "a.wav").rename(source)
    progress = []
    answer = clean_recording(source, tmp_path, method="mmse_lsa", strength=1.0, progress=progress.append)
    before, after = audio_info(source), audio_info(answer.target)
    assert answer.target.suffix == source.suffix and answer.target.stem == f"{source.stem}_clean"
    assert (after.sample_rate, after.channels, after.frames) == (before.sample_rate, before.channels, before.frames)
    assert (after.container, after.encoding) == (before.container, before.encoding)
    assert answer.page.count("<audio ") == 2 and "<b>'" not in answer.page
    assert progress and progress[-1] == 1.0


def test_a_format_that_cannot_be_written_becomes_a_wav(tmp_path):
    write_audio(tmp_path / "talk.wav", tone(0.5, 16_000), 16_000)
    source = tmp_path / "talk.recording"  # libsndfile looks inside, and a suffix tells it nothing
    (tmp_path / "talk.wav").rename(source)
    answer = clean_recording(source, tmp_path, method="wiener", strength=1.0)
    assert answer.target.name == "talk.recording_clean.wav" and audio_info(answer.target).frames == 8000


def not_a_number(path: Path) -> None:
    samples = tone(0.1, 8000)
    samples[0, 100] = math.nan
    soundfile.write(path, samples.T.numpy(), 8000, subtype="FLOAT")


def cut_off(path: Path) -> None:
    write_audio(path, tone(1.0, 8000), 8000)
    path.write_bytes(path.read_bytes()[:5000])


def of_no_rate(path: Path) -> None:
    write_audio(path, tone(0.1, 8000), 8000)
    content = bytearray(path.read_bytes())
    content[24:28] = bytes(4)
    path.write_bytes(content)


REFUSED = {  # name -> writes it, and words of the complaint
    "empty.wav": (lambda path: path.write_bytes(b""), "empty (0 bytes)"),
    "notes.wav": (lambda path: path.write_text("buy more microphones"), "not readable as audio"),
    "picture.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "no audio channel in it"),
    "nothing.wav": (lambda path: write_audio(path, torch.zeros(1, 0), 8000), "not a single sample"),
    "nan.wav": (not_a_number, "sample 100 is NaN"),
    "cut.wav": (cut_off, "cut off"),
    "no_rate.wav": (of_no_rate, ""),
    "long.wav": (lambda path: write_audio(path, torch.zeros(1, 181 * 8000), 8000), "this page takes 180 s"),
    "wide.flac": (lambda path: write_audio(path, torch.zeros(8, 2 * 192_000), 192_000), "this page takes 1 s, not 2 s"),
    "gone.wav": (lambda path: None, "no such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cleaned_is_named_and_explained(tmp_path, monkeypatch, name):
    write, words = REFUSED[name]
    monkeypatch.setattr(demo_answers, "MOST_SAMPLES", 2_000_000)
    write(tmp_path / name)
    with pytest.raises(AudioError) as caught:
        clean_recording(tmp_path / name, tmp_path, method="mmse_lsa", strength=1.0)
    message = plain_words(caught.value, tmp_path / name)
    assert message.startswith(f"{name}: ") and words in message and str(tmp_path) not in message


def test_a_large_file_is_not_even_opened(tmp_path):
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate((MOST_MEGABYTES + 1) * 2**20)
    with pytest.raises(AudioError, match="101 MB, and this page takes 100 MB"):
        check_recording(path)


@pytest.mark.parametrize("call", [{"method": "mmse", "strength": 1.0}, {"method": "wiener", "strength": 1.5}])
def test_a_call_that_makes_no_sense_is_an_error(tmp_path, call):
    write_audio(tmp_path / "a.wav", tone(0.1, 8000), 8000)
    with pytest.raises(ValueError, match="mmse_lsa|between 0 and 1"):
        clean_recording(tmp_path / "a.wav", tmp_path, **call)


def test_at_strength_0_the_recording_stays_as_it_is(tmp_path):
    source = example_recordings()["Galician voice, strong hum"]
    answer = clean_recording(source, tmp_path, method="hum", strength=0.0)
    assert torch.equal(read_audio(answer.target)[0], read_audio(source)[0])
    assert answer.hum.present and abs(answer.hum.fundamental - 50) < 0.5
    assert answer.page.count("<img ") == 2


def test_every_method_is_offered_whose_weights_are_there():
    assert [method.name for method in usable_methods()] == [method.name for method in list_methods()]


def test_a_method_without_its_weights_is_not_offered(monkeypatch):
    def missing(waveform, sample_rate, state=None):
        raise CheckpointError("no weights")

    monkeypatch.setitem(METHODS, "voice", replace(METHODS["voice"], clean=missing))
    offered = [method.name for method in usable_methods()]
    assert offered == [name for name in METHODS if name != "voice"]


def test_hum_report_says_what_was_found():
    hum = Hum(True, 60.02, (1, 2, 3, 4, 5, 7), (-40.0, -30.0, -50.0, -60.0, -70.0, -20.0), 500.0, 0.12)
    page = hum_report(hum)
    for words in ("60.02 Hz", "0.12 Hz", "−19.5 dBFS", "<dd>6</dd>", "420 Hz", "−20.0 dBFS"):
        assert words in page
    assert page.count("<tr>") == 1 + 5
    assert "no mains hum" in hum_report(Hum(False, 0.0, (), (), 3.0))


def test_players_get_one_gain_and_names():
    page = comparison(torch.full((1, 16_000), 4.0), torch.zeros(1, 16_000), 16_000)
    assert 'aria-label="Before"' in page and 'aria-label="After"' in page
    assert 'alt="Spectrograms before and after, 1.0 s, up to 8 kHz"' in page


def test_previews_are_small(tmp_path):
    write_audio(tmp_path / "wide.wav", tone(0.5, 96_000, 4), 96_000)
    waveform, rate = load_preview(tmp_path / "wide.wav")
    assert waveform.shape == (1, 24_000) and rate == 48_000
    for seconds, channels in ((2, 2), (61, 1)):
        write_audio(tmp_path / "stereo.wav", torch.zeros(2, 8000 * seconds), 8000)
        assert load_preview(tmp_path / "stereo.wav")[0].shape == (channels, 8000 * seconds)
    magnitude, hop_length = few_frames(torch.ones(1, 180 * 16_000), 16_000)
    assert magnitude.shape[1] <= 1000 and hop_length % 128 == 0
    assert abs(magnitude.shape[1] * hop_length - 180 * 16_000) <= hop_length
