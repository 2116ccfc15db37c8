"The smoother against its definition, and what it makes of rows without hum."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve

from specdehaze.hum_smoother import (
    CELL,
    Smoother,
    between,
    comings_and_goings,
    common_turn,
    follow_amplitudes,
    gather,
    in_parts,
    smooth_trend,
)


def smoothed(observed, *settings):
    "Complex rows, smooth."
    return smooth_trend(in_parts(observed), *settings)[0] @ [1, 1j]


def random_rows(rows, frames, seed=0):
    random = np.random.default_rng(seed)
    observed = random.standard_normal((rows, frames)) + 1j * random.standard_normal((rows, frames))
    return observed, random.uniform(0.1, 10, (rows, frames)), random.uniform(1e-3, 1, rows)


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 4), frames=st.integers(3, 40), seed=st.integers(0, 1000))
def test_smoother_solves_its_normal_equations(rows, frames, seed):
    observed, noise, agility = random_rows(rows, frames, seed)
    smooth = smoothed(observed, noise, agility)
    second = np.diff(np.eye(frames), 2, axis=0)
    for row in range(rows):
        matrix = np.diag(1 / noise[row]) + second.T @ second / agility[row]
        np.testing.assert_allclose(smooth[row], solve(matrix, observed[row] / noise[row]), rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(3, 40), seed=st.integers(0, 1000), spread=st.floats(1e-3, 10))
def test_with_a_leash_mean_and_line_minimise_the_cost_together(frames, seed, spread):
    observed, noise, agility = random_rows(1, frames, seed)
    smooth = smoothed(observed, noise, agility, np.array([spread]))
    leash = np.cbrt(agility[0] / (2 * math.sqrt(2) * spread)) ** 4 / agility[0]
    second, middle = np.diff(np.eye(frames), 2, axis=0), np.eye(frames) - 1 / frames
    matrix = np.diag(1 / noise[0]) + second.T @ second / agility[0] + leash * middle
    np.testing.assert_allclose(smooth[0], solve(matrix, observed[0] / noise[0]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("spread", [math.inf, 3.0, 0.1])
def test_evidence_is_the_log_density_of_the_gaussian_model(spread):
    "Differences between agilities equal those of log N(y; 0, covariance) with a nearly flat prior on what is free."
    observed, noise, _ = random_rows(1, 12, 3)
    second, centring = np.diff(np.eye(12), 2, axis=0), np.eye(12) - 1 / 12
    free = np.stack([np.ones(12), np.arange(12.0)]) if spread == math.inf else np.ones((1, 12))

    def density(agility):
        leash = np.cbrt(agility / (2 * math.sqrt(2) * spread)) ** 4 / agility
        precision = second.T @ second / agility + leash * centring + 1e-9 * free.T @ free
        covariance = np.diag(noise[0]) + np.linalg.inv(precision)
        return -np.linalg.slogdet(covariance)[1] - (observed[0].conj() @ np.linalg.solve(covariance, observed[0])).real

    ours = [float(smooth_trend(in_parts(observed), noise, np.array([q]), spread)[1].sum()) for q in (0.01, 1.0)]
    assert ours[1] - ours[0] == pytest.approx(density(1.0) - density(0.01), rel=1e-3, abs=1e-3)


def test_a_leash_has_the_spread_that_it_says():
    "Without observations, the spread of the smoother's prior is what was asked for."
    frames, agility, spread = 4000, 1e-5, 0.04
    second = np.diff(np.eye(frames), 2, axis=0)
    leash = np.cbrt(agility / (2 * math.sqrt(2) * spread)) ** 4 / agility
    precision = second[:, :].T @ second / agility + leash * np.eye(frames)
    assert np.linalg.solve(precision, np.eye(frames)[frames // 2])[frames // 2] == pytest.approx(spread, rel=0.02)


def test_smoother_keeps_a_straight_line():
    line = (np.arange(50) * 0.3 - 2 + 1j * np.arange(50))[None]
    smooth = smoothed(line, np.ones((1, 50)), np.array([1e-6]))
    np.testing.assert_allclose(smooth, line, atol=1e-6)


@given(st.integers(1, 60), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_cells_keep_weight_and_mean(frames, seed):
    observed, noise, _ = random_rows(2, frames, seed)
    values, left = gather(observed, noise)
    np.testing.assert_allclose((1 / left).sum(1), (1 / noise).sum(1))
    np.testing.assert_allclose((values / left).sum(1), (observed / noise).sum(1))
    assert between(values, frames).shape == observed.shape and values.shape[1] == -(-frames // CELL)


def test_what_is_always_there_is_trusted():
    steady = np.ones((1, 500))
    assert not comings_and_goings(steady, slice(0, 500), 100.0).any()


def test_absent_rows_gain_nothing():
    random = np.random.default_rng(0)
    observed = random.standard_normal((6, 600)) + 1j * random.standard_normal((6, 600))
    observed[0] += 3
    gain = follow_amplitudes(observed, np.full((6, 600), 2.0), slice(0, 600), 100.0, np.arange(1.0, 7.0)).gain
    assert gain[0] > 50 and gain[1:].max() < 5



def test_a_note_on_a_line_is_not_followed():
    "Three harmonics of a hum, and a note thrice as loud, less than a hertz off the second, in the last third."
    random, seconds = np.random.default_rng(1), np.arange(900) / 100
    hum = 1 + 0.02 * np.sin(seconds / 0.6)
    note = 3 * np.exp(2j * np.pi * 0.8 * seconds + 0.5j * np.sin(2 * np.pi * 5 * seconds)) * (seconds > 6)
    jitter = 0.02 * (random.standard_normal((3, 900)) + 1j * random.standard_normal((3, 900)))
    observed, orders = hum + note * np.array([[0], [1], [0]]) + jitter, np.arange(1.0, 4.0)
    followed = follow_amplitudes(observed, np.full((3, 900), 1e-3), slice(0, 900), 100.0, orders)
    assert np.abs(followed.amplitudes * np.exp(1j * orders[:, None] * followed.turn) - hum).max() < 0.15


def test_a_smoother_without_leash_or_doubt_still_works():
    observed = np.ones((2, 300)) + 0.01 * random_rows(2, 300)[0]
    settings = np.full((2, 300), 1e-4), slice(0, 300), 100.0, np.array([1.0, 2.0])
    for smoother in (Smoother(depths=(math.inf,)), Smoother(wary=False, one_clock=False, turns=4), Smoother(belief=2)):
        followed = follow_amplitudes(observed, *settings, smoother=smoother)
        np.testing.assert_allclose(followed.amplitudes, 1, atol=0.02)


def test_the_common_turn_is_that_of_the_rows_that_are_heard():
    times, orders = np.arange(500) / 20, np.array([1.0, 3.0, 7.0, 2.0])
    turn = 0.02 * np.sin(2 * np.pi * 0.1 * times)
    strength = np.array([[1.0], [0.5], [0.2], [1.0]]) * np.ones(500)
    noise = np.array([[1e-3], [1e-3], [1e-3], [1e9]]) * np.ones(500)
    random = np.random.default_rng(0).standard_normal((4, 500)) * np.sqrt(noise / 2)
    found = common_turn(strength * orders[:, None] * turn + random, strength, noise, orders, slice(500), np.zeros(500))
    alone = np.sqrt(1 / ((orders[:3] * strength[:3, 0]) ** 2 / noise[:3, 0]).sum() / 2)  # rad, of one cell
    assert np.sqrt(np.mean((found - turn) ** 2)) < alone / 2


def test_a_clock_that_is_right_is_hardly_turned():
    random = np.random.default_rng(1).standard_normal((3, 400))
    strength, noise, orders = np.full((3, 400), 30.0), np.full((3, 400), 2.0), np.array([1.0, 2.0, 3.0])
    found = common_turn(random, strength, noise, orders, slice(400), np.zeros(400))
    assert np.ptp(found) < 2 / 30 / np.sqrt(14)  # two standard deviations of one cell


@pytest.mark.parametrize(("orders", "turned"), [([1.0, 2.0, 1.0, 2.0], False), ([1.0, 2.0, 3.0, 4.0], True)])
def test_two_harmonics_do_not_turn_the_clock_in_however_many_channels(orders, turned):
    orders, turn = np.array(orders), 0.05 * np.sin(np.arange(600) / 100)
    observed = np.exp(1j * orders[:, None] * turn)
    followed = follow_amplitudes(observed, np.full((4, 600), 1e-3), slice(0, 600), 100.0, orders)
    assert followed.turn.any() == turned


def test_what_is_smooth_is_the_clock_after_it_is_turned():
    "A clock that wavers around a steady fundamental is turned back by as much, however it wavers."
    random = np.random.default_rng(2)
    swing, noise, orders = 0.01 * random.standard_normal(400), np.full((3, 400), 1e-4), np.array([1.0, 2.0, 5.0])
    across = -orders[:, None] * swing + np.sqrt(noise / 2) * random.standard_normal((3, 400))
    found = common_turn(across, np.ones((3, 400)), noise, orders, slice(400), swing)
    assert np.std(found + swing) < np.std(swing) / 20
