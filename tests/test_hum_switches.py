"Hums that are switched, and hums that are not."

import numpy as np
import pytest
import torch

from specdehaze.audio import mix_at_snr
from specdehaze.evaluation import si_sdr
from specdehaze.hum import synthesize_hum
from specdehaze.hum_switches import find_switches, follow_switched
from specdehaze.hum_tracking import track_hum
from specdehaze.recordings import bundled_recordings


def rows_of(levels, seed=0):
    random = np.random.default_rng(seed)
    noise = 0.05 * (random.standard_normal((6, len(levels))) + 1j * random.standard_normal((6, len(levels))))
    return np.exp(1j * np.arange(6))[:, None] * levels + noise, np.full((6, len(levels)), 0.005)


@pytest.mark.parametrize("before, after", [(0.0, 1.0), (1.0, 0.0), (0.4, 1.0), (1.0, 0.3)])
def test_a_switch_is_found_to_the_frame(before, after):
    levels = np.where(np.arange(600) < 271, before, after)
    (found,) = find_switches(*rows_of(levels), 100.0)
    assert abs(found - 271) <= 2


def test_a_splice_is_a_switch():
    turned = np.exp(1j * np.arange(6)[:, None] * 1.4 * (np.arange(600) >= 271))  # as strong as before, but later
    observed, noise = rows_of(np.ones(600))
    (found,) = find_switches(observed * turned, noise, 100.0)
    assert abs(found - 271) <= 2


def test_a_voice_over_the_switch_does_not_move_it():
    voice, rate = bundled_recordings("speech", language="fr")[2].load()
    clean, late = voice[0], int(0.0046 * rate)
    hum, _ = synthesize_hum(len(clean) + late, rate, fundamental=50.05, harmonics=15, modulation=0.1, seed=2)
    cut = int(0.62 * len(clean))
    noisy, _ = mix_at_snr(clean, torch.cat([hum[:cut], hum[cut + late :]]), 10.0)
    assert si_sdr(noisy - track_hum(noisy, rate), clean) > 30


def test_what_does_not_jump_is_one_hum():
    breathing = 1 + 0.3 * np.sin(2 * np.pi * 0.3 * np.arange(600) / 100)
    assert not find_switches(*rows_of(breathing), 100.0)
    assert not find_switches(*rows_of(np.ones(50)), 100.0)
    observed, noise = rows_of(np.ones(600))
    observed[:2, 300:] += 3  # a note that two of six harmonics meet
    assert not find_switches(observed, noise, 100.0)


def test_nothing_is_taken_before_the_lamp_is_on():
    waveform, rate = bundled_recordings("speech", language="fr")[1].load()
    clean = waveform[0]
    hum, _ = synthesize_hum(len(clean), rate, fundamental=50.05, harmonics=15, modulation=0.1, seed=1)
    on = len(clean) // 2
    noisy, veil = mix_at_snr(clean, hum * (torch.arange(len(clean)) >= on), 3.0)
    tracked = track_hum(noisy, rate)
    assert not tracked[: on - rate // 10].any()
    assert si_sdr(noisy - tracked, clean) > 20


def test_two_channels_are_cut_together():
    observed, noise = rows_of(np.where(np.arange(600) < 300, 0.2, 1.0))
    followed = follow_switched(observed, noise, slice(0, 600), 100.0, np.array([1.0, 2, 3, 1, 2, 3]))
    level = np.abs(followed.amplitudes)
    assert level[:, 280].max() < 0.3 and level[:, 320].min() > 0.9
