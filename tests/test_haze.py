"The haze equation, the veil estimate and the gains, against loops, scipy and simulation."

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import minimum_filter
from scipy.special import exp1

from specdehaze.audio import Stft
from specdehaze.haze import (
    add_haze,
    dark_channel,
    decision_directed_snr,
    degrees_of_freedom,
    estimate_airlight,
    estimate_transmission,
    exponential_integral,
    log_spectral_rule,
    minimum_bias,
    minimum_statistics,
    mmse_lsa_gain,
    posterior_ratio,
    recover_scene,
    sliding_minimum,
    spectral_gate,
    wiener_gain,
    wiener_rule,
)

GAINS = [wiener_gain, mmse_lsa_gain, spectral_gate]
each_gain = pytest.mark.parametrize("gain", GAINS, ids=lambda gain: gain.__name__)


def random(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def noise_spectrogram(*shape: int, seed: int = 0) -> torch.Tensor:
    "Squared magnitudes of complex Gaussian noise of mean power 1: independent, exponentially distributed."
    return -torch.log1p(-random(*shape, seed=seed, dtype=torch.float64)).float()


# Pictures

@pytest.mark.parametrize("patch", [1, 3, 7, 15])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (20, 13)])
def test_dark_channel_is_the_minimum_over_patch_and_colours(patch, size):
    image = random(3, *size)
    reach, expected = patch // 2, torch.empty(size)
    for row in range(size[0]):
        for column in range(size[1]):
            rows = slice(max(row - reach, 0), row + reach + 1)
            expected[row, column] = image[:, rows, max(column - reach, 0) : column + reach + 1].min()
    assert torch.equal(dark_channel(image, patch), expected)


def test_dark_channel_equals_scipy_on_a_batch_of_pictures():
    images = random(2, 2, 3, 40, 50)
    expected = minimum_filter(images.amin(-3).numpy(), size=(1, 1, 15, 15), mode="nearest")
    np.testing.assert_array_equal(dark_channel(images).numpy(), expected)


@pytest.mark.parametrize("patch", [0, 2, -3])
def test_dark_channel_wants_a_patch_with_a_middle(patch):
    with pytest.raises(ValueError, match="odd"):
        dark_channel(random(3, 8, 8), patch)


def test_airlight_is_the_brightest_of_the_haziest_pixels():
    image, dark = random(3, 30, 30), random(30, 30, seed=1)
    haziest = np.argsort(dark.numpy().ravel())[-9:]  # 1 % of 900
    candidates = image.reshape(3, -1)[:, haziest.copy()]
    expected = candidates[:, candidates.sum(0).argmax()]
    assert torch.equal(estimate_airlight(image, dark, share=0.01), expected)
    batch = estimate_airlight(torch.stack([image, 1 - image]), torch.stack([dark, dark]), share=0.01)
    assert torch.equal(batch[0], expected) and not torch.equal(batch[1], expected)


@given(st.integers(0, 10**6), st.floats(0.1, 1), st.floats(0.2, 1))
def test_scene_comes_back_when_transmission_and_airlight_are_known(seed, thinnest, brightness):
    scene = random(2, 3, 6, 5, seed=seed, dtype=torch.float64)
    transmission = thinnest + (1 - thinnest) * random(2, 6, 5, seed=seed + 1, dtype=torch.float64)
    airlight = brightness * random(2, 3, seed=seed + 2, dtype=torch.float64)
    hazy = add_haze(scene, transmission, airlight)
    torch.testing.assert_close(recover_scene(hazy, transmission, airlight), scene, atol=1e-12, rtol=0)
    low, high = torch.minimum(scene, airlight[..., None, None]), torch.maximum(scene, airlight[..., None, None])
    assert ((hazy >= low - 1e-12) & (hazy <= high + 1e-12)).all()  # haze mixes, it invents nothing


def test_transmission_is_exact_where_the_dark_channel_prior_holds():
    scene = random(3, 40, 40)
    scene[0] = 0  # no pixel has any red
    airlight = torch.tensor([0.8, 0.9, 1.0])
    hazy = add_haze(scene, torch.full((40, 40), 0.4), airlight)
    transmission = estimate_transmission(hazy, airlight, strength=1.0)
    torch.testing.assert_close(transmission, torch.full((40, 40), 0.4), atol=1e-6, rtol=0)


def test_recovery_does_not_trust_a_transmission_below_the_floor():
    hazy, airlight = random(3, 4, 4), torch.ones(3)
    at_floor = recover_scene(hazy, torch.full((4, 4), 0.2), airlight)
    assert torch.equal(recover_scene(hazy, torch.zeros(4, 4), airlight, floor=0.2), at_floor)


# The veil of a spectrogram

@given(st.integers(1, 60), st.integers(0, 10**6), st.data())
def test_sliding_minimum_equals_its_definition(length, seed, data):
    values = random(2, length, seed=seed)
    width = data.draw(st.integers(1, length))
    expected = values.unfold(-1, width, 1).amin(-1)
    assert torch.equal(sliding_minimum(values, width), expected)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75, 0.875])
@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_degrees_of_freedom_follow_from_the_autocorrelation_of_the_window(frames, overlap):
    n_fft = 512
    window = np.hanning(n_fft + 1)[:-1]
    variance = 0.0
    for one in range(frames):
        for other in range(frames):
            shift = round(abs(one - other) * n_fft * (1 - overlap))
            shared = window[shift:] @ window[: n_fft - shift] if shift < n_fft else 0.0
            variance += (shared / (window @ window)) ** 2 / frames**2
    assert degrees_of_freedom(frames, overlap) == pytest.approx(2 / variance, rel=1e-4)


def test_degrees_of_freedom_grow_by_a_steady_amount_for_long_averages():
    per_frame = degrees_of_freedom(math.inf, 0.75)
    assert degrees_of_freedom(10**5, 0.75) / 10**5 == pytest.approx(per_frame, rel=1e-4)
    assert degrees_of_freedom(math.inf, 0.0) == 2


@pytest.mark.parametrize(("smoothing", "overlap"), [(1, 0.0), (8, 0.5), (25, 0.75)])
def test_minimum_of_one_needs_no_correction_and_of_more_needs_more(smoothing, overlap):
    biases = [minimum_bias(smoothing, window, overlap) for window in (1, 10, 100, 400)]
    assert biases[0] == pytest.approx(1, abs=1e-3)
    assert biases == sorted(biases) and biases[-1] > 1.3


@pytest.mark.parametrize("level_db", [0, -90])
@pytest.mark.parametrize("windows", [(1.5, 0.2), (0.5, 0.1), (3.0, 0.1), (0.8, 0.05), (1.0, 0.3), (0.3, 0.2)])
@pytest.mark.parametrize("frame", [(512, 128), (512, 256), (1024, 256), (512, 64), (256, 128)])
def test_white_noise_comes_out_unbiased(frame, windows, level_db):
    white = torch.randn(20 * 16000) * 10 ** (level_db / 20)
    power = Stft(*frame).forward(white).abs().square()[4:-4, 4:-4]
    estimate = minimum_statistics(
        power, frame_rate=16000 / frame[1], window_seconds=windows[0], smoothing_seconds=windows[1],
        overlap=1 - frame[1] / frame[0],
    )
    assert abs(10 * torch.log10(estimate.mean() / power.mean())) < 0.5


def test_minimum_statistics_equals_its_definition():
    power, frame_rate = noise_spectrogram(3, 200), 50.0
    estimate = minimum_statistics(power, frame_rate=frame_rate, window_seconds=1.0, smoothing_seconds=0.2)
    averages = [power[:, i : i + 10].mean(-1) for i in range(191)]
    minima = [torch.stack(averages[i : i + 50]).amin(0) for i in range(142)]
    expected = torch.stack([minima[0]] * 29 + minima + [minima[-1]] * 29, -1) * minimum_bias(10, 50, 0.75)
    torch.testing.assert_close(estimate, expected)


def test_minimum_statistics_sees_the_noise_between_bursts():
    power = noise_spectrogram(64, 1000)
    loud = power.clone()
    loud[:, torch.arange(1000) % 100 < 60] *= 1e4  # 40 dB bursts, 0.6 s of every 1 s
    estimate = minimum_statistics(loud, frame_rate=100.0, overlap=0.0)
    assert abs(10 * torch.log10(estimate.mean())) < 2


def test_minimum_statistics_follows_a_veil_that_changes():
    power = noise_spectrogram(64, 2000)
    power[:, 1000:] *= 100
    estimate = minimum_statistics(power, frame_rate=100.0, overlap=0.0)
    assert abs(10 * torch.log10(estimate[:, :900].mean())) < 0.5
    assert abs(10 * torch.log10(estimate[:, 1100:].mean() / 100)) < 0.5


@pytest.mark.parametrize("shape", [(5, 0), (5, 1), (5, 7), (2, 5, 30), (2, 3, 5, 400)])
def test_minimum_statistics_keeps_every_shape(shape):
    power = noise_spectrogram(*shape)
    estimate = minimum_statistics(power, frame_rate=125.0)
    assert estimate.shape == power.shape and torch.isfinite(estimate).all()
    if len(shape) > 2:
        torch.testing.assert_close(estimate[1], minimum_statistics(power[1], frame_rate=125.0))


def test_minimum_statistics_lets_gradients_through():
    power = noise_spectrogram(4, 60).requires_grad_()
    minimum_statistics(power, frame_rate=50.0, window_seconds=0.5).sum().backward()
    assert torch.isfinite(power.grad).all() and power.grad.abs().sum() > 0


# The gains

def test_exponential_integral_equals_scipy():
    x = torch.logspace(-8, 1.9, 2000, dtype=torch.float64)
    torch.testing.assert_close(exponential_integral(x), torch.from_numpy(exp1(x.numpy())), atol=5e-7, rtol=1e-6)


def test_log_spectral_rule_equals_its_formula():
    prior, posterior = torch.meshgrid(torch.logspace(-3, 4, 60), torch.logspace(-4, 5, 60), indexing="ij")
    share = (prior / (1 + prior)).double().numpy()
    expected = np.minimum(share * np.exp(exp1(share * posterior.double().numpy()) / 2), 1)
    np.testing.assert_allclose(log_spectral_rule(prior, posterior).numpy(), expected, atol=1e-5)


def test_mmse_lsa_gain_equals_the_papers_by_loops():
    noisy, noise = 3 * noise_spectrogram(4, 50), 0.5 + random(4, 50, seed=1)
    expected = np.empty((4, 50))
    for row in range(4):
        amplitude_before = None
        for frame in range(50):
            posterior = float(noisy[row, frame] / noise[row, frame])
            fresh = max(posterior - 1, 0)
            prior = fresh if amplitude_before is None else 0.98 * amplitude_before + 0.02 * fresh
            prior = max(prior, 10**-2.5)
            share = prior / (1 + prior)
            expected[row, frame] = min(share * math.exp(exp1(share * posterior) / 2), 1)
            amplitude_before = expected[row, frame] ** 2 * posterior
    np.testing.assert_allclose(mmse_lsa_gain(noisy, noise).numpy(), expected, atol=1e-3)


def test_wiener_gain_without_memory_is_one_minus_noise_over_power():
    noisy, noise = 5 * noise_spectrogram(9, 40), torch.ones(9, 40)
    gain = wiener_gain(noisy, noise, smoothing=0.0)
    expected = (1 - noise / noisy).clamp_min(10**-2.5 / (1 + 10**-2.5))
    torch.testing.assert_close(gain, expected)


def test_prior_of_a_steady_bin_settles_where_its_equation_balances():
    prior = decision_directed_snr(torch.full((1, 200), 11.0), torch.ones(1, 200), rule=wiener_rule)[0, -1].item()
    assert prior == pytest.approx(0.98 * 11 * (prior / (1 + prior)) ** 2 + 0.02 * 10, rel=1e-4)
    assert 8 < prior < 10


@pytest.mark.parametrize("radius", [(0, 0), (1, 2), (2, 0)])
def test_spectral_gate_equals_its_definition(radius):
    noisy, noise = 4 * noise_spectrogram(7, 12), 0.5 + random(7, 12, seed=1)

    def mean_around(image):
        result = torch.empty_like(image)
        for row in range(7):
            for frame in range(12):
                rows = slice(max(row - radius[0], 0), row + radius[0] + 1)
                result[row, frame] = image[rows, max(frame - radius[1], 0) : frame + radius[1] + 1].mean()
        return result

    expected = mean_around((mean_around(noisy) > 10**0.5 * mean_around(noise)).float())
    gain = spectral_gate(noisy, noise, threshold_db=5.0, radius=radius)
    torch.testing.assert_close(gain, expected)
    assert 0 < gain.mean() < 1


@each_gain
@given(st.integers(0, 10**6), st.floats(0, 0.5))
def test_gains_lie_between_floor_and_one(gain, seed, floor):
    noisy = noise_spectrogram(2, 6, 20, seed=seed) ** 4  # from silence to far above the noise
    mask = gain(noisy, random(2, 6, 20, seed=seed + 1), floor=floor)
    assert mask.shape == noisy.shape
    assert (mask >= floor - 1e-6).all() and (mask <= 1).all()


@each_gain
@given(st.integers(0, 10**6), st.integers(-40, 40))
def test_gains_do_not_change_with_the_level(gain, seed, exponent):
    noisy, noise = 4 * noise_spectrogram(6, 30, seed=seed), 0.1 + random(6, 30, seed=seed + 1)
    scaled = gain(2.0**exponent * noisy, 2.0**exponent * noise)
    torch.testing.assert_close(scaled, gain(noisy, noise), atol=1e-6, rtol=0)


@each_gain
def test_gains_take_a_recording_from_spectrogram_to_mask_at_any_level(gain):
    power = noise_spectrogram(20, 300)
    power[5:8, 100:150] *= 1e4

    def mask_at(level):
        return gain(level * power, minimum_statistics(level * power, frame_rate=125.0))

    for level in (1e-10, 1e10):
        torch.testing.assert_close(mask_at(level), mask_at(1.0), atol=1e-3, rtol=0)
    assert mask_at(1.0)[6, 110:140].min() > 0.95 and mask_at(1.0)[12].mean() < 0.5


@each_gain
def test_gains_know_silence_and_its_absence(gain):
    ones, zeros = torch.ones(5, 10), torch.zeros(5, 10)
    assert (gain(ones, zeros) > 0.999).all()  # no noise: everything passes
    assert torch.isfinite(gain(zeros, zeros)).all() and torch.isfinite(gain(zeros, ones)).all()
    assert (gain(0.1 * ones, ones) < 0.2).all()  # hardly anything but noise: hardly anything passes
    assert gain(ones[:, :0], ones[:, :0]).shape == (5, 0)


@each_gain
def test_gains_treat_channels_apart(gain):
    noisy, noise = 4 * noise_spectrogram(2, 6, 30), torch.ones(2, 6, 30)
    torch.testing.assert_close(gain(noisy, noise)[1], gain(noisy[1], noise[1]))


@pytest.mark.parametrize("gain", [wiener_gain, mmse_lsa_gain])
def test_gradients_are_finite(gain):
    noisy = (4 * noise_spectrogram(6, 30)).requires_grad_()
    gain(noisy, torch.ones(6, 30)).sum().backward()
    assert torch.isfinite(noisy.grad).all() and noisy.grad.abs().sum() > 0


def test_posterior_ratio_is_bounded():
    ratio = posterior_ratio(torch.tensor([0.0, 1.0, 2.0, 1.0]), torch.tensor([0.0, 0.0, 1.0, 1e-30]))
    assert ratio.tolist() == [0.0, 1e6, 2.0, 1e6]
