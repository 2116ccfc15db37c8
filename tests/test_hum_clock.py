"The clock of a hum: found, followed, integrated, and corrected by all harmonics."

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad

from specdehaze.hum import synthesize_hum
from specdehaze.hum_clock import Clock, advance, best_path, find_clock, without_a_note


def test_best_path_follows_a_ramp_and_ignores_one_wild_window():
    offsets = np.linspace(-0.3, 0.3, 61)
    ramp = np.linspace(-0.1, 0.12, 23)
    evidence = -0.5 * ((offsets - ramp[:, None]) / 0.02) ** 2 * 10
    np.testing.assert_allclose(best_path(evidence, offsets), ramp, atol=2e-3)
    evidence[11] = -0.5 * ((offsets + 0.25) / 0.1) ** 2
    assert abs(best_path(evidence, offsets)[11] - ramp[11]) < 0.04


def test_phase_is_the_integral_of_the_path():
    clock = Clock(np.array([0.3, 0.9, 2.0]), np.array([50.0, 50.4, 49.8]), 0.0)
    moments = np.array([0.0, 0.1, 0.3, 0.55, 0.9, 1.7, 2.0, 3.1])
    by_quadrature = [quad(lambda t: np.interp(t, clock.times, clock.frequencies), 0, moment, points=[0.3, 0.9, 2.0])[0]
                     for moment in moments]
    np.testing.assert_allclose(clock.phase(moments), 2 * np.pi * np.array(by_quadrature), atol=1e-6)


def test_a_clock_of_one_knot_stands_still():
    clock = Clock(np.array([0.25]), np.array([60.1]), 0.0)
    np.testing.assert_allclose(clock.phase(np.array([0.0, 1.0, 5.0])), 2 * np.pi * 60.1 * np.array([0, 1, 5]))


@pytest.mark.parametrize("seconds", [0.5, 0.8, 1.0, 1.6])
def test_short_clips_have_a_clock(seconds):
    hum, _ = synthesize_hum(round(16_000 * seconds), 16_000, fundamental=50.1, seed=1)
    assert find_clock(hum[None], 16_000).mean == pytest.approx(50.1, abs=0.05)


def test_a_clock_is_advanced_by_a_turn():
    clock, times = Clock(np.array([0.0, 5.0]), np.array([50.0, 50.1]), 7.0), np.arange(501) / 100
    later = advance(clock, times, 2 * np.pi * 0.02 * times)
    assert later.mean == pytest.approx(clock.mean + 0.02, abs=1e-4) and later.confidence == 7
    np.testing.assert_allclose(later.phase(times), clock.phase(times) + 2 * np.pi * 0.02 * times, atol=1e-3)


@given(arrays(float, st.tuples(st.integers(1, 12), st.just(3), st.just(4)), elements=st.floats(0, 100)))
def test_without_a_note_there_is_never_more_evidence(evidence):
    left, whole = without_a_note(evidence), evidence.sum(0)
    assert (left <= whole + 1e-9).all() and (left >= evidence[:2].sum(0) - 1e-9).all()


@pytest.mark.parametrize("note", [3, 4, 7])
def test_one_note_and_its_multiples_are_no_evidence(note):
    evidence = np.zeros((12, 2, 3))
    evidence[note - 1 :: note] = 50.0
    assert not without_a_note(evidence).any()
