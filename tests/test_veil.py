"Filters against their definitions, and the veil against noise that is known."

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter
from torch.autograd import gradcheck
from torch.testing import assert_close

from specdehaze.audio import Stft
from specdehaze.veil import (
    box_filter,
    estimate_veil,
    gaussian_blur,
    guided_filter,
    local_power,
    multi_scale_retinex,
    refine_veil,
    veil_error_db,
    voice_presence,
)

GRID = {"frame_rate": 125.0, "bin_hertz": 31.25}
METHODS = ("combined", "minimum", "retinex")
sizes = st.tuples(st.integers(1, 12), st.integers(1, 40))
radii = st.tuples(st.integers(0, 15), st.integers(0, 45))
seeds = st.integers(0, 2**31)


def random_image(size, seed, dtype=torch.float64):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def window(image, i, j, radius):
    return image[max(0, i - radius[0]) : i + radius[0] + 1, max(0, j - radius[1]) : j + radius[1] + 1]


def box_by_loops(image, radius):
    means = [window(image, i, j, radius).mean() for i, j in np.ndindex(image.shape)]
    return np.reshape(means, image.shape)


def guided_by_loops(guide, image, radius, epsilon):
    "He, Sun & Tang 2010: a line for each window by least squares with a price on its slope (eq. 4), then their mean."
    slopes, offsets = np.empty_like(guide), np.empty_like(guide)
    for i, j in np.ndindex(guide.shape):
        g, p = window(guide, i, j, radius).ravel(), window(image, i, j, radius).ravel()
        normal = np.array([[g @ g + epsilon * g.size, g.sum()], [g.sum(), g.size]])
        slopes[i, j], offsets[i, j] = np.linalg.solve(normal, [g @ p, p.sum()])
    return box_by_loops(slopes, radius) * guide + box_by_loops(offsets, radius)


def noise_power(seconds=5.0, rate=16000, seed=0):
    noise = torch.randn(int(seconds * rate), generator=torch.Generator().manual_seed(seed))
    return Stft(512, 128).forward(noise).abs().square()


def picture_of_levels():
    "A noisy chord in dB: steady lines 60 dB over their surroundings, offset far from zero."
    power = noise_power(1.0) + 1e6 * (torch.arange(257) % 16 == 0).float()[:, None]
    return 10 * power.log10() - 100


# Box filter


@given(sizes, radii, seeds)
def test_box_filter_is_the_mean_of_the_window(size, radius, seed):
    image = random_image(size, seed)
    assert_close(box_filter(image, radius), torch.from_numpy(box_by_loops(image.numpy(), radius)), atol=1e-10, rtol=0)


def test_box_filter_agrees_with_scipy_away_from_the_border():
    image = random_image((64, 300), 0, torch.float32)
    expected = uniform_filter(image.double().numpy(), (9, 31))[4:-4, 15:-15]
    assert_close(box_filter(image, (4, 15))[4:-4, 15:-15], torch.from_numpy(expected).float(), atol=1e-6, rtol=0)


@given(sizes, radii, st.floats(-1e6, 1e6))
def test_box_filter_keeps_a_constant(size, radius, value):
    image = torch.full(size, value, dtype=torch.float64)
    assert_close(box_filter(image, radius), image, rtol=1e-12, atol=1e-6)


@given(st.integers(0, 3), st.integers(0, 5), seeds)
def test_box_filter_keeps_the_sum_of_what_is_away_from_the_border(bins, frames, seed):
    image = torch.zeros(20, 40, dtype=torch.float64)
    image[2 * bins : 20 - 2 * bins, 2 * frames : 40 - 2 * frames] = 1
    image *= random_image((20, 40), seed)
    assert_close(box_filter(image, (bins, frames)).sum(), image.sum(), atol=1e-10, rtol=0)


def test_box_filter_beyond_the_image_is_its_mean():
    image = random_image((7, 11), 0)
    assert_close(box_filter(image, (100, 1000)), image.mean().expand(7, 11))


def test_box_filter_finds_quiet_behind_loud():
    image = torch.ones(1, 1000)
    image[:, :500] = 1e9
    assert_close(box_filter(image, (0, 3))[:, 510:], torch.ones(1, 490), atol=1e-5, rtol=0)


# Guided filter


@given(st.tuples(st.integers(2, 8), st.integers(2, 16)), st.tuples(st.integers(1, 4), st.integers(1, 6)), seeds)
def test_guided_filter_solves_its_least_squares(size, radius, seed):
    guide, image = random_image(size, seed), random_image(size, seed + 1)
    expected = guided_by_loops(guide.numpy(), image.numpy(), radius, 0.1)
    assert_close(guided_filter(guide, image, radius=radius, epsilon=0.1), torch.from_numpy(expected), atol=1e-9, rtol=0)


@pytest.mark.parametrize("epsilon", [1e-3, 1.0])
def test_guided_filter_on_decibels_in_single_precision(epsilon):
    levels = picture_of_levels()[:40, :60]
    expected = guided_by_loops(levels.double().numpy(), levels.double().numpy(), (4, 8), epsilon)
    result = guided_filter(levels, levels, radius=(4, 8), epsilon=epsilon)
    assert result.dtype == torch.float32 and levels.min() < -80
    assert_close(result.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


@given(sizes, seeds)
def test_guided_by_itself_with_a_tiny_epsilon_changes_nothing(size, seed):
    image = random_image(size, seed)
    result = guided_filter(image, image, radius=(3, 3), epsilon=1e-12)
    assert_close(result, image, atol=1e-6, rtol=0)


@given(sizes, radii, seeds)
def test_a_flat_guide_leaves_the_mean_of_box_means(size, radius, seed):
    image = random_image(size, seed)
    result = guided_filter(torch.full(size, -70.0, dtype=torch.float64), image, radius=radius)
    assert_close(result, box_filter(box_filter(image, radius), radius), atol=1e-9, rtol=0)


def test_guided_filter_is_linear_in_the_image_and_follows_an_offset_of_the_guide():
    guide, first, second = (random_image((9, 30), seed) for seed in range(3))

    def smooth(image, guide=guide):
        return guided_filter(guide, image, radius=(2, 4), epsilon=0.1)

    assert_close(smooth(2 * first + second), 2 * smooth(first) + smooth(second))
    assert_close(smooth(first, guide + 50), smooth(first))


def test_guided_filter_wants_a_positive_epsilon():
    with pytest.raises(ValueError, match="epsilon"):
        guided_filter(torch.ones(2, 2), torch.ones(2, 2), radius=(1, 1), epsilon=0.0)


# Blur and retinex


@pytest.mark.parametrize("sigma", [(0.96, 25), (2, 3), (5, 12), (7.9, 40), (16, 125), (60, 200)])
def test_gaussian_blur_agrees_with_scipy(sigma):
    power = noise_power().double()
    pair = power.numpy(), np.ones(power.shape)
    blurred, ones = (gaussian_filter(x, sigma, mode="constant", truncate=6) for x in pair)
    error_db = 10 * torch.log10(gaussian_blur(power, sigma) / torch.from_numpy(blurred / ones))
    assert error_db.square().mean().sqrt() < 0.03 and error_db.abs().max() < 0.2


@given(sizes, st.tuples(st.floats(0, 50), st.floats(0, 200)), st.floats(1e-6, 1e6))
def test_gaussian_blur_keeps_a_constant(size, sigma, value):
    image = torch.full(size, value, dtype=torch.float64)
    assert_close(gaussian_blur(image, sigma), image, rtol=1e-9, atol=0)


@given(sizes, st.tuples(st.floats(0, 20), st.floats(0, 80)), seeds)
def test_gaussian_blur_stays_within_the_image(size, sigma, seed):
    image = random_image(size, seed)
    blurred = gaussian_blur(image, sigma)
    assert blurred.min() >= image.min() - 1e-9 and blurred.max() <= image.max() + 1e-9


def test_no_blur_at_sigma_zero():
    image = random_image((6, 20), 0)
    assert_close(gaussian_blur(image, (0, 0)), image)


def test_blur_of_transposed_is_transposed_blur():
    image = random_image((40, 100), 0)
    assert_close(gaussian_blur(image.mT, (20, 3)), gaussian_blur(image, (3, 20)).mT)


def test_retinex_is_the_geometric_mean_of_blurs():
    power = noise_power(1.0)
    blurs = [gaussian_blur(power, sigma) for sigma in [(40 / 31.25, 12.5), (120 / 31.25, 37.5)]]
    light = multi_scale_retinex(power, **GRID, scales_seconds=(0.1, 0.3), scales_hertz=(40.0, 120.0))
    assert_close(light, (blurs[0] * blurs[1]).sqrt())


def test_retinex_has_no_bias_on_noise():
    power = noise_power()[4:-4, 4:-4]
    bias_db = 10 * torch.log10(multi_scale_retinex(power, **GRID) / power.mean()).mean()
    assert abs(bias_db) < 0.3  # a blur of the logarithm would have -2.5


def test_retinex_scales_are_in_seconds_and_hertz():
    "One click and one line, seen through two grids: the light at a given time and frequency is the same."
    def light(hop, n_fft):
        times, hertz = torch.arange(0, 2, hop / 16000), torch.arange(n_fft // 2 + 1) * 16000 / n_fft
        scene = 1 + torch.exp(-0.5 * ((times - 1) / 0.1) ** 2) * torch.exp(-0.5 * ((hertz - 2000) / 300) ** 2)[:, None]
        grid = {"frame_rate": 16000 / hop, "bin_hertz": 16000 / n_fft}
        return multi_scale_retinex(scene, **grid)[round(2000 * n_fft / 16000), round(16000 / hop)]

    assert_close(light(128, 512), light(80, 1024), rtol=0.01, atol=0)


# The veil


def test_local_power_is_a_box_of_the_stated_size():
    impulse = torch.zeros(65, 301)
    impulse[32, 150] = 1
    covered = local_power(impulse, **GRID) > 1e-6
    bins, frames = covered.any(1).sum().item() * 31.25, covered.any(0).sum().item() / 125
    assert abs(bins - 100) <= 31.25 and abs(frames - 0.3) <= 2 / 125


def test_veil_error_counts_decibels_down_to_its_floor():
    truth = torch.ones(4, 5)
    assert_close(veil_error_db(10 * truth, truth), torch.full((4, 5), 10.0))
    truth[0] = 1e-9
    error = veil_error_db(torch.full((4, 5), 1e-7), truth)
    assert (error[0] == 0).all() and (error[1:] < -45).all()


def test_voice_is_found_where_it_is():
    power, veil = noise_power(2.0), noise_power(60.0).mean(-1, keepdim=True).expand(257, 251)
    power[60:70, 100:120] += 100 * veil[60:70, 100:120]
    presence = voice_presence(power, veil)
    outside = torch.ones(257, 251, dtype=torch.bool)
    outside[57:73, 97:123] = False
    assert presence[60:70, 100:120].min() > 0.99 and presence[outside].mean() < 0.25


@pytest.mark.parametrize("method", METHODS)
def test_veil_of_white_noise_is_its_power(method):
    veil = estimate_veil(noise_power(seed=1), **GRID, method=method)
    truth = noise_power(60.0, seed=2)[:, 4:-4].mean(-1, keepdim=True).expand(veil.shape)
    assert abs(veil_error_db(veil, truth)[4:-4, 4:-4].mean()) < 0.6


def test_refining_halves_the_scatter_of_the_minimum():
    power = noise_power(seed=1)
    truth = noise_power(60.0, seed=2)[:, 4:-4].mean(-1, keepdim=True).expand(power.shape)
    scatter = {method: veil_error_db(estimate_veil(power, **GRID, method=method), truth).std() for method in METHODS}
    assert scatter["combined"] < 0.6 * scatter["minimum"]


def test_a_voice_over_noise_does_not_lift_the_veil():
    "A vowel of steady harmonics, on for half a second in every second, 20 dB over the noise."
    noise = torch.randn(80000, generator=torch.Generator().manual_seed(0))
    time_axis = torch.arange(80000) / 16000
    vowel = sum(torch.sin(2 * math.pi * 150 * k * time_axis) for k in range(1, 20)) * ((time_axis % 1) < 0.5)
    power = Stft().forward(0.1 * noise + vowel).abs().square()
    truth = local_power(Stft().forward(0.1 * noise).abs().square(), **GRID)
    veils = {method: estimate_veil(power, **GRID, method=method) for method in METHODS}
    errors = {method: veil_error_db(veil, truth).abs().mean() for method, veil in veils.items()}
    assert errors["combined"] < 1.5 and errors["retinex"] > 4 * errors["combined"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gain", [1e-8, 1e8])
def test_veil_scales_with_the_power(method, gain):
    power = noise_power(1.0)
    scaled = estimate_veil(gain * power, **GRID, method=method) / gain
    assert_close(scaled, estimate_veil(power, **GRID, method=method), rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_as_good_as_one_by_one(method):
    batch = torch.stack([noise_power(1.0, seed=seed) * 100**seed for seed in range(4)]).reshape(2, 2, 257, -1)
    single = [estimate_veil(power, **GRID, method=method) for power in batch.flatten(0, 1)]
    assert_close(estimate_veil(batch, **GRID, method=method).flatten(0, 1), torch.stack(single), rtol=1e-5, atol=0)


def test_filters_work_on_batches():
    batch, guide = random_image((3, 2, 9, 30), 0), random_image((9, 30), 1)
    flat = list(batch.flatten(0, 1))
    for smooth in (
        lambda x: box_filter(x, (2, 5)),
        lambda x: gaussian_blur(x, (2, 9)),
        lambda x: guided_filter(guide, x, radius=(2, 5)),
        lambda x: guided_filter(x, x, radius=(2, 5)),
    ):
        assert_close(smooth(batch).flatten(0, 1), torch.stack([smooth(x) for x in flat]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_short_clips(method, frames):
    veil = estimate_veil(noise_power()[:, 100 : 100 + frames], **GRID, method=method)
    assert veil.shape == (257, frames) and veil.isfinite().all() and (veil >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_digital_silence_has_no_veil(method):
    power = noise_power(4.0)
    assert estimate_veil(torch.zeros_like(power), **GRID, method=method).max() < 1e-30
    power[:, 200:] = 0
    veil = estimate_veil(power, **GRID, method=method)
    assert veil.isfinite().all() and (veil >= 0).all() and veil[:, 450:].max() < 1e-3 * power[:, :200].mean()


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="smoke"):
        estimate_veil(torch.ones(4, 4), **GRID, method="smoke")


# Derivatives and speed


@pytest.mark.parametrize(
    "function",
    [
        lambda x: box_filter(x, (1, 3)),
        lambda x: guided_filter(x, x.square(), radius=(1, 3), epsilon=0.1),
        lambda x: gaussian_blur(x, (1, 9)),
        lambda x: multi_scale_retinex(x.exp(), frame_rate=10.0, bin_hertz=100.0),
        lambda x: refine_veil(x.exp(), (0.5 * x).exp(), frame_rate=125.0, bin_hertz=31.25),
    ],
    ids=["box", "guided", "gaussian", "retinex", "refine"],
)
def test_gradients(function):
    assert gradcheck(function, (random_image((4, 10), 0).requires_grad_(),))


def shortest(*functions, repeats=15):
    "The processor seconds of each function's quickest run; they take turns, so that a busy machine is busy for all."
    seconds = [math.inf] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.thread_time()
            function()
            seconds[i] = min(seconds[i], time.thread_time() - start)
    return seconds


def test_veil_is_fast():
    power = noise_power()
    assert power.shape == (257, 626) and torch.get_num_threads() == 1
    assert shortest(lambda: estimate_veil(power, **GRID))[0] < 0.5  # about 0.008 on an idle machine


@pytest.mark.parametrize("function", [box_filter, gaussian_blur])
def test_a_wide_window_costs_what_a_narrow_one_does(function):
    image = random_image((257, 626), 0, torch.float32)
    narrow, wide = shortest(lambda: function(image, (2, 2)), lambda: function(image, (60, 150)))
    assert wide < 20 * narrow  # 1.4 and 0.2 times as long; sums over the window itself take up to 1500 times as long
