"Each augmentation changes what it says and nothing else, and clean + noise stays the recording."

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from specdehaze.audio import level_db
from specdehaze.augmentation import (
    CANDIDATES,
    DEFAULT,
    EARLY_SECONDS,
    Augment,
    Augmentation,
    BandLimit,
    Clip,
    Codec,
    Gain,
    Pairs,
    Polarity,
    Remix,
    Reverb,
    Shift,
    Speed,
    SwapNoise,
    Tilt,
)

RATE = 16000
KINDS = (Speed, SwapNoise, Shift, Polarity, Remix, Reverb, Tilt, Gain, Clip, BandLimit, Codec)
MIX_KINDS = (Clip, Codec)  # what they do to the sum is noise
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def batch(items=5, samples=4000, seed=0, dtype=torch.float32) -> Pairs:
    "Noise bursts of different levels, none beyond full scale."
    generator = torch.Generator().manual_seed(seed)
    clean, noise = 0.1 * torch.randn(2, items, samples, generator=generator, dtype=dtype).clamp(-4, 4)
    return Pairs(clean * torch.linspace(0.5, 1, items, dtype=dtype)[:, None], noise)


def apply(augmentation, pairs, seed=0, sample_rate=RATE) -> Pairs:
    return augmentation(pairs, sample_rate=sample_rate, generator=torch.Generator().manual_seed(seed))


def same(a: Pairs, b: Pairs) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b))


def ratio_db(clean, noise) -> float:
    return float(10 * (clean.double().square().sum() / noise.double().square().sum()).log10())


def test_candidates_are_all_kinds_in_order():
    assert tuple(type(augmentation) for augmentation in CANDIDATES) == KINDS
    assert all(0 < augmentation.probability < 1 for augmentation in CANDIDATES)
    assert list(DEFAULT) == [augmentation for augmentation in CANDIDATES if augmentation in DEFAULT]


@each_kind
def test_shape_and_type_stay_and_the_input_is_not_written_to(kind):
    for dtype in (torch.float32, torch.float64):
        pairs = batch(dtype=dtype)
        before = Pairs(*(part.clone() for part in pairs))
        after = apply(kind(), pairs)
        assert after.clean.shape == after.noise.shape == pairs.clean.shape
        assert after.clean.dtype == after.noise.dtype == dtype and same(before, pairs)
        assert torch.equal(after.noisy, after.clean + after.noise) and after.noisy.isfinite().all()


@each_kind
def test_probability_0_is_the_identity_and_1_changes_every_item(kind):
    pairs = batch()
    assert same(apply(kind(probability=0.0), pairs), pairs)
    after = apply(kind(), pairs)
    assert ((after.clean != pairs.clean) | (after.noise != pairs.noise)).any(1).all()


@each_kind
def test_about_as_many_items_change_as_the_probability_says(kind):
    pairs = batch(items=200, samples=400)
    after = apply(kind(probability=0.3), pairs)
    changed = ((after.clean != pairs.clean) | (after.noise != pairs.noise)).any(1)
    assert 35 <= int(changed.sum()) <= 85


@each_kind
def test_the_seed_decides(kind):
    pairs = batch()
    assert same(apply(kind(), pairs, seed=3), apply(kind(), pairs, seed=3))
    if kind is not Polarity:  # three ways only
        assert not same(apply(kind(), pairs, seed=3), apply(kind(), pairs, seed=4))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not SwapNoise])
def test_items_do_not_depend_on_each_other(kind):
    pairs, others = batch(), batch(seed=1)
    mixed = Pairs(*(torch.cat((a[:2], b[2:])) for a, b in zip(pairs, others)))
    for a, b in zip(apply(kind(), pairs), apply(kind(), mixed)):
        torch.testing.assert_close(a[:2], b[:2], atol=1e-6, rtol=1e-5)


@each_kind
@pytest.mark.parametrize("samples", [0, 1, 2, 37, 1601])
@pytest.mark.parametrize("items", [0, 1, 2])
def test_odd_batches(kind, items, samples):
    for rate in (100, 8000, 22050):
        after = apply(kind(), batch(items, samples), sample_rate=rate)
        assert after.noise.shape == (items, samples) and after.noisy.isfinite().all()


@each_kind
def test_silence_stays_silence(kind):
    nothing = torch.zeros(3, 3000)
    after = apply(kind(), Pairs(nothing, nothing))
    assert not after.clean.any() and not after.noise.any()
    for pairs in (Pairs(nothing, batch(3, 3000).noise), Pairs(batch(3, 3000).clean, nothing)):
        assert apply(kind(), pairs).noisy.isfinite().all()
        assert apply(kind(), pairs).clean.any() == pairs.clean.any()


@pytest.mark.parametrize("kind", MIX_KINDS)
def test_damage_to_the_mix_leaves_the_clean_voice(kind):
    pairs = batch()
    after = apply(kind(), pairs)
    assert torch.equal(after.clean, pairs.clean) and not torch.equal(after.noise, pairs.noise)


@given(st.integers(2, 9), st.integers(0, 99))
def test_swapped_noises_are_all_there_and_none_at_home(items, seed):
    pairs = Pairs(torch.zeros(items, 1), torch.arange(items, dtype=torch.float32)[:, None])
    after = apply(SwapNoise(), pairs, seed=seed).noise[:, 0].long().tolist()
    assert sorted(after) == list(range(items)) and all(k != taken for k, taken in enumerate(after))


@given(st.floats(-60, 60), st.floats(0.03, 1), st.floats(0.03, 10), st.integers(0, 9))
def test_remix_is_exact(snr_db, voice, noise, seed):
    pairs = batch(3, 800, seed=seed)
    pairs = Pairs(pairs.clean * voice, pairs.noise * noise)
    after = apply(Remix(snr_db=(snr_db, snr_db)), pairs)
    assert torch.equal(after.clean, pairs.clean)
    assert all(abs(ratio_db(*item) - snr_db) < 1e-3 for item in zip(*after))


def test_remix_draws_within_its_range_and_leaves_alone_what_is_not_there():
    pairs = batch(64, 400)
    ratios = [ratio_db(*item) for item in zip(*apply(Remix(), pairs))]
    assert min(ratios) >= -5.001 and max(ratios) <= 20.001 and max(ratios) - min(ratios) > 20
    quiet = Pairs(pairs.clean * 1e-3, pairs.noise)  # below -70 dB re full scale
    assert torch.equal(apply(Remix(), quiet).noise, quiet.noise)


def test_gain_keeps_the_ratio_and_its_range():
    pairs = batch(64, 400)
    after = apply(Gain(gain_db=(-18, 6)), pairs)
    gains = [float(level_db(b) - level_db(a)) for a, b in zip(pairs.noisy, after.noisy)]
    assert min(gains) >= -18.01 and max(gains) <= 6.01 and max(gains) - min(gains) > 20
    assert all(abs(ratio_db(*a) - ratio_db(*b)) < 1e-3 for a, b in zip(zip(*pairs), zip(*after)))


def test_polarity_knows_three_ways():
    pairs = batch(64, 10)
    after = apply(Polarity(), pairs)
    ways = {tuple(int((b * a).sum().sign()) for a, b in zip(*item)) for item in zip(zip(*pairs), zip(*after))}
    assert ways == {(1, -1), (-1, 1), (-1, -1)}


def test_shift_rolls_the_noise():
    noise = torch.sin(2 * torch.pi * torch.arange(4000) / 400).repeat(8, 1)  # meets itself but for one step
    after = apply(Shift(), Pairs(torch.zeros_like(noise), noise)).noise
    moved = [min(float((after[k] - noise[k].roll(-start)).abs().max()) for start in range(4000)) for k in range(8)]
    assert max(moved) < 0.02 and len({float(row[0]) for row in after}) > 4


def test_the_seam_of_a_rolled_noise_has_no_jump():
    noise = torch.linspace(-0.5, 0.5, 4000).repeat(8, 1)  # ends far from where it begins
    steps = apply(Shift(), Pairs(torch.zeros_like(noise), noise)).noise.diff(dim=1).abs()
    assert steps.max() < 1.1 / (0.005 * RATE)


@pytest.mark.parametrize("ratio", [0.9, 0.97, 1.03, 1.1])
def test_speed_moves_a_tone(ratio):
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE).repeat(2, 1)
    after = apply(Speed(ratio=(ratio, ratio)), Pairs(tone, tone))
    for sound in (*after.clean, *after.noise):
        inside = sound[1000:13000] * torch.hann_window(12000)
        peak = float(torch.fft.rfft(inside, 16 * RATE).abs().argmax()) / 16
        assert abs(peak - 440 * ratio) < 0.2
        assert abs(level_db(sound[1000:13000]) + 10 * math.log10(2)) < 0.05
    if ratio > 1:  # the voice ends early, the noise goes on
        assert not after.clean[0, round(RATE / ratio) + 1 :].any() and level_db(after.noise[0, -1000:]) > -4


@pytest.mark.parametrize("rt60", [0.15, 0.3, 0.6])
def test_reverberation_falls_by_60_db_in_its_time(rt60):
    click = torch.zeros(8, RATE)
    click[:, 0] = 1
    after = apply(Reverb(rt60=(rt60, rt60), direct_db=(3.0, 3.0)), Pairs(click, torch.zeros_like(click)))
    found = []
    for answer in after.noisy:
        left = 10 * answer[1:].double().square().flip(0).cumsum(0).flip(0).clamp_min(1e-12).log10()  # Schroeder 1965
        start, end = (int((left < left[0] - drop).nonzero()[0]) for drop in (5, 25))
        found.append(3 * (end - start) / RATE)
    assert abs(sum(found) / 8 / rt60 - 1) < 0.05 and max(abs(one / rt60 - 1) for one in found) < 0.15


def test_early_sound_is_voice_and_late_sound_is_noise():
    click = torch.zeros(4, RATE)
    click[:, 0] = 1
    after = apply(Reverb(rt60=(0.5, 0.5), direct_db=(3.0, 3.0)), Pairs(click, torch.zeros_like(click)))
    border = round(EARLY_SECONDS * RATE)
    assert after.clean[:, border:].abs().max() < 1e-5 and after.noise[:, : border - 1].abs().max() < 1e-5
    torch.testing.assert_close(after.clean[:, 0], torch.ones(4), atol=1e-5, rtol=0)
    reflections = after.noisy[:, 1:].square().sum(1)
    torch.testing.assert_close(10 * reflections.log10(), torch.full((4,), -3.0), atol=0.01, rtol=0)


def test_tilt_keeps_levels_and_makes_slopes():
    pairs = batch(16, RATE)
    after = apply(Tilt(slope_db=(2.0, 2.0), bumps_db=(0.0, 0.0)), pairs)
    for before, new in zip((*pairs.clean, *pairs.noise), (*after.clean, *after.noise)):
        assert abs(level_db(before) - level_db(new)) < 1e-3
        gain = torch.fft.rfft(new, 2 * RATE).abs().square(), torch.fft.rfft(before, 2 * RATE).abs().square()
        bands = [10 * math.log10(gain[0][f : 2 * f].sum() / gain[1][f : 2 * f].sum()) for f in (1000, 2000, 4000)]
        assert all(abs(high - low - 2) < 0.4 for low, high in zip(bands, bands[1:]))


@pytest.mark.parametrize("level", [-12.0, -6.0, -1.0])
def test_clip_cuts_at_its_level(level):
    pairs = batch()
    after = apply(Clip(level_db=(level, level)), pairs)
    limit = pairs.noisy.abs().amax(1, keepdim=True) * 10 ** (level / 20)
    torch.testing.assert_close(after.noisy, torch.maximum(torch.minimum(pairs.noisy, limit), -limit))


@pytest.mark.parametrize("cutoff", [2500.0, 4000.0, 6000.0])
def test_band_limit_attenuates_above_and_nothing_below(cutoff):
    pairs = batch(4, RATE)
    after = apply(BandLimit(cutoff=(cutoff, cutoff)), pairs)
    window = torch.hann_window(RATE)
    for before, new in zip((*pairs.clean, *pairs.noise), (*after.clean, *after.noise)):
        old, cut = (torch.fft.rfft(part * window).abs().square() for part in (before, new))
        above, below = slice(int(1.2 * cutoff) + 20, None), slice(0, int(cutoff) - 20)
        assert 10 * (cut[above].sum() / old[above].sum()).log10() < -60
        assert abs(10 * (cut[below].sum() / old[below].sum()).log10()) < 0.01


def test_band_limit_beyond_the_highest_frequency_changes_nothing():
    pairs = batch()
    for a, b in zip(pairs, apply(BandLimit(cutoff=(5000.0, 7000.0)), pairs, sample_rate=8000)):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_codec_is_mu_law():
    pairs = batch()
    ours = apply(Codec(bits=(8, 8)), pairs).noisy
    theirs = mu_law_decoding(mu_law_encoding(pairs.noisy, 256), 256)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0.045)  # one step; theirs has none at 0
    errors = [level_db(apply(Codec(bits=(n, n)), pairs).noisy - pairs.noisy) for n in (8, 7, 6, 5)]
    assert all(5 < more - less < 7 for less, more in zip(errors, errors[1:]))


def test_codec_cuts_off_what_passes_full_scale():
    loud = Pairs(torch.full((1, 8), 3.0), torch.full((1, 8), -1.0))
    torch.testing.assert_close(apply(Codec(), loud).noisy, torch.ones(1, 8))


def test_augment_is_its_list_in_order_and_its_seed():
    pairs, augment = batch(8, 6000), Augment(CANDIDATES)
    first = augment(pairs, sample_rate=RATE, seed=1)
    assert same(first, augment(pairs, sample_rate=RATE, seed=1))
    assert not same(first, augment(pairs, sample_rate=RATE, seed=2))
    assert same(Augment(())(pairs, sample_rate=RATE, seed=1), pairs)
    gained = Augment((Gain(),))(pairs, sample_rate=RATE, seed=1)
    clipped_last = Augment((Gain(), Clip()))(pairs, sample_rate=RATE, seed=1)
    assert torch.equal(clipped_last.clean, gained.clean) and not torch.equal(clipped_last.noise, gained.noise)


def test_leaving_one_out_does_not_alter_what_the_others_draw():
    pairs = batch()
    with_it = Augment((Polarity(), Tilt(), Gain()))(pairs, sample_rate=RATE, seed=5)
    without = Augment((Tilt(), Gain()))(pairs, sample_rate=RATE, seed=5)
    torch.testing.assert_close(with_it.clean.abs(), without.clean.abs())
    torch.testing.assert_close(with_it.noise.abs(), without.noise.abs())


def test_one_kind_twice_draws_twice():
    pairs = batch(1, 100)
    once, twice = (Augment((Gain(),) * n)(pairs, sample_rate=RATE, seed=0).noise for n in (1, 2))
    gain = float((once / pairs.noise).mean())
    assert abs(float((twice / pairs.noise).mean()) - gain**2) > 1e-3


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (Gain, {"probability": 1.5}, "from 0 to 1"),
        (Gain, {"probability": math.nan}, "from 0 to 1"),
        (Gain, {"gain_db": (3.0, -3.0)}, "lowest, highest"),
        (Remix, {"snr_db": (0.0, math.inf)}, "finite"),
        (Speed, {"ratio": (0.1, 1.0)}, "0.5 to 2"),
        (Reverb, {"rt60": (0.0, 0.5)}, "above 0 s"),
        (Clip, {"level_db": (-3.0, 0.0)}, "below 0 dB"),
        (BandLimit, {"cutoff": (0.0, 4000.0)}, "above 0 Hz"),
        (Codec, {"bits": (1, 8)}, "from 2 on"),
        (Codec, {"bits": (4.5, 8)}, "whole numbers"),
    ],
)
def test_settings_that_can_not_be(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        kind(**settings)


@pytest.mark.parametrize(("clean", "noise"), [((4,), (4,)), ((2, 4), (2, 5)), ((2, 4), (1, 4)), ((1, 2, 4), (1, 2, 4))])
def test_parts_that_do_not_fit_are_named(clean, noise):
    with pytest.raises(ValueError, match="batch, samples"):
        apply(Gain(), Pairs(torch.zeros(clean), torch.zeros(noise)))


def test_a_kind_without_a_change_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match="_change"):
        apply(Augmentation(), batch())
