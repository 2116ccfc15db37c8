"The bank gives a hum back, and bystanders hear the voice and no hum."

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.evaluation import si_sdr
from specdehaze.harmonics import HarmonicBank, bystander_power, complete_frames, hold_ends
from specdehaze.hum import synthesize_hum


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([8000, 11025, 16000, 44100, 48000]), st.floats(49, 61), st.integers(0, 99))
def test_bank_gives_a_hum_back(rate, fundamental, seed):
    hum, _ = synthesize_hum(rate, rate, fundamental=fundamental, harmonics=8, modulation=0.3, seed=seed)
    bank, orders = HarmonicBank(rate, fundamental), np.arange(1.0, 9.0)
    phase = 2 * np.pi * fundamental * bank.times(len(hum))
    back = bank.synthesize(bank.analyze(hum[None], phase, orders), phase, orders, len(hum))[0]
    edge = rate // 10
    assert si_sdr(back[edge:-edge], hum[edge:-edge]) > 35


def test_bystanders_do_not_hear_the_hum():
    hum, _ = synthesize_hum(64_000, 16_000, fundamental=50.0, harmonics=8, seed=1)
    noise = 1e-3 * torch.randn(64_000, generator=torch.Generator().manual_seed(0))
    bank, orders = HarmonicBank(16_000, 50.0), np.arange(1.0, 9.0)
    phase = 2 * np.pi * 50 * bank.times(64_000)
    without, under = (bystander_power(bank, sound[None], orders) for sound in (noise, noise + hum))
    inside = complete_frames(bank, len(phase), 64_000, 4)
    assert np.abs(10 * np.log10(under / without))[..., inside].max() < 1


def test_frames_over_the_edge_are_replaced():
    bank = HarmonicBank(16_000, 50.0)
    whole = complete_frames(bank, 101, 16_000, 2)
    assert (whole.start, whole.stop) == (2, 99)
    assert hold_ends(np.arange(101), whole)[[0, 1, 2, 50, 98, 99, 100]].tolist() == [2, 2, 2, 50, 98, 98, 98]
    assert len(range(*complete_frames(bank, 3, 100, 2).indices(3))) >= 1
