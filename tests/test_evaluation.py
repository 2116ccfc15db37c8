"Scores against hand computations and other libraries, and the scores that broken estimates deserve."

import math
import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import Stft, mix_at_snr, resample
from specdehaze.evaluation import (
    constant_delay,
    dnsmos,
    estoi,
    evaluate_alone,
    evaluate_pair,
    hum_line_level_db,
    log_spectral_distance,
    mean_interval,
    measure_memory,
    measure_speed,
    pause_level_db,
    pause_spectrum,
    pesq_wb,
    psnr,
    remove_delay,
    si_sdr,
    stoi,
)
from specdehaze.files import read_audio
from specdehaze.recordings import resource_folder
from specdehaze.workers import WorkerError

RATE = 16000
LISTENERS = [partial(score, sample_rate=RATE) for score in (pesq_wb, stoi, estoi)]


def random_pair(seed: int, samples: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    estimate, reference = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return estimate, reference


# SI-SDR


@pytest.mark.parametrize(("estimate", "power_ratio"), [([2, 1], 4), ([1, 1], 1), ([1, 3], 1 / 9)])
def test_si_sdr_by_hand(estimate, power_ratio):
    expected = 10 * math.log10(power_ratio)
    assert si_sdr(torch.tensor(estimate), torch.tensor([5.0, 0.0])) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_si_sdr_by_its_definition(seed):
    estimate, reference = (one.tolist() for one in random_pair(seed, 50))
    alpha = sum(e * r for e, r in zip(estimate, reference)) / sum(r * r for r in reference)
    target = sum((alpha * r) ** 2 for r in reference)
    error = sum((alpha * r - e) ** 2 for e, r in zip(estimate, reference))
    ours = si_sdr(np.array(estimate), np.array(reference))
    assert ours == pytest.approx(10 * math.log10(target / error), abs=1e-9)


@given(st.integers(0, 2**31), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_si_sdr_is_that_of_torchmetrics(seed, offset):
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    estimate, reference = random_pair(seed)
    estimate = estimate + reference + offset
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=False)
    assert si_sdr(estimate, reference) == pytest.approx(float(expected), abs=1e-5)


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.sampled_from([-1, 1]))
@settings(max_examples=20, deadline=None)
def test_si_sdr_forgives_gain_and_polarity(seed, gain, sign):
    estimate, reference = random_pair(seed)
    assert si_sdr(sign * gain * estimate, reference) == pytest.approx(si_sdr(estimate, reference), abs=1e-8)


def test_si_sdr_of_extremes(voice):
    assert si_sdr(torch.zeros_like(voice), voice) == -math.inf
    assert si_sdr(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])) == -math.inf
    assert si_sdr(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0])) == math.inf
    assert si_sdr(voice, voice) > 200


def test_si_sdr_is_not_so_kind_to_delay_and_offset(voice):
    assert si_sdr(voice.roll(16, -1), voice) < 0
    assert si_sdr(voice + 1, voice) < 0


def test_si_sdr_of_channels_is_their_mean(voice, noisy):
    half = noisy + noisy - voice
    both = si_sdr(torch.cat([noisy, half]), torch.cat([voice, voice]))
    assert both == pytest.approx((si_sdr(noisy, voice) + si_sdr(half, voice)) / 2)


# what every score refuses


@pytest.mark.parametrize("score", [si_sdr, psnr, log_spectral_distance])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_no_score(score, broken):
    estimate, reference = random_pair(0)
    estimate[7] = broken
    for pair in ((estimate, reference), (reference, estimate)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            score(*pair)


@pytest.mark.parametrize("score", [si_sdr, psnr, log_spectral_distance, *LISTENERS])
def test_other_lengths_and_empty_clips_are_refused(score):
    with pytest.raises(ValueError, match=r"\(1, 500\) and \(1, 499\)"):
        score(torch.ones(500), torch.ones(499))
    with pytest.raises(ValueError, match="empty"):
        score(torch.ones(1, 0), torch.ones(1, 0))


@pytest.mark.parametrize("measure", [dnsmos, pause_level_db])
def test_one_clip_is_checked_too(measure):
    with pytest.raises(ValueError, match="empty"):
        measure(torch.ones(0), RATE)
    with pytest.raises(ValueError, match="NaN"):
        measure(torch.full((RATE,), math.nan), RATE)


def test_silent_references_have_no_score(voice):
    silent = torch.zeros_like(voice)
    for score in (si_sdr, *LISTENERS):
        with pytest.raises(ValueError, match=r"silent|speech"):
            score(voice, silent)


@pytest.mark.filterwarnings("ignore:Not enough STFT frames:RuntimeWarning")
def test_clips_too_short_for_a_listener(voice):
    clip = voice[:, 8000:10000]
    for score in (pesq_wb, stoi, estoi):
        with pytest.raises(ValueError, match="second|0.4 s"):
            score(clip, clip, RATE)
    mostly_silent = torch.cat([clip, torch.zeros(1, 30000)], -1)
    for score in (stoi, estoi):
        for estimate in (mostly_silent, torch.zeros_like(mostly_silent)):
            with pytest.raises(ValueError, match=r"0.4 s"):
                score(estimate, mostly_silent, RATE)


def test_arrays_are_welcome(voice, noisy):
    assert si_sdr(noisy[0].numpy(), voice.numpy()) == si_sdr(noisy, voice)


# the other scores


def test_psnr_by_hand():
    reference = torch.zeros(100)
    assert psnr(reference, reference) == pytest.approx(80)
    assert psnr(reference + 0.1, reference) == pytest.approx(20, abs=1e-4)
    assert psnr(reference + 1, reference) == pytest.approx(0, abs=1e-6)


@given(st.floats(0.01, 100))
@settings(max_examples=10, deadline=None)
def test_log_spectral_distance_of_a_gain_is_the_gain(gain):
    _, reference = random_pair(3, 4000)
    distance = log_spectral_distance(gain * reference, reference, range_db=200)
    assert distance == pytest.approx(abs(20 * math.log10(gain)), abs=1e-6)


def test_log_spectral_distance_by_definition(voice, noisy):
    spectra = [Stft(512, 128).forward(clip.double())[0].abs().numpy() for clip in (noisy, voice)]
    floor = spectra[1].max() * 1e-4
    frames = []
    for ours, theirs in zip(spectra[0].T, spectra[1].T):
        difference = 20 * np.log10(np.maximum(ours, floor)) - 20 * np.log10(np.maximum(theirs, floor))
        frames.append(np.sqrt(np.mean(difference**2)))
    assert log_spectral_distance(noisy, voice) == pytest.approx(np.mean(frames))


def test_listeners_on_broken_estimates(voice, noisy):
    silent = torch.zeros_like(voice)
    assert pesq_wb(voice, voice, RATE) == pytest.approx(4.64, abs=0.01)
    assert stoi(voice, voice, RATE) == pytest.approx(1, abs=1e-6)
    assert (pesq_wb(silent, voice, RATE), stoi(silent, voice, RATE)) == (1.0, 0.0)
    assert 1 < pesq_wb(noisy, voice, RATE) < 2 and 0.5 < stoi(noisy, voice, RATE) < 0.95
    assert pesq_wb(-voice / 2, voice, RATE) > 4.5
    assert stoi(voice / 2, voice, RATE) > 0.999


def test_estoi_is_the_same_twice_and_leaves_the_dice_alone(voice, noisy):
    half = noisy.clone()
    half[:, : 2 * RATE] = 0  # here only the noise that pystoi adds is left to compare with
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert estoi(half, voice, RATE) == estoi(half, voice, RATE) < estoi(noisy, voice, RATE)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert estoi(voice, voice, RATE) == pytest.approx(1, abs=1e-6) and estoi(torch.zeros_like(voice), voice, RATE) == 0


def test_estoi_is_that_of_the_package(voice, noisy):
    from pystoi import stoi as package

    expected = package(voice[0].numpy(), noisy[0].numpy(), RATE, extended=True)
    assert estoi(noisy, voice, RATE) == pytest.approx(expected, abs=1e-6)
    both = estoi(torch.cat([noisy, torch.zeros_like(noisy)]), torch.cat([voice, voice]), RATE)
    assert both == pytest.approx(expected / 2, abs=1e-6)


def test_listeners_resample(voice, noisy):
    fast = [resample(clip, RATE, 44100) for clip in (noisy, voice)]
    assert pesq_wb(*fast, 44100) == pytest.approx(pesq_wb(noisy, voice, RATE), abs=0.05)
    assert stoi(*fast, 44100) == pytest.approx(stoi(noisy, voice, RATE), abs=0.01)


def test_dnsmos_hears_noise_and_passes_full_scale(voice, noisy):
    voice, noisy = (torch.cat([clip, clip, clip], -1)[:, :146_000] for clip in (voice, noisy))  # one window of 9.01 s
    loud = voice / voice.abs().max()
    clean, dirty = dnsmos(loud, RATE), dnsmos(noisy, RATE)
    assert set(clean) == {"overall", "signal", "background", "p808"}
    assert clean["background"] > dirty["background"] + 1 and clean["overall"] > dirty["overall"] + 0.5
    assert dnsmos(3 * loud, RATE)["overall"] == pytest.approx(clean["overall"], abs=1e-3)


# delays


@given(st.integers(0, 2**31), st.integers(-1600, 1600), st.sampled_from([-2.0, -0.01, 0.01, 50.0]))
@settings(max_examples=25, deadline=None)
def test_a_delay_is_found_in_noise_at_any_gain_and_polarity(seed, delay, gain):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(2, 8000, generator=generator)
    late = gain * remove_delay(reference + 2 * torch.randn(2, 8000, generator=generator), -delay)
    assert constant_delay(late, reference, RATE) == delay


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0])
def test_an_estimate_in_time_has_no_delay(voice, snr_db):
    for name in ("rain", "wind", "furnace"):
        noise = read_audio(resource_folder("data") / f"noise/{name}.flac", frames=voice.shape[-1])[0]
        noise = torch.nn.functional.pad(noise, (0, voice.shape[-1] - noise.shape[-1]))
        assert constant_delay(mix_at_snr(voice, noise, snr_db)[0], voice, RATE) == 0


def test_the_lag_that_is_found_has_the_best_si_sdr(voice, noisy):
    late = remove_delay(noisy, -37)
    scores = {lag: si_sdr(remove_delay(late, lag), voice) for lag in range(25, 50)}
    assert max(scores, key=scores.get) == constant_delay(late, voice, RATE) == 37


def test_no_delay_is_looked_for_past_a_tenth_of_a_second(voice):
    assert constant_delay(voice.roll(1600, -1), voice, RATE) == 1600
    assert abs(constant_delay(voice.roll(4000, -1), voice, RATE)) <= 1600


def test_short_and_silent_clips_have_a_delay_too():
    assert constant_delay(torch.zeros(100), torch.ones(100), RATE) == 0
    assert constant_delay(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]), RATE) == 2
    assert constant_delay(torch.ones(1), torch.ones(1), RATE) == 0


@given(st.integers(-12, 12))
def test_removing_a_delay_by_hand(samples):
    clip = list(range(1, 11))
    moved = [clip[i + samples] if 0 <= i + samples < 10 else 0 for i in range(10)]
    assert remove_delay(torch.tensor(clip), samples).tolist() == moved


# methods broken on purpose: what each is worth


def broken(kind, estimate):
    "An estimate as a method would give it that has one thing wrong."
    wrong = {
        "late": lambda: remove_delay(estimate, -160),
        "upside down": lambda: -estimate,
        "quiet": lambda: 0.1 * estimate,
        "silent": lambda: torch.zeros_like(estimate),
        "not a number": lambda: estimate.index_fill(-1, torch.tensor(99), math.nan),
    }
    return wrong[kind]()


@pytest.fixture(scope="module")
def good(voice, noisy):
    return voice + 0.1 * (noisy - voice)


def test_a_late_method_loses_all_until_its_delay_is_removed(voice, good):
    voice, good = (torch.nn.functional.pad(clip, (0, 200)) for clip in (voice, good))  # a pause: nothing is cut off
    late = broken("late", good)
    assert si_sdr(late, voice) < 0 < 20 < si_sdr(good, voice)
    delay = constant_delay(late, voice, RATE)
    assert delay == 160
    assert si_sdr(remove_delay(late, delay), voice) == pytest.approx(si_sdr(good, voice), abs=1e-6)
    assert stoi(remove_delay(late, delay), voice, RATE) == pytest.approx(stoi(good, voice, RATE), abs=0.005)


def test_polarity_is_forgiven_by_si_sdr_and_not_by_psnr(voice, good):
    "The scale may be negative, and only its square counts; PSNR compares samples as they are."
    flipped = broken("upside down", good)
    assert si_sdr(flipped, voice) == pytest.approx(si_sdr(good, voice), abs=1e-9)
    assert log_spectral_distance(flipped, voice) == pytest.approx(log_spectral_distance(good, voice))
    assert psnr(flipped, voice) < psnr(good, voice) - 20
    assert constant_delay(flipped, voice, RATE) == 0


def test_a_gain_is_forgiven_by_si_sdr_and_not_by_psnr(voice, good):
    quiet = broken("quiet", good)
    assert si_sdr(quiet, voice) == pytest.approx(si_sdr(good, voice), abs=1e-4)
    assert psnr(quiet, voice) < psnr(good, voice) - 15
    assert log_spectral_distance(quiet, voice) > log_spectral_distance(good, voice) + 2


def test_silence_has_the_worst_scores_there_are(voice, noisy, good):
    silent = broken("silent", good)
    row = evaluate_pair(silent, voice, noisy, RATE)
    assert (row["si_sdr"], row["si_sdr_improvement"]) == (-math.inf, -math.inf)
    assert (row["pesq_wb"], row["stoi"], row["estoi"]) == (1.0, 0.0, 0.0)
    assert row["psnr"] == pytest.approx(-10 * math.log10(float(voice.double().square().mean()) + 1e-8))
    others = evaluate_pair(good, voice, noisy, RATE)
    heard = {"pesq_wb", "stoi", "estoi", "dnsmos_overall", "dnsmos_signal", "dnsmos_background", "dnsmos_p808"}
    assert set(row) == heard | {"si_sdr", "si_sdr_improvement", "psnr", "log_spectral_distance"}
    assert row["log_spectral_distance"] > others["log_spectral_distance"] + 10
    assert all(row[name] < others[name] for name in row if name != "log_spectral_distance")


def test_not_a_number_is_an_error_and_never_a_score(voice, noisy, good):
    wrong = broken("not a number", good)
    for listeners in (True, False):
        with pytest.raises(ValueError, match="NaN or infinity"):
            evaluate_pair(wrong, voice, noisy, RATE, listeners=listeners)
    with pytest.raises(ValueError, match="NaN or infinity"):
        constant_delay(wrong, voice, RATE)


# pauses and hum


def test_pause_level_finds_the_pause():
    generator = torch.Generator().manual_seed(0)
    clip = 0.01 * torch.randn(1, 2 * RATE, generator=generator)
    clip[:, :RATE] += torch.randn(1, RATE, generator=generator).clamp(-0.9, 0.9)
    assert pause_level_db(clip, RATE) == pytest.approx(-40, abs=0.4)
    assert pause_level_db(torch.zeros(100), RATE) == -120


def test_pause_level_ignores_digital_silence_in_the_recording_but_not_in_the_estimate():
    clip = 0.01 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    clip[:, : RATE // 2] = 0
    assert pause_level_db(clip, RATE) == pytest.approx(-40, abs=0.4)
    assert pause_level_db(torch.zeros_like(clip), RATE, like=clip) == -120


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("fundamental", [49.93, 60.0])
def test_hum_lines_have_their_level(rate, fundamental):
    time = torch.arange(3 * rate, dtype=torch.float64) / rate
    lines = {1: 0.02, 2: 0.005, 7: 0.01}
    hum = sum(a * torch.sin(2 * math.pi * k * fundamental * time + k) for k, a in lines.items())
    floor = 1e-4 * torch.randn(time.shape, generator=torch.Generator().manual_seed(1))
    expected = 10 * math.log10(sum(a**2 / 2 for a in lines.values()))
    assert hum_line_level_db(hum + floor, rate, fundamental, tuple(lines)) == pytest.approx(expected, abs=0.15)


def test_hum_lines_under_the_floor_count_a_tenth_of_it():
    floor = 0.01 * torch.randn(20 * RATE, generator=torch.Generator().manual_seed(1))
    level = hum_line_level_db(floor, RATE, 50.0, (1, 2, 3, 4, 5))
    in_their_bins = 10 * math.log10(1e-4 * 25 * 5 / (RATE / 2))
    assert in_their_bins - 13 < level < in_their_bins - 3
    assert hum_line_level_db(torch.zeros(RATE), RATE, 50.0, (1,)) == -120


def test_hum_lines_are_seen_under_a_voice(voice):
    time = torch.arange(voice.shape[-1]) / RATE
    hum = sum(0.01 * 2**0.5 * torch.sin(2 * math.pi * 50 * k * time + k) for k in (1, 3, 5))
    assert hum_line_level_db(voice + hum, RATE, 50.0, (1, 3, 5)) == pytest.approx(-35.23, abs=1)
    assert hum_line_level_db(voice, RATE, 50.0, (1, 3, 5), like=voice + hum) < -45


def test_harmonics_past_the_top_are_left_out_and_short_clips_refused():
    tone = torch.sin(2 * math.pi * 50 * torch.arange(8000) / 8000)
    assert hum_line_level_db(tone, 8000, 50.0, (1, 500)) == pytest.approx(hum_line_level_db(tone, 8000, 50.0, (1,)))
    with pytest.raises(ValueError, match="1000 samples"):
        hum_line_level_db(tone[:1000], 8000, 50.0, (1,))


def test_pause_spectrum_adds_up_to_the_power():
    noise = 0.1 * torch.randn(2, 10 * RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    frequencies, power = pause_spectrum(noise, RATE, window_seconds=0.1, share=1.0)
    assert frequencies[1] == pytest.approx(10) and frequencies[-1] == RATE / 2
    assert float(power.sum()) == pytest.approx(0.01, rel=0.01)


# rows, speed, means and tables


def test_rows(voice, noisy):
    quick = evaluate_pair(voice + 0.01, voice, noisy, RATE, listeners=False)
    assert set(quick) == {"si_sdr", "si_sdr_improvement", "psnr", "log_spectral_distance"}
    assert quick["si_sdr_improvement"] == pytest.approx(quick["si_sdr"] - si_sdr(noisy, voice))
    hum = SimpleNamespace(present=True, fundamental=50.0, harmonics=(1, 2))
    alone = evaluate_alone(noisy, 0.1 * noisy, RATE, hum=hum, listeners=False)
    assert set(alone) == {f"{kind}_level_{when}" for kind in ("pause", "hum") for when in ("before", "after")}
    for kind in ("pause", "hum"):
        assert alone[f"{kind}_level_before"] - alone[f"{kind}_level_after"] == pytest.approx(20, abs=1e-3)
    hum.present = False
    assert "hum_level_before" not in evaluate_alone(noisy, noisy, RATE, hum=hum, listeners=False)
    with pytest.raises(ValueError, match="same channels and samples"):
        evaluate_alone(noisy, noisy[:, 1:], RATE, listeners=False)


def test_speed_counts_the_best_call_on_one_thread():
    threads, seen = torch.get_num_threads(), []

    def method(waveform, sample_rate):
        seen.append((torch.get_num_threads(), sample_rate))
        torch.zeros(1).sum()

    assert 0 < measure_speed(method, torch.zeros(2, RATE), RATE, repeats=2) < 10
    assert seen == [(1, RATE)] * 3 and torch.get_num_threads() == threads

    def broken(waveform, sample_rate):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        measure_speed(broken, torch.zeros(RATE), RATE)
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="reads /proc")
def test_memory_is_that_of_the_call():
    "Fifty million bytes are needed for a moment, and count; what the caller holds does not."
    ballast = torch.ones(30_000_000)
    hungry = measure_memory(lambda clip, rate: torch.ones(12_500_000).sum(), torch.zeros(RATE), RATE)
    assert 48 < hungry < 65 and len(ballast)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="reads /proc")
def test_memory_of_methods_that_fail():
    def refuses(waveform, sample_rate):
        raise KeyError("no such weights")

    with pytest.raises(KeyError, match="no such weights"):
        measure_memory(refuses, torch.zeros(RATE), RATE)
    with pytest.raises(WorkerError, match="memory ran out"):
        measure_memory(lambda clip, rate: os._exit(1), torch.zeros(RATE), RATE)


def test_mean_interval():
    values = np.random.default_rng(0).normal(10, 2, 400)
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    assert (high - low) == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
    assert mean_interval(values) == mean_interval(values) != mean_interval(values, seed=1)
    assert mean_interval([3.0]) == (3.0, 3.0, 3.0)
    assert mean_interval([-math.inf, 1.0])[0] == -math.inf
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(ValueError):
            mean_interval(bad)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    intervals = [mean_interval(random.normal(0, 1, 30), draws=500) for _ in range(200)]
    assert 0.88 < np.mean([low <= 0 <= high for _, low, high in intervals]) < 0.98
