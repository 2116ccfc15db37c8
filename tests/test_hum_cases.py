"Every hum of the cases is what it says, the same at each ratio, and told truly."

import math
import pickle

import pytest
import torch

from specdehaze.hum_cases import (
    HUMS,
    ON_A_NOTE,
    RECORDED,
    computed_hum,
    hum_cases,
    lay_hum,
    put_on_a_line,
    recorded_hum,
    retune,
)
from specdehaze.partials import strongest_partials
from specdehaze.recordings import bundled_recordings

RATE = 16_000
CLIP = bundled_recordings("speech", language="es")[:1]
NOTES = bundled_recordings("music")
each_note = pytest.mark.parametrize("clip", NOTES, ids=lambda recording: recording.name)


@pytest.mark.parametrize("kind", HUMS)
def test_a_hum_holds_the_lines_that_are_told_and_no_others(kind):
    hum, path, told = computed_hum(kind, 8 * RATE, RATE, seed="a")
    window = torch.hann_window(8 * RATE, dtype=torch.float64)
    power = torch.fft.rfft(hum.double() * window).abs().square()
    near = torch.zeros_like(power, dtype=torch.bool)
    for order in told.harmonics:
        centre, width = order * told.fundamental * 8, 16 + 8 * order * float((path - path.mean()).abs().max())
        near[round(centre - width) : round(centre + width) + 1] = True
    assert power[near].sum() > 0.999 * power.sum()
    assert told.fundamental == pytest.approx(float(path.double().mean()))


def test_an_unknown_hum_is_told_from_the_known():
    with pytest.raises(ValueError, match="did you mean 'rectifier buzz'"):
        hum_cases(CLIP, ["rectifer buzz"])


@pytest.mark.parametrize("kind", HUMS)
def test_a_seed_decides_everything(kind):
    one, again, other = (computed_hum(kind, 4000, RATE, seed=seed)[0] for seed in ("a", "a", "b"))
    assert torch.equal(one, again) and not torch.allclose(one, other)


def test_lines_beyond_half_the_rate_are_not_told():
    told = computed_hum("rectifier buzz", 4000, 4000, seed="a")[2]
    assert max(told.harmonics) * told.fundamental < 2000


def test_a_recorded_hum_is_as_long_as_wanted_at_any_rate():
    hummy = bundled_recordings("hummy")[0]
    for rate in (16_000, 44_100):
        hum, told = recorded_hum(hummy, 3 * rate, rate)
        assert hum.shape == (3 * rate,) and abs(told.fundamental - 50) < 0.2 and hum.square().mean() > 0


@pytest.mark.parametrize("kind", ["mains", RECORDED])
def test_every_ratio_has_the_same_hum_and_its_level(kind):
    cases = hum_cases(CLIP, [kind], ratios=(0.0, 10.0))
    loud, faint = (pickle.loads(pickle.dumps(case)).load() for case in cases)
    torch.testing.assert_close(loud.noise, faint.noise * math.sqrt(10), atol=1e-5, rtol=1e-3)
    for case, sounds in zip(cases, (loud, faint)):
        ratio = 10 * torch.log10(sounds.clean.square().mean() / sounds.noise.square().mean())
        assert float(ratio) == pytest.approx(case.labels["snr_db"], abs=0.01)
        assert case.labels["hum"] == kind and case.hum.present and case.name == CLIP[0].name


def test_another_seed_is_another_content():
    contents = {hum_cases(CLIP, ["mains"], ratios=(0.0,), seed=seed)[0].content for seed in (0, 1)}
    assert len(contents) == 2


@each_note
def test_a_hum_on_a_note_has_a_harmonic_on_a_strong_partial(clip):
    clean, hum, path, told = lay_hum(clip, ON_A_NOTE)
    assert min(abs(told.fundamental - nominal) for nominal in (50, 60)) < 0.5 + 1e-4
    assert len(hum) == len(path) == len(clean) and abs(len(clean) / clip.sample_rate - 5) < 0.3
    lines = [order * told.fundamental for order in range(1, 10)]
    assert min(abs(note - line) for note in strongest_partials(clean, clip.sample_rate) for line in lines) < 0.1
    again = lay_hum(clip, ON_A_NOTE)
    assert torch.equal(again.hum, hum) and torch.equal(again.clean, clean)
    assert not torch.equal(lay_hum(clip, ON_A_NOTE, seed=1).hum, hum)


@each_note
@pytest.mark.parametrize("nominal", [50.0, 60.0])
def test_a_note_can_be_tuned_to_a_line(clip, nominal):
    waveform, rate = clip.load()
    tuned, fundamental, order = put_on_a_line(waveform[0], rate, nominals=(nominal,), spread=0.0, orders=range(2, 17))
    assert fundamental == nominal
    assert min(abs(note - order * nominal) for note in strongest_partials(tuned, rate)) < 0.3


@pytest.mark.parametrize("factor", [0.95, 0.999, 1.0, 1.0594])
def test_retuned_tones_are_where_they_should_be(factor):
    tone = torch.cos(2 * torch.pi * 440 * torch.arange(3 * RATE, dtype=torch.float64) / RATE).float()
    tuned = retune(tone, RATE, factor)
    assert strongest_partials(tuned, RATE)[0] == pytest.approx(440 * factor, abs=0.02)
    assert abs(len(tuned) - len(tone) / factor) <= 1


def test_a_clip_without_low_notes_can_not_be_put_on_a_line():
    tone = torch.cos(2 * torch.pi * 3000 * torch.arange(3 * RATE) / RATE)
    for clip in (tone, torch.zeros(RATE)):
        with pytest.raises(ValueError, match="lower note"):
            put_on_a_line(clip, RATE)


def test_only_held_notes_have_partials_that_are_looked_after():
    cases = hum_cases(NOTES[:1], [ON_A_NOTE, "60 Hz"], ratios=(5.0,)) + hum_cases(CLIP, ["60 Hz"], ratios=(5.0,))
    assert [bool(case.partials) for case in cases] == [True, True, False]
    for case in cases:
        sounds = pickle.loads(pickle.dumps(case)).load()
        assert case.labels["snr_db"] == 5.0 and len(sounds.clean) == len(sounds.noise)


def test_a_recorded_hum_needs_a_recording():
    with pytest.raises(ValueError, match="name one"):
        lay_hum(CLIP[0], RECORDED)
