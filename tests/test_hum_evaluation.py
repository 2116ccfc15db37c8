"What is left of a hum, and what else has changed, measured where the truth is known."

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.evaluation import hum_line_level_db, hum_lines
from specdehaze.hum import Hum, notch_hum, synthesize_hum
from specdehaze.hum_evaluation import LINE_MARGIN, hum_changes, levels_beside_hum

RATE = 16_000
TOLD = Hum(True, 50.0, (1, 2, 3, 4, 5), (), math.inf)


def noise(seconds: float = 12.0, rate: int = RATE) -> torch.Tensor:
    return 0.01 * torch.randn(1, round(seconds * rate), generator=torch.Generator().manual_seed(0))


def tones(orders, amplitude: float, seconds: float = 12.0, fundamental: float = 50.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return sum(amplitude * torch.sin(2 * math.pi * k * fundamental * time + k) for k in orders).float()[None]


def test_lines_and_their_floor():
    floor_db = 10 * math.log10(1e-4 * 25 / (RATE / 2)) - 1.5  # five bins of 5 Hz, when they are quietest
    around, beside = hum_lines(noise() + tones((2,), 0.01), RATE, 50.0, (1, 2, 3, 500))
    assert around.shape == beside.shape == (3,)
    assert 10 * torch.log10(beside) == pytest.approx([floor_db] * 3, abs=1.5)
    assert 10 * torch.log10(around) == pytest.approx([floor_db, -43.0, floor_db], abs=3)
    assert hum_line_level_db(noise() + tones((2,), 0.01), RATE, 50.0, (2,)) == pytest.approx(-43, abs=1)


@settings(deadline=None, max_examples=10)
@given(fundamental=st.floats(49.5, 60.5), level=st.floats(0.01, 100.0), drift=st.floats(0, 0.1))
def test_a_hum_is_not_seen_between_its_lines(fundamental, level, drift):
    "However loud it is: up to 80 dB above the noise, with lines that move."
    hum, path = synthesize_hum(12 * RATE, RATE, fundamental=fundamental, harmonics=40, drift_hz=drift, modulation=0.2)
    place = {"fundamental": float(path.mean()), "drift_hz": float(path.max() - path.min())}
    bands, alone = levels_beside_hum(noise(), RATE, **place)
    _, under_hum = levels_beside_hum(noise() + 0.01 * level * hum, RATE, **place)
    assert len(bands) > 20 and (under_hum - alone).abs().max() < 0.1


def test_what_is_between_the_lines_is_seen():
    bands, seen = levels_beside_hum(noise() + tones((1,), 0.1, fundamental=1025), RATE, 50.0)
    levels = dict(zip(bands.tolist(), seen.tolist()))
    assert levels[1000.0] == pytest.approx(-23.0, abs=0.1)
    whole = sum(10 ** (level / 10) for band, level in levels.items() if band != 1000.0)
    assert whole == pytest.approx(1e-4 * (1 - 2 * LINE_MARGIN / 50), rel=0.15)
    quieter = levels_beside_hum(noise() / 2, RATE, 50.0)[1] - levels_beside_hum(noise(), RATE, 50.0)[1]
    assert quieter.tolist() == pytest.approx([-6.02] * len(quieter), abs=0.01)


def test_a_row_about_a_perfect_cure_and_about_a_half_one():
    humming = noise() + tones((1, 2, 3, 4, 5), 0.02)
    perfect = hum_changes(humming, noise(), RATE, TOLD)
    assert perfect["hum_excess_before"] > 20 and abs(perfect["hum_excess_after"]) < 1
    assert abs(perfect["elsewhere_change"]) < 0.01
    half = hum_changes(humming, noise() + tones((3,), 0.01), RATE, TOLD)
    assert half["hum_worst_line"] == 150
    assert half["hum_worst_before"] - half["hum_worst_after"] == pytest.approx(6, abs=0.3)


def test_where_a_voice_cancels_a_line_there_is_no_pause():
    line = tones((2,), 0.02)
    voice = noise() - 1.5 * line * (torch.arange(line.shape[-1]) < 0.3 * line.shape[-1])
    perfect = hum_changes(voice + line, voice, RATE, Hum(True, 50.0, (2,), (), 0.0))
    assert perfect["hum_excess_before"] > 15 and perfect["hum_excess_after"] < 1


def test_chance_is_what_stands_between_the_lines():
    humming = noise() + tones((1, 2, 3, 4, 5), 0.02)
    assert abs(hum_changes(humming, noise(), RATE, TOLD)["hum_chance"]) < 3
    assert hum_changes(humming, noise() + tones((2.5,), 0.02), RATE, TOLD)["hum_chance"] > 15


def test_damage_is_told_with_its_place():
    humming = noise() + tones((1, 2, 3, 4, 5), 0.02)
    wide = Hum(True, 1000.0, (1,), (), 0.0)
    row = hum_changes(humming, notch_hum(humming, RATE, wide, width_hz=100), RATE, TOLD)
    assert row["elsewhere_band"] == 1000 and -7 < row["elsewhere_change"] < -3


def test_short_and_silent_clips():
    short = hum_changes(noise(0.6), noise(0.6), RATE, TOLD)
    assert "hum_worst_line" in short and "elsewhere_change" not in short
    silence = hum_changes(torch.zeros(1, 2 * RATE), torch.zeros(1, 2 * RATE), RATE, TOLD)
    assert silence["elsewhere_change"] == silence["hum_excess_after"] == silence["hum_worst_after"] == 0
    with pytest.raises(ValueError, match="a second"):
        levels_beside_hum(noise(0.9), RATE, 50.0)


def test_bands_that_are_next_to_silence_have_no_say():
    low = torch.fft.irfft(torch.fft.rfft(noise()) * (torch.arange(6 * RATE + 1) < 12 * 2000), 12 * RATE)
    rounded = (low * 32768).round() / 32768
    (_, before), (_, after) = (levels_beside_hum(clip, RATE, 50.0) for clip in (low, rounded))
    assert (after - before).abs().max() > 1  # at the top, where there was nothing but is rounding now
    assert abs(hum_changes(low, rounded, RATE, TOLD)["elsewhere_change"]) < 0.1
