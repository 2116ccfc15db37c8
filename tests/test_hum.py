"Hum made to order, and the classical remedies."

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from specdehaze.audio import mix_at_snr
from specdehaze.evaluation import si_sdr
from specdehaze.hum import LAWS, Hum, comb_hum, harmonic_amplitudes, least_squares_hum, notch_hum, synthesize_hum

RATE = 16_000


def told(fundamental=50.0, harmonics=10):
    return Hum(True, fundamental, tuple(range(1, harmonics + 1)), (), math.inf)


def noise(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@given(law=st.sampled_from(sorted(LAWS)), harmonics=st.integers(2, 90))
def test_laws_peak_at_one_and_are_never_negative(law, harmonics):
    amplitudes = harmonic_amplitudes(law, harmonics)
    assert amplitudes.shape == (harmonics,)
    assert amplitudes.max() == 1 and amplitudes.min() >= 0


def test_unknown_law_names_the_known_ones():
    with pytest.raises(ValueError, match="inverse"):
        harmonic_amplitudes("loud", 3)


def test_the_even_law_hums_at_twice_the_mains():
    amplitudes = harmonic_amplitudes("even", 10)
    assert amplitudes[1] == 1 and amplitudes[::2].max() < 0.05


@given(seed=st.integers(0, 10_000), fundamental=st.floats(45, 65), harmonics=st.integers(1, 20))
def test_steady_hum_has_its_power_on_its_lines(seed, fundamental, harmonics):
    hum, path = synthesize_hum(2 * RATE, RATE, fundamental=fundamental, harmonics=harmonics, seed=seed)
    torch.testing.assert_close(path, torch.full_like(path, fundamental))
    expected = (harmonic_amplitudes("inverse", harmonics) ** 2).sum() / 2
    assert float(hum.double().square().mean() / expected) == pytest.approx(1, abs=0.05)
    phases = 2 * np.pi * fundamental * np.arange(len(hum)) / RATE
    basis = np.concatenate([np.exp(1j * k * phases)[:, None] for k in range(1, harmonics + 1)], 1)
    basis = np.concatenate([basis.real, basis.imag], 1)
    residue = hum.double().numpy() - basis @ np.linalg.lstsq(basis, hum.double().numpy(), rcond=None)[0]
    assert (residue**2).mean() < 1e-6 * float(expected)


def test_drift_and_modulation_stay_in_their_limits():
    hum, path = synthesize_hum(40 * RATE, RATE, harmonics=1, drift_hz=0.05, modulation=0.3, seed=2)
    assert 0.04 < (path - 50).abs().max() <= 0.05001
    envelope = np.abs(signal.hilbert(hum.numpy()))[RATE:-RATE]
    assert envelope.max() == pytest.approx(1.3, abs=0.02) and envelope.min() == pytest.approx(0.7, abs=0.02)


def test_same_seed_same_hum_and_another_seed_another():
    one, again, other = (synthesize_hum(RATE, RATE, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.allclose(one, other)


def test_a_clock_that_wanders_strays_with_the_root_of_time_and_leaves_other_hums_alone():
    paths = torch.stack([synthesize_hum(4001, 1000, harmonics=1, wander_hz=0.01, seed=k)[1] for k in range(300)]) - 50
    assert paths[:, 0].abs().max() < 1e-4
    assert float(paths[:, 1000].std()) == pytest.approx(0.01, rel=0.15)
    assert float(paths[:, 4000].std()) == pytest.approx(0.02, rel=0.15)
    still, again = (synthesize_hum(4000, 1000, seed=3, **more)[0] for more in ({}, {"wander_hz": 0.0}))
    assert torch.equal(still, again)


def test_harmonics_above_the_nyquist_frequency_are_left_out():
    hum, _ = synthesize_hum(8000, 8000, harmonics=200, law="flat", seed=0)
    spectrum = torch.fft.rfft(hum.double() * torch.hann_window(8000, dtype=torch.float64)).abs()
    assert spectrum[3950:].max() < 1e-3 * spectrum.max()


def test_notch_equals_scipy_and_spares_what_is_between():
    hum, voice = told(harmonics=1), noise(RATE)
    expected = signal.filtfilt(*signal.iirnotch(50.0, 30.0, fs=RATE), voice.double().numpy(), padlen=6)
    np.testing.assert_allclose(notch_hum(voice, RATE, hum).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("remove", [notch_hum, comb_hum, least_squares_hum])
def test_remedies_take_out_a_steady_hum(remove):
    hum, _ = synthesize_hum(4 * RATE, RATE, seed=3)
    left = remove(hum, RATE, told())[RATE:-RATE]
    assert left.square().mean() < 1e-3 * hum.square().mean()


def test_least_squares_is_exact_for_a_steady_hum_in_silence():
    hum, _ = synthesize_hum(RATE, RATE, harmonics=20, seed=4)
    assert least_squares_hum(hum, RATE, told(harmonics=20)).abs().max() < 1e-5


def test_least_squares_in_noise_leaves_what_theory_says():
    "The fit of 2K sines keeps 2K of the n degrees of freedom of white noise."
    errors = []
    for seed in range(40):
        clean = noise(4000, seed)
        noisy, _ = mix_at_snr(clean, synthesize_hum(4000, RATE, harmonics=10, seed=seed)[0], 0.0)
        errors.append(float((least_squares_hum(noisy, RATE, told()) - clean).square().mean()))
    assert np.mean(errors) == pytest.approx(0.01 * 20 / 4000, rel=0.15)


@pytest.mark.parametrize("remove", [notch_hum, comb_hum, least_squares_hum])
@pytest.mark.parametrize("samples", [0, 1, 2, 7, 100])
def test_remedies_take_clips_of_any_length_and_many_channels(remove, samples):
    clip = noise(2 * 3 * samples).reshape(2, 3, samples)
    cleaned = remove(clip, RATE, told())
    assert cleaned.shape == clip.shape and cleaned.dtype == clip.dtype and cleaned.isfinite().all()
    for row, alone in zip(cleaned.reshape(6, samples), clip.reshape(6, samples)):
        torch.testing.assert_close(row, remove(alone, RATE, told()))


def test_a_notch_at_the_wrong_mains_hardly_helps():
    voice = noise(4 * RATE)
    noisy, _ = mix_at_snr(voice, synthesize_hum(4 * RATE, RATE, harmonics=4, seed=5)[0], 0.0)
    right, wrong = (float(si_sdr(notch_hum(noisy, RATE, told(f, 4)), voice)) for f in (50.0, 60.0))
    assert right > 10 and wrong < 1


def test_the_level_of_a_hum_is_that_of_all_its_harmonics():
    assert Hum(True, 50.0, (1, 2), (-40.0, -40.0), 99.0).level_db == pytest.approx(-36.99, abs=0.01)
    assert Hum(False, 0.0, (), (), 0.0).level_db == told().level_db == -120
    assert told().drift_hz == 0
