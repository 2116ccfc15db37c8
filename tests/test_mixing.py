"Batches depend on their number alone, and hold what they should."

import numpy as np
import pytest
import torch

from specdehaze.bank import RATE, Sound, computed_streams, write_bank
from specdehaze.mixing import Mixes, MixingSettings, draw_bursts, draw_grains, draw_pulse, draw_tones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("bank"), torch.Generator().manual_seed(0)
    voices = [Sound(name, "speech", "", 0.1 * torch.randn(5 * RATE, generator=generator)) for name in ("ann", "bob")]
    write_bank(folder, "voices", voices)
    write_bank(folder, "noises", computed_streams(colours=2, hums=1))
    return folder


def test_a_batch_depends_on_its_number_and_the_seed(folder):
    mixes = Mixes(folder, MixingSettings(batch_size=2, seconds=0.5))
    other = Mixes(folder, MixingSettings(batch_size=2, seconds=0.5, seed=1))
    assert torch.equal(mixes.batch(3).noisy, mixes.batch(3).noisy)
    assert not torch.equal(mixes.batch(3).noisy, mixes.batch(4).noisy)
    assert not torch.equal(mixes.batch(3).noisy, other.batch(3).noisy)


def test_every_mix_has_one_level(folder):
    pairs = Mixes(folder, MixingSettings(batch_size=32, seconds=0.5)).batch(0)
    assert pairs.clean.shape == (32, RATE // 2)
    assert torch.allclose(pairs.noisy.square().mean(1).sqrt(), torch.tensor(0.1), atol=1e-3)


def test_ratios_lie_where_they_should(folder):
    mixes = Mixes(folder, MixingSettings(batch_size=64, seconds=0.25, snr_db=(3.0, 6.0)))
    parts = [torch.cat(part) for part in zip(*(mixes.batch(number) for number in range(6)))]
    clean, noise = (part.square().mean(1) for part in parts)
    ratios = (10 * (clean / noise).log10())[(clean > 0) & (noise > 0)]
    usual = ((ratios > 2.9) & (ratios < 6.1)).float().mean()
    assert 0.85 < usual < 0.97 and ratios.max() < 45.1
    assert 0 < (noise == 0).float().mean() < 0.1 and 0 < (clean == 0).float().mean() < 0.1


def test_without_colours_and_rooms_a_voice_is_as_it_was(folder):
    pairs = Mixes(folder, MixingSettings(batch_size=8, seconds=0.5, rooms=0.0, colours=0.0)).batch(1)
    flat = [torch.fft.rfft(clip).abs()[500:1500].square().mean() for clip in pairs.clean if clip.any()]
    high = [torch.fft.rfft(clip).abs()[1500:].square().mean() for clip in pairs.clean if clip.any()]
    assert sum(0.6 < float(a / b) < 1.6 for a, b in zip(flat, high)) >= len(flat) - 3  # but for those cut off


def test_a_bank_without_voices_is_refused(tmp_path):
    for name in ("voices", "noises"):
        write_bank(tmp_path, name, [])
    with pytest.raises(ValueError, match="nobody speaks"):
        Mixes(tmp_path)


def test_a_beat_goes_up_and_down_within_its_limits():
    for seed in range(20):
        gain = draw_pulse(np.random.default_rng(seed), 32000)
        assert 10 ** (2 / 20) <= max(gain.max(), 1 / gain.min()) <= 10 ** (15 / 20) * 1.001


def test_grains_are_rare_and_loud_or_many_and_even():
    for seed in range(40):
        sound = draw_grains(np.random.default_rng(seed), 16000)
        assert sound.shape == (16000,) and sound.dtype == np.float32 and np.isfinite(sound).all() and sound.std() > 0
    crests = [np.abs(s).max() / s.std() for s in (draw_grains(np.random.default_rng(n), 16000) for n in range(40))]
    assert min(crests) < 6 and max(crests) > 20


def test_tones_stay_in_their_band():
    for seed in range(20):
        sound = draw_tones(np.random.default_rng(seed), 16000)
        power = np.abs(np.fft.rfft(sound * np.hanning(16000))) ** 2
        assert np.isfinite(sound).all() and power[:50].sum() + power[7800:].sum() < 1e-3 * power.sum()


def test_bursts_are_gains_whose_silence_is_60_db_down():
    for seed in range(50):
        gain = draw_bursts(np.random.default_rng(seed), 16000)
        assert np.isfinite(gain).all() and gain.min() >= 0.99e-3 and gain.max() <= 1.002


@pytest.mark.parametrize("left_out", [{"rooms": 0.0}, {"colours": 0.0}, {"speeds": False}])
def test_what_is_switched_off_changes_nothing_else(folder, left_out):
    common = {"batch_size": 16, "seconds": 0.5}
    one, other = (Mixes(folder, MixingSettings(**common | more)).batch(2) for more in ({}, left_out))
    ratios = [clean.square().mean(1) / (noise.square().mean(1) + 1e-9) for clean, noise in (one, other)]
    assert torch.allclose(*ratios, rtol=0.05) and not torch.allclose(one.clean, other.clean, atol=1e-3)
    if "rooms" in left_out:
        assert torch.cosine_similarity(one.noise, other.noise).sort().values[2] > 0.999  # some have no noise
