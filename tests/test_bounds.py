"The oracle masks, the bound of least squares, and the smoother of hum that is told everything."

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import Stft, mix_at_snr, resample
from specdehaze.bounds import hum_estimation_bound, informed_smoother, oracle_phase_sensitive_mask, oracle_ratio_mask
from specdehaze.evaluation import si_sdr
from specdehaze.harmonics import VOICE_FRAMES
from specdehaze.hum import Hum, least_squares_hum, synthesize_hum
from specdehaze.hum_smoother import follow_amplitudes, voice_power
from specdehaze.hum_tracking import track_hum
from specdehaze.recordings import bundled_recordings

RATE = 16000
MOVING = {"fundamental": 49.95, "harmonics": 20, "modulation": 0.5, "drift_hz": 0.05}


# oracles


@given(st.integers(0, 2**31), st.sampled_from([0, 5, 10, 15]), st.integers(700, 5000))
@settings(max_examples=15, deadline=None)
def test_oracles_beat_the_noise_and_keep_the_length(seed, snr_db, samples):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(samples, generator=generator).cumsum(0)
    noisy, _ = mix_at_snr(clean, torch.randn(samples, generator=generator), float(snr_db))
    ratio, phase_sensitive = oracle_ratio_mask(clean, noisy), oracle_phase_sensitive_mask(clean, noisy)
    assert ratio.shape == phase_sensitive.shape == clean.shape
    assert si_sdr(noisy, clean) < si_sdr(ratio, clean) < si_sdr(phase_sensitive, clean) + 0.3


def test_oracles_leave_clean_clean_and_silence_silent(voice):
    for oracle in (oracle_ratio_mask, oracle_phase_sensitive_mask):
        torch.testing.assert_close(oracle(voice, voice), voice, atol=1e-5, rtol=0)
        assert not oracle(torch.zeros_like(voice), voice).any()
        assert not oracle(torch.zeros_like(voice), torch.zeros_like(voice)).any()


def test_phase_sensitive_mask_is_the_best_mask_in_each_bin(voice, noisy):
    stft = Stft(1024, 256)
    clean, mixed = stft.forward(voice), stft.forward(noisy)
    grid = torch.linspace(0, 1, 201)[:, None, None]
    best = (grid * mixed - clean).abs().square().argmin(0) / 200
    theirs = stft.inverse(best * mixed[0], voice.shape[-1])
    assert si_sdr(oracle_phase_sensitive_mask(voice, noisy), voice) == pytest.approx(si_sdr(theirs, voice), abs=0.01)


# least squares


@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("orders", [(1,), (2, 4, 6), tuple(range(1, 21))])
def test_white_noise_by_hand(seconds, orders):
    "White noise of power 1 has 2 / rate at every frequency: two numbers are fitted to each harmonic, of `samples`."
    noise = torch.randn(40, seconds * RATE, generator=torch.Generator().manual_seed(seconds), dtype=torch.float64)
    bound = hum_estimation_bound(noise, RATE, fundamental=50.0, orders=orders)
    assert bound == pytest.approx(2 * len(orders) / (seconds * RATE), rel=0.1)


def test_least_squares_reaches_the_bound():
    noise = torch.randn(200, 2 * RATE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    hum, _ = synthesize_hum(2 * RATE, RATE, fundamental=60.1, seed=3)
    told = Hum(True, 60.1, tuple(range(1, 11)), (), math.inf)
    error = least_squares_hum(noise + hum, RATE, told) - noise
    bound = hum_estimation_bound(noise, RATE, fundamental=60.1, orders=told.harmonics)
    assert float(error.square().mean()) == pytest.approx(bound, rel=0.06)


@given(st.floats(0.01, 100), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_bound_follows_power_and_not_channels(gain, channels):
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    told = {"fundamental": 50.0, "orders": (1, 2, 3)}
    once = hum_estimation_bound(noise, RATE, **told)
    assert hum_estimation_bound(gain * noise.repeat(channels, 1), RATE, **told) == pytest.approx(gain**2 * once)


def test_si_sdr_of_least_squares_does_not_depend_on_the_hum(voice):
    told = Hum(True, 50.2, (1, 2, 3, 4, 5), (), math.inf)
    left = (voice - least_squares_hum(voice, RATE, told)).double()
    share = float(left.square().sum() / voice.double().square().sum())
    hum, _ = synthesize_hum(voice.shape[-1], RATE, fundamental=50.2, harmonics=5, seed=5)
    for level in (0.0, 0.01, 0.3):
        score = si_sdr(least_squares_hum(voice.double() + level * hum.double(), RATE, told), voice)
        assert score == pytest.approx(10 * math.log10(1 / share - 1), abs=0.02)


# the informed smoother


@pytest.mark.parametrize("recording", bundled_recordings("speech", language="es"), ids=lambda recording: recording.name)
def test_who_is_told_everything_beats_who_is_told_nothing(recording):
    waveform, rate = recording.load()
    clip = waveform[0, : 6 * rate]
    for seed, snr_db in enumerate((0.0, 10.0)):
        hum, path = synthesize_hum(len(clip), rate, seed=seed, **MOVING)
        mixed, _ = mix_at_snr(clip, hum, snr_db)
        told = {"clean": clip, "fundamental": path, "orders": range(1, 21)}
        blind = si_sdr(mixed - track_hum(mixed, rate), clip)
        as_seen = si_sdr(informed_smoother(mixed, rate, frames=VOICE_FRAMES, **told), clip)
        best = si_sdr(informed_smoother(mixed, rate, **told), clip)
        assert blind - 1 < as_seen < best and best > blind + 2


def test_pauses_beat_least_squares_on_a_steady_hum(voice):
    orders = tuple(range(1, 11))
    hum, path = synthesize_hum(voice.shape[-1], RATE, fundamental=60.1, seed=1)
    mixed, _ = mix_at_snr(voice, hum[None], 5.0)
    informed = informed_smoother(mixed, RATE, clean=voice, fundamental=60.1, orders=orders)
    plain = least_squares_hum(mixed, RATE, Hum(True, 60.1, orders, (), math.inf))
    assert si_sdr(informed, voice) > si_sdr(plain, voice) + 10
    along_the_path = informed_smoother(mixed, RATE, clean=voice, fundamental=path, orders=orders)
    assert si_sdr(along_the_path, informed) > 60


def test_channels_are_smoothed_each_for_itself(voice):
    hum, path = synthesize_hum(voice.shape[-1], RATE, seed=2, **MOVING)
    clean = torch.cat([voice, 0.5 * voice.flip(-1)])
    mixed = clean + torch.stack([0.05 * hum, -0.03 * hum])
    told = {"fundamental": path, "orders": range(1, 21)}
    both = informed_smoother(mixed, RATE, clean=clean, **told)
    assert both.shape == mixed.shape and both.dtype == mixed.dtype
    assert all(si_sdr(one, truth) > 30 for one, truth in zip(both, clean))


@pytest.mark.parametrize("rate", [8000, 44100])
def test_informed_at_other_rates(voice, rate):
    clean = resample(voice, RATE, rate)
    hum, path = synthesize_hum(clean.shape[-1], rate, seed=3, **MOVING)
    mixed, _ = mix_at_snr(clean, hum[None], 5.0)
    assert si_sdr(informed_smoother(mixed, rate, clean=clean, fundamental=path, orders=range(1, 21)), clean) > 35


def test_digital_silence_in_the_voice_does_no_harm(voice):
    clean = voice.clone()
    clean[:, : 3 * RATE] = 0
    hum, path = synthesize_hum(voice.shape[-1], RATE, seed=4, **MOVING)
    mixed = clean + 0.05 * hum
    informed = informed_smoother(mixed, RATE, clean=clean, fundamental=path, orders=range(1, 21))
    assert si_sdr(informed, clean) > 30
    alone = informed_smoother(0.05 * hum, RATE, clean=0 * hum, fundamental=path, orders=range(1, 21))
    assert float(alone.square().mean()) < 1e-3 * float((0.05 * hum).square().mean())


def test_known_power_is_not_estimated_anew():
    random = np.random.default_rng(0)
    power = random.uniform(0.1, 10, (3, 400))
    noise = np.sqrt(power / 2) * (random.standard_normal((3, 400)) + 1j * random.standard_normal((3, 400)))
    amplitude = 2 * np.exp(0.5j * np.sin(np.arange(400) / 60))
    inside = slice(0, 400)
    rows = np.arange(1.0, len(noise) + 1)
    told = follow_amplitudes(noise + amplitude, power, inside, 100.0, rows, known=True).amplitudes
    deaf = np.full_like(power, power.mean())
    untold = follow_amplitudes(noise + amplitude, deaf, inside, 100.0, rows).amplitudes
    assert np.square(np.abs(told - amplitude)).mean() < np.square(np.abs(untold - amplitude)).mean()
    np.testing.assert_allclose(voice_power(power, power, inside, frames=1, belief=0.0), power)


def test_what_the_bounds_refuse(voice):
    told = {"fundamental": 50.0, "orders": (1, 2)}
    with pytest.raises(ValueError, match=r"0.5 s or more, not 0.25 s"):
        informed_smoother(voice[:, :4000], RATE, clean=voice[:, :4000], **told)
    with pytest.raises(ValueError, match="same channels and samples"):
        informed_smoother(voice, RATE, clean=voice[:, 1:], **told)
    with pytest.raises(ValueError, match="NaN"):
        hum_estimation_bound(voice * math.nan, RATE, **told)
    for orders in ((), (0,), (200,)):
        with pytest.raises(ValueError, match="give other orders"):
            hum_estimation_bound(voice, RATE, fundamental=50.0, orders=orders)
        with pytest.raises(ValueError, match="give other orders"):
            informed_smoother(voice, RATE, clean=voice, fundamental=50.0, orders=orders)
