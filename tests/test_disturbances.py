"Disturbances against their definitions: slopes, decays, seams, pauses, phases and times."

import math
from random import Random

import numpy as np
import pytest
import torch
from fake_sources import made_voice
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve, welch

from specdehaze.disturbances import (
    coloured_noise,
    draw_hum,
    extend_hum,
    find_pauses,
    join_in_phase,
    late_echo,
    make_loop,
    mix_crowd,
    room_response,
    type_keys,
)
from specdehaze.hum import LAWS, synthesize_hum
from specdehaze.recordings import cut_loop

RATE = 16000
seeds = st.integers(0, 2**31 - 1)


def rms(sound) -> float:
    return float(sound.double().square().mean().sqrt())


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0, 2.0, 6.0])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_power_changes_by_so_much_an_octave(slope, rate):
    noise = coloured_noise(20 * rate, rate, slope_db=slope, seed=3).numpy()
    frequencies, power = welch(noise, rate, nperseg=4096)
    inside = (frequencies > 100) & (frequencies < 0.45 * rate)
    fit = np.polyfit(np.log2(frequencies[inside]), 10 * np.log10(power[inside]), 1)
    assert abs(fit[0] - slope) < 0.15


def test_power_stays_level_below_the_lowest_frequency():
    noise = coloured_noise(40 * RATE, RATE, slope_db=-6, lowest=200, seed=1).numpy()
    frequencies, power = welch(noise, RATE, nperseg=8192)
    low, high = (10 * np.log10(power[(frequencies > a) & (frequencies < b)].mean()) for a, b in ((20, 60), (120, 180)))
    assert abs(low - high) < 0.7


@given(st.integers(1, 4000), st.floats(-12, 12), seeds)
def test_noise_is_finite_as_long_as_asked_and_of_its_seed(samples, slope, seed):
    noise = coloured_noise(samples, RATE, slope_db=slope, seed=seed)
    assert noise.shape == (samples,) and noise.dtype == torch.float32 and noise.isfinite().all()
    assert abs(rms(noise) - 1) < 1e-3
    assert torch.equal(noise, coloured_noise(samples, RATE, slope_db=slope, seed=seed))
    assert samples < 8 or not torch.equal(noise, coloured_noise(samples, RATE, slope_db=slope, seed=seed + 1))


@given(st.integers(1, 500), st.integers(0, 400))
def test_a_loop_leads_from_its_end_into_its_beginning(samples, overlap):
    noise = torch.arange(1.0, samples + 1)  # a ramp: a seam without a step goes on by one
    loop = make_loop(noise, overlap)
    taken = min(overlap, samples // 2)
    assert len(loop) == samples - taken and loop.isfinite().all()
    assert torch.equal(loop[taken:], noise[taken : samples - taken])
    if taken:
        angle = (0.5 / taken) * math.pi / 2
        expected = float(noise[-taken]) * math.cos(angle) + float(noise[0]) * math.sin(angle)
        assert float(loop[0]) == pytest.approx(expected, rel=1e-5)


def test_power_of_a_loop_is_even_across_the_seam():
    powers = torch.zeros(2)
    for seed in range(300):
        loop = make_loop(coloured_noise(2000, RATE, seed=seed), 400)
        powers += torch.stack([loop[:400].square().mean(), loop[400:].square().mean()]) / 300
    assert abs(float(10 * (powers[0] / powers[1]).log10())) < 0.2


def test_a_loop_of_coloured_noise_has_no_step():
    loop = make_loop(coloured_noise(RATE, RATE, slope_db=-6, seed=2), RATE // 10)
    twice = cut_loop(loop, 0, 2 * len(loop))
    step = (twice[len(loop)] - twice[len(loop) - 1]).abs()
    assert step < 5 * twice.diff().square().mean().sqrt()


@given(seeds, st.integers(1, 40000))
@settings(max_examples=25)
def test_typing_is_of_its_dice_and_as_long_as_asked(seed, samples):
    clicks = [torch.ones(100), torch.full((300,), 2.0)]
    typed = type_keys(clicks, samples, RATE, Random(seed))
    assert typed.shape == (samples,) and typed.isfinite().all()
    assert torch.equal(typed, type_keys(clicks, samples, RATE, Random(seed)))


def test_keys_come_every_tenth_to_third_of_a_second_with_pauses_to_think():
    typed = type_keys([torch.ones(1)], 400 * RATE, RATE, Random(5))
    places = typed.nonzero().flatten()
    gaps, strengths = places.diff() / RATE, 20 * typed[places].log10()
    assert places[0] <= 0.3 * RATE
    quick = (gaps > 0.0999) & (gaps < 0.3001)
    thinking = (gaps > 0.4999) & (gaps < 1.2001)
    assert (quick | thinking).all() and 0.06 < thinking.double().mean() < 0.14
    assert strengths.min() >= -6.001 and strengths.max() <= 0.001 and strengths.std() > 1


def test_a_key_at_the_end_is_cut_and_all_keys_are_used():
    clicks = [torch.full((5000,), float(10**k)) for k in range(3)]
    typed = type_keys(clicks, 20 * RATE, RATE, Random(1))
    assert {int(math.log10(value) + 0.35) for value in typed[typed > 0].tolist()} >= {0, 1, 2}
    assert type_keys([torch.ones(5000)], 3000, RATE, Random(1)).shape == (3000,)
    with pytest.raises(ValueError, match="at least one click"):
        type_keys([], RATE, RATE, Random(0))


def test_each_voice_of_a_crowd_counts_as_much():
    time = torch.arange(4 * RATE) / RATE
    loudness = {300: 1.0, 700: 0.01, 1100: 0.3}
    voices = [scale * torch.sin(2 * torch.pi * hertz * time) for hertz, scale in loudness.items()]
    crowd = mix_crowd(voices, 4 * RATE, Random(0))
    power = torch.fft.rfft(crowd.double()).abs().square() / len(crowd) ** 2 * 2
    shares = [float(power[4 * hertz - 8 : 4 * hertz + 9].sum()) for hertz in loudness]
    assert shares == pytest.approx([1 / 3] * 3, rel=0.02) and rms(crowd) == pytest.approx(1, abs=0.01)


@given(st.integers(1, 6), st.integers(1, 3000), seeds)
@settings(max_examples=25)
def test_a_crowd_is_of_its_dice_and_as_long_as_asked(count, samples, seed):
    voices = [made_voice(0.1 + 0.05 * number, number) for number in range(count)]
    crowd = mix_crowd(voices, samples, Random(seed))
    assert crowd.shape == (samples,) and crowd.isfinite().all()
    assert torch.equal(crowd, mix_crowd(voices, samples, Random(seed)))


def test_a_crowd_of_nobody_and_of_the_silent():
    with pytest.raises(ValueError, match="at least one voice"):
        mix_crowd([], RATE, Random(0))
    assert not mix_crowd([torch.zeros(100)], RATE, Random(0)).any()


@pytest.mark.parametrize("reverberation_time", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_room_decays_by_sixty_decibels_in_its_time(reverberation_time, rate):
    measured = []
    for seed in range(5):
        response = room_response(rate, reverberation_time=reverberation_time, seed=seed).double()
        left = 10 * response.square().flip(0).cumsum(0).flip(0).log10()  # Schroeder 1965
        start, stop = int(0.055 * rate), int((0.055 + reverberation_time / 4) * rate)
        slope = np.polyfit(np.arange(start, stop) / rate, left[start:stop].numpy(), 1)[0]
        measured.append(-60 / slope)
        assert response.square().sum() == pytest.approx(1, abs=1e-5)
        assert not response[: int(0.05 * rate)].any()
    assert np.mean(measured) == pytest.approx(reverberation_time, rel=0.08)


def test_a_room_without_anything_late_is_refused():
    with pytest.raises(ValueError, match="larger room"):
        room_response(RATE, reverberation_time=0.04)


@given(st.integers(1, 300), st.integers(1, 400), seeds)
def test_the_echo_is_the_convolution(samples, length, seed):
    generator = torch.Generator().manual_seed(seed)
    clean, response = torch.randn(samples, generator=generator), torch.randn(length, generator=generator)
    expected = fftconvolve(clean.double().numpy(), response.double().numpy())[:samples]
    np.testing.assert_allclose(late_echo(clean, response).numpy(), expected, atol=1e-4)


@given(seeds)
def test_a_drawn_hum_is_of_the_mains_and_can_be_made(seed):
    drawn = draw_hum(Random(seed))
    assert drawn == draw_hum(Random(seed))
    assert min(abs(drawn["fundamental"] - mains) for mains in (50, 60)) <= 0.2
    assert drawn["law"] in LAWS and drawn["law"] != "flat"
    assert 3 <= drawn["harmonics"] <= 80 and 0 <= drawn["drift_hz"] <= 0.1 and 0 <= drawn["modulation"] <= 0.5
    hum, _ = synthesize_hum(800, 8000, **drawn)
    assert hum.isfinite().all() and hum.any()


def test_half_of_the_drawn_hums_are_steady_in_pitch_or_nearly_so():
    dice = Random(0)
    drawn = [draw_hum(dice) for _ in range(1000)]
    assert 0.35 < sum(hum["drift_hz"] == 0 for hum in drawn) / 1000 < 0.45
    assert 0.4 < sum(hum["fundamental"] < 55 for hum in drawn) / 1000 < 0.6
    assert len({hum["seed"] for hum in drawn}) == 1000


def words_over_hum(rate: int, seed: int, fundamental: float = 50.0):
    "Words with gaps of 0.8 s over a hum, the hum alone, and where the words are."
    samples = 8 * rate
    time = torch.arange(samples) / rate
    hum, _ = synthesize_hum(samples, rate, fundamental=fundamental, law="odd", harmonics=9, seed=seed)
    words = (time % 1.6) < 0.8
    voice = 0.2 * coloured_noise(samples, rate, slope_db=-3, seed=seed) * words
    return voice + 0.02 * hum, 0.02 * hum, words


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pauses_hold_the_hum_and_nothing_of_a_word(rate, seed):
    sound, hum, words = words_over_hum(rate, seed)
    pauses = find_pauses(sound, rate)
    assert len(pauses) == 5  # one after each word
    for pause in pauses:
        start = pause.storage_offset()  # a pause is a view of the recording
        assert torch.equal(pause, hum[start : start + len(pause)])
        near = words[max(start - int(0.03 * rate), 0) : start + len(pause) + int(0.03 * rate)]
        assert not near.any()
    assert sum(map(len, pauses)) / rate > 5 * (0.8 - 0.25)


def test_no_pause_no_piece():
    assert find_pauses(torch.zeros(8000), RATE) == []
    assert find_pauses(torch.ones(100), RATE) == []
    swell = coloured_noise(4 * RATE, RATE) * torch.linspace(0.01, 1, 4 * RATE)
    assert sum(map(len, find_pauses(swell, RATE, range_db=0.1, least_seconds=1.0))) == 0


@given(seeds, st.sampled_from([50.0, 60.0]))
@settings(max_examples=15)
def test_every_piece_that_is_found_is_part_of_the_recording_and_long_enough(seed, fundamental):
    sound, _, _ = words_over_hum(8000, seed, fundamental)
    for pause in find_pauses(sound, 8000, least_seconds=0.3):
        assert len(pause) >= 0.3 * 8000 and pause.untyped_storage().data_ptr() == sound.untyped_storage().data_ptr()


def phase_errors(sound, rate, hertz) -> list[float]:
    "Least-squares phase of a line in frames of five periods, less what it would be if it ran on, degrees."
    size, turns = 5 * round(rate / hertz), []
    for start in range(0, len(sound) - size, size // 2):
        time = (torch.arange(size, dtype=torch.float64) + start) / rate
        basis = torch.stack([torch.cos(2 * torch.pi * hertz * time), torch.sin(2 * torch.pi * hertz * time)], 1)
        a, b = torch.linalg.lstsq(basis, sound[start : start + size].double()[:, None]).solution.flatten()
        turns.append(math.degrees(math.atan2(b, a)))
    return [abs((turn - turns[0] + 180) % 360 - 180) for turn in turns]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("hertz", [50.0, 60.0])
def test_the_phase_goes_on_across_joints(rate, hertz):
    hum = torch.cos(2 * torch.pi * hertz * torch.arange(6 * rate) / rate)
    dice = Random(1)
    starts = [dice.randrange(5 * rate) for _ in range(6)]
    joined = join_in_phase([hum[start : start + rate // 2] for start in starts], rate)
    assert len(joined) > 6 * rate // 2 - 5 * 3 * rate // 50 - 1
    half_a_sample = 180 * hertz / rate
    assert max(phase_errors(joined, rate, hertz)) < 6 * half_a_sample + 0.5
    assert (joined.unfold(0, round(rate / hertz), 50).square().mean(-1) - 0.5).abs().max() < 0.02


def test_without_matching_the_phase_would_jump():
    hum = torch.cos(2 * torch.pi * 50 * torch.arange(RATE) / RATE)
    assert max(phase_errors(torch.cat([hum[:4000], hum[4160:]]), RATE, 50.0)) > 90


def test_pieces_too_short_to_be_matched_are_left_out():
    hum = torch.cos(2 * torch.pi * 50 * torch.arange(RATE) / RATE)
    assert torch.equal(join_in_phase([hum, hum[:1000]], RATE), hum)
    with pytest.raises(ValueError, match="no piece"):
        join_in_phase([], RATE)


@given(st.integers(0, 40000), st.integers(3200, 9000))
@settings(max_examples=20)
def test_a_hum_is_extended_to_any_length(samples, there):
    hum = torch.cos(2 * torch.pi * 50.03 * torch.arange(there) / RATE)
    longer = extend_hum(hum, samples, RATE)
    assert longer.shape == (samples,) and longer.isfinite().all()
    if samples > 9000:
        assert float((longer.unfold(0, 320, 80).square().mean(-1) - 0.5).abs().max()) < 0.03


def test_less_than_ten_periods_are_no_hum():
    with pytest.raises(ValueError, match="ten periods"):
        extend_hum(torch.ones(3199), RATE, RATE)
