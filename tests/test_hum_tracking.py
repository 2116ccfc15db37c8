"Hum found in noise and voices, and subtracted."

import numpy as np
import pytest
import torch

from specdehaze.audio import mix_at_snr, resample
from specdehaze.evaluation import si_sdr
from specdehaze.hum import synthesize_hum
from specdehaze.hum_clock import find_clock
from specdehaze.hum_tracking import detect_hum, fit_hum, track_hum
from specdehaze.recordings import bundled_recordings


def veil(clean, rate, snr_db, **hum):
    return mix_at_snr(clean, synthesize_hum(len(clean), rate, **hum)[0], snr_db)[0]


@pytest.fixture(scope="module")
def voice():
    waveform, rate = bundled_recordings(language="es")[0].load()
    return waveform[0], rate


@pytest.mark.parametrize("law", ["inverse", "odd", "even", "buzz", "flat"])
@pytest.mark.parametrize("fundamental", [49.87, 60.13])
def test_fundamental_to_a_hundredth_of_a_hertz(voice, law, fundamental):
    clean, rate = voice
    noisy = veil(clean, rate, 10, fundamental=fundamental, law=law, harmonics=20, seed=1)
    hum = detect_hum(noisy, rate)
    assert hum.present and abs(hum.fundamental - fundamental) < 0.01
    assert len(hum.harmonics) == len(hum.levels_db) and hum.confidence > 30


def test_levels_of_the_harmonics(voice):
    clean, rate = voice
    hum, _ = synthesize_hum(len(clean), rate, harmonics=5, seed=2)
    found = detect_hum(clean + 0.05 * hum, rate)
    assert found.harmonics == (1, 2, 3, 4, 5)
    expected = [20 * np.log10(0.05 / k / np.sqrt(2)) for k in found.harmonics]
    np.testing.assert_allclose(found.levels_db, expected, atol=0.3)


@pytest.mark.parametrize("language", ["fr", "es"])
def test_voices_without_hum_are_left_alone(language):
    for recording in bundled_recordings(language=language):
        if recording.kind == "speech":
            clean, rate = recording.load()
            assert not detect_hum(clean, rate).present, recording.name
            assert not track_hum(clean, rate).any()


def test_noise_and_silence_are_not_hum():
    noise = torch.randn(160_000, generator=torch.Generator().manual_seed(0))
    for clip in (noise, torch.zeros(160_000), noise[:0], noise[:1], noise[:4000]):
        assert not detect_hum(clip, 16_000).present
        assert track_hum(clip, 16_000).shape == clip.shape and not track_hum(clip, 16_000).any()


@pytest.mark.parametrize("recording", bundled_recordings("music"), ids=lambda recording: recording.name)
def test_a_held_note_is_not_a_hum(recording):
    waveform, rate = recording.load()
    assert not detect_hum(waveform, rate).present


@pytest.mark.parametrize("frequency", [150, 200, 300, 350, 440])
def test_a_whistle_is_not_a_hum(frequency):
    seconds = torch.arange(64_000) / 16_000
    noise = torch.randn(64_000, generator=torch.Generator().manual_seed(0))
    assert not detect_hum(0.3 * torch.sin(2 * torch.pi * frequency * seconds) + 1e-3 * noise, 16_000).present


@pytest.mark.parametrize("pitch", [200.4, 250.0, 300.3])
def test_a_held_note_with_its_harmonics_on_lines_is_not_a_hum(voice, pitch):
    clean, rate = voice
    seconds = torch.arange(len(clean)) / rate
    note = sum(torch.sin(2 * torch.pi * pitch * k * seconds) / k for k in range(1, 7)) * (seconds < 6)
    assert not detect_hum(clean + 0.1 * note, rate).present


def test_a_note_on_a_line_is_not_played_on_where_it_stops(voice):
    clean, rate = voice
    seconds = torch.arange(len(clean)) / rate
    note = 0.1 * torch.sin(2 * torch.pi * 47 * 50.1 * seconds) * (seconds < 0.7 * seconds[-1])
    noisy = veil(clean + note, rate, 10, fundamental=50.1, seed=3)
    assert 47 not in detect_hum(noisy, rate).harmonics
    assert si_sdr(noisy - track_hum(noisy, rate), clean + note) > 35


@pytest.mark.parametrize("rate", [1, 7, 50, 200])
def test_rates_too_low_for_hum_hold_none(rate):
    assert not track_hum(torch.ones(5 * rate), rate).any()


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0])
def test_short_clips_are_not_made_worse(voice, seconds):
    clean, rate = voice
    length = round(seconds * rate)
    for start in range(rate, len(clean) - length, 2 * rate):
        part = clean[start : start + length]
        assert not detect_hum(part, rate).present
        noisy = veil(part, rate, 5.0, modulation=0.3, seed=start)
        assert si_sdr(noisy - track_hum(noisy, rate), part) > 4.9


def test_another_fundamental_is_found_where_one_says_to_look(voice):
    clean, rate = voice
    noisy = veil(clean, rate, 5.0, fundamental=400.1, harmonics=5, seed=1)
    assert detect_hum(noisy, rate, nominals=(400.0,)).fundamental == pytest.approx(400.1, abs=0.02)


@pytest.mark.parametrize("more", [0, 1, 70, 133, 200])
def test_hum_goes_to_the_last_sample(more):
    hum, _ = synthesize_hum(80_000 + more, 16_000, fundamental=60.1, seed=3)
    left = hum - track_hum(hum, 16_000)
    assert left[-160:].square().mean() < 1e-4 * hum.square().mean()


def test_hum_alone_goes():
    hum, _ = synthesize_hum(80_000, 16_000, harmonics=10, modulation=0.3, seed=3)
    assert (hum - track_hum(hum, 16_000)).square().mean() < 1e-4 * hum.square().mean()


def test_subtraction_beats_every_told_remedy_by_far(voice):
    clean, rate = voice
    noisy = veil(clean, rate, 0.0, harmonics=20, modulation=0.5, drift_hz=0.05, seed=4)
    assert si_sdr(noisy - track_hum(noisy, rate), clean) > 28


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_other_sample_rates(voice, rate):
    clean = resample(voice[0], voice[1], rate)
    noisy = veil(clean, rate, 5.0, fundamental=50.04, harmonics=15, modulation=0.3, seed=5)
    assert si_sdr(noisy - track_hum(noisy, rate), clean) > 28


def test_gain_of_the_recording_changes_nothing(voice):
    clean, rate = voice
    noisy = veil(clean, rate, 5.0, seed=6)
    expected = track_hum(noisy, rate)
    for gain in (0.01, 100.0):
        torch.testing.assert_close(track_hum(gain * noisy, rate) / gain, expected, atol=1e-4, rtol=1e-2)


def test_channels_share_a_clock_and_keep_their_own_hum(voice):
    clean, rate = voice
    hum, _ = synthesize_hum(len(clean), rate, harmonics=8, modulation=0.3, drift_hz=0.05, seed=7)
    truth = torch.stack([0.05 * hum, -0.02 * hum, torch.zeros_like(hum)])
    tracked = track_hum(torch.stack([clean, clean, clean]) + truth, rate)
    assert si_sdr(tracked[0], truth[0]) > 15 and si_sdr(tracked[1], truth[1]) > 12
    assert tracked[2].square().mean() < 1e-3 * truth[1].square().mean()


def test_a_silent_channel_and_digital_silence_do_no_harm(voice):
    clean, rate = voice
    noisy = veil(clean, rate, 5, seed=9)
    noisy[rate : 2 * rate] = 0
    tracked = track_hum(torch.stack([torch.zeros_like(noisy), noisy]), rate)
    assert not tracked[0].any()
    assert si_sdr(tracked[1, 3 * rate :], noisy[3 * rate :] - clean[3 * rate :]) > 10


def test_a_known_hum_is_looked_for_near_its_fundamental_only(voice):
    clean, rate = voice
    noisy = veil(clean, rate, 5.0, fundamental=60.0, seed=8)
    at_sixty = detect_hum(noisy, rate)
    assert track_hum(noisy, rate, at_sixty).any()
    assert find_clock(noisy[None], rate, nominals=(60.0,)).mean == pytest.approx(60, abs=0.01)
    assert not fit_hum(noisy[None], rate, nominals=(55.0,)).hum.present
