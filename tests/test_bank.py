"Streams come back as they were laid down; voices keep their pitch when their formants move."

import json
import shutil

import numpy as np
import pytest
import torch
from torchaudio.functional import lowpass_biquad

from specdehaze.bank import (
    RATE,
    Bank,
    Sound,
    build_bank,
    good_takes,
    join_speech,
    prepare_take,
    sources_of,
    warp_formants,
    write_bank,
)
from specdehaze.files import AudioError, read_audio
from specdehaze.recordings import resource_folder
from specdehaze.sources import known_sources
from specdehaze.writing import write_audio


def tone(hertz: float, seconds: float = 1.0):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(RATE * seconds)) / RATE)


def test_streams_come_back(tmp_path):
    sounds = [Sound("a", "speech", "x", 0.5 * tone(200)), Sound("b", "speech", "y", 0.25 * tone(300))]
    write_bank(tmp_path, "voices", sounds)
    bank = Bank(tmp_path, "voices")
    for stream, sound in zip(bank.streams, sounds):
        assert (stream.name, stream.source) == (sound.name, sound.source)
        assert np.abs(bank.cut(stream, 100, 500) - sound.waveform[100:600].numpy()).max() < 2 / 32768


def test_a_short_stream_begins_again(tmp_path):
    write_bank(tmp_path, "noises", [Sound("tick", "effects", "", torch.tensor([0.5, 0.0, 0.0]))])
    bank = Bank(tmp_path, "noises")
    assert bank.cut(bank.streams[0], 2, 5).tolist() == [0, 0.5, 0, 0, 0.5]


def test_versions_share_a_name(tmp_path):
    write_bank(tmp_path, "voices", [Sound(name, "speech", "", tone(99)) for name in "bab"])
    named = Bank(tmp_path, "voices").by_name()
    assert {name: len(streams) for name, streams in named.items()} == {"a": 1, "b": 2}


def test_a_bank_that_is_missing_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="build_bank"):
        Bank(tmp_path, "voices")


def test_a_take_is_trimmed_levelled_and_faded():
    take = prepare_take(torch.cat([torch.zeros(RATE), 0.01 * tone(300), torch.zeros(RATE)]), RATE)
    assert 1.2 * RATE < len(take) < 1.4 * RATE and take[0] == take[-1] == 0
    assert take[RATE // 4 : RATE // 2].square().mean().sqrt() == pytest.approx(0.08, rel=0.05)


def test_a_take_too_short_to_measure_stays_as_it_is():
    short = torch.ones(100)
    assert torch.equal(prepare_take(short, RATE), short)


def test_formants_move_and_pitch_stays():
    pulses = torch.zeros(RATE)
    pulses[::160] = 1.0  # 100 Hz
    resonance = torch.exp(-0.02 * torch.arange(400)) * torch.cos(2 * torch.pi * 1000 / RATE * torch.arange(400))
    voice = torch.nn.functional.conv1d(pulses[None, None], resonance.flip(0)[None, None], padding=399)[0, 0, :RATE]
    warped = warp_formants(voice, 1.3)

    def strongest(sound):
        power = torch.fft.rfft(sound * torch.hann_window(RATE)).abs()
        return int(power[500:3000].argmax()) + 500

    assert strongest(voice) == pytest.approx(1000, abs=100) and strongest(warped) == pytest.approx(1300, abs=130)
    assert strongest(warped) % 100 in (0, 1, 99)


def test_joined_speech_has_every_take():
    from random import Random

    stream = join_speech([0.1 * tone(200), 0.1 * tone(400)], Random(3))
    power = torch.fft.rfft(stream).abs() / len(stream)
    hertz = torch.fft.rfftfreq(len(stream), 1 / RATE)
    assert all(power[(hertz - f).abs() < 2].max() > 0.01 for f in (200, 400))
    assert not len(join_speech([], Random(0)))


def test_nothing_of_the_test_split_is_in_a_bank():
    for split in ("train", "validation"):
        kinds = ("speech", "ambience", "machine", "keyboard", "music", "instrument")
        assert {source.split for source in sources_of(split, kinds)} == {split}


def test_what_is_there_is_not_made_again(tmp_path):
    for name in ("voices", "noises"):
        (tmp_path / f"{name}.json").write_text(json.dumps([]))
    assert build_bank(tmp_path) == tmp_path


def test_voices_of_ones_own_come_into_the_bank_of_their_split(tmp_path, monkeypatch):
    own = {"voices": known_sources()["voices"]}
    monkeypatch.setattr("specdehaze.bank.known_sources", lambda: own)
    for place in ("train/me", "validation/you"):
        (tmp_path / "own" / place).mkdir(parents=True)
        for path in sorted((resource_folder("data") / "speech").glob("fr_*.flac")):
            shutil.copy(path, tmp_path / "own" / place)
    for name, split, voice in (("bank", "train", "me"), ("bank-validation", "validation", "you")):
        write_bank(tmp_path / name, "noises", [])
        given = {"added": ["voices"], "folders": {"voices": tmp_path / "own"}}
        build_bank(tmp_path / name, split=split, **given)
        assert set(Bank(tmp_path / name, "voices").by_name()) == {voice}


def test_a_voice_without_highs_stays_outside(tmp_path):
    (tmp_path / "own/train/dull").mkdir(parents=True)
    (tmp_path / "own/train/clear").mkdir()
    for path in sorted((resource_folder("data") / "speech").glob("fr_*.flac")):
        voice, rate = read_audio(path)
        write_audio(tmp_path / "own/train/clear" / path.name, voice, rate)
        for _ in range(3):
            voice = lowpass_biquad(voice, rate, 2500)
        write_audio(tmp_path / "own/train/dull" / path.name, voice, rate)
    good = good_takes([known_sources()["voices"]], "train", folders={"voices": tmp_path / "own"})
    assert set(good) == {"clear"}


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AudioError, match="'vioces': choose from .*voices"):
        build_bank(tmp_path, added=["vioces"])
