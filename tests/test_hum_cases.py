"Every hum of the cases is what it says, the same at each ratio, and told truly."

import math
import pickle

import pytest
import torch

from specdehaze.hum_cases import HUMS, RECORDED, computed_hum, hum_cases, recorded_hum
from specdehaze.recordings import bundled_recordings

RATE = 16_000
CLIP = bundled_recordings("speech", language="es")[:1]


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
