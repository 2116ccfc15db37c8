"Partials are found, whatever their level and place, and a change of one is measured, whatever else is in its band."

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.partials import partial_gains_db, strongest_partials, thinning_db
from specdehaze.recordings import bundled_recordings

RATE = 8000
TIME = torch.arange(3 * RATE, dtype=torch.float64) / RATE


def tone(frequency: float, amplitude: float = 0.1) -> torch.Tensor:
    return amplitude * torch.cos(2 * torch.pi * frequency * TIME + frequency)


def hiss(level: float, seed: int = 0) -> torch.Tensor:
    return level * torch.randn(len(TIME), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.floats(60, 1500), st.floats(1.2, 2.2))
@settings(max_examples=20, deadline=None)
def test_two_tones_are_found_the_strongest_first(frequency, ratio):
    found = strongest_partials(tone(frequency) + tone(ratio * frequency, 0.05), RATE)
    assert found == pytest.approx((frequency, ratio * frequency), abs=0.05)


def test_what_is_faint_high_or_one_too_many_is_left_out():
    notes = tone(200) + tone(400, 0.05) + tone(600, 0.025) + tone(1000, 0.001)
    assert strongest_partials(notes, RATE) == pytest.approx((200, 400, 600), abs=0.01)
    assert strongest_partials(notes, RATE, count=2) == pytest.approx((200, 400), abs=0.01)
    assert strongest_partials(notes, RATE, highest=500) == pytest.approx((200, 400), abs=0.01)


def test_vibrato_makes_one_partial_and_not_three():
    wavering = 0.1 * torch.cos(2 * torch.pi * 400 * TIME + torch.sin(2 * torch.pi * 5 * TIME))
    assert len(strongest_partials(wavering, RATE)) == 1


@pytest.mark.parametrize("clip", [torch.zeros(RATE), torch.zeros(10), torch.zeros(1)])
def test_silence_has_no_partials(clip):
    assert strongest_partials(clip, RATE) == ()


def test_a_held_tone_is_before_a_short_one_that_is_as_loud():
    short = tone(300, 0.12) * ((TIME > 1) & (TIME < 1.3))
    assert strongest_partials(short + tone(500), RATE)[0] == pytest.approx(500, abs=0.1)


@given(st.floats(-20, 6), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_the_gain_of_one_partial_is_measured_through_hiss(gain, seed):
    clean = tone(220) + tone(440, 0.05)
    estimate = clean + (10 ** (gain / 20) - 1) * tone(440, 0.05)
    assert partial_gains_db(estimate, clean, RATE, (220, 440)) == pytest.approx((0, gain), abs=0.01)
    heard = partial_gains_db(estimate + hiss(0.02, seed), clean, RATE, (220, 440))
    assert heard == pytest.approx((0, gain), abs=1.5 if gain < -6 else 0.4)
    assert thinning_db(estimate, clean, RATE, (220, 440)) == pytest.approx(abs(gain), abs=0.01)


def test_a_rest_of_hum_beside_the_note_is_not_the_note():
    clean = tone(220)
    assert thinning_db(clean + tone(226, 0.03), clean, RATE, (220,)) < 0.2


def test_silence_and_what_is_upside_down_have_lost_the_note():
    clean = tone(220)
    for estimate in (0 * clean, -clean):
        assert partial_gains_db(estimate, clean, RATE, (220,)) == (-60,)


def test_what_never_sounds_is_not_thinned():
    assert partial_gains_db(tone(220), 0 * TIME, RATE, (220,)) == (0,)


def test_no_partials_is_no_measurement():
    with pytest.raises(ValueError, match="at least one"):
        thinning_db(tone(220), tone(220), RATE, ())


@pytest.mark.parametrize("recording", bundled_recordings("music"), ids=lambda recording: recording.name)
def test_held_notes_of_the_recordings_have_partials_and_keep_their_own_level(recording):
    clean, rate = recording.load()
    partials = strongest_partials(clean, rate)
    assert len(partials) >= 5 and thinning_db(clean, clean, rate, partials) < 1e-9
    assert thinning_db(0.5 * clean, clean, rate, partials) == pytest.approx(20 * math.log10(2))
