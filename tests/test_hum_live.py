"The causal canceller: the same output for any blocks, and what it may and may not see."

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import mix_at_snr, resample
from specdehaze.evaluation import si_sdr
from specdehaze.hum import synthesize_hum
from specdehaze.hum_live import HumCanceller
from specdehaze.recordings import bundled_recordings


@pytest.fixture(scope="module")
def noisy():
    clean, rate = bundled_recordings(language="es")[0].load()
    clean = clean[0].repeat(2)
    hum, _ = synthesize_hum(len(clean), rate, harmonics=8, modulation=0.3, seed=1)
    return clean, mix_at_snr(clean, hum, 5.0)[0], rate


def run(waveform, rate, sizes):
    canceller, outputs, start = HumCanceller(rate, channels=len(waveform)), [], 0
    while start < waveform.shape[1]:
        size = sizes[len(outputs) % len(sizes)]
        outputs.append(canceller.process(waveform[:, start : start + size]))
        start += size
    return torch.cat(outputs, 1)


def gained(live, noisy, clean, rate, *, after=4):
    start = after * rate
    return float(si_sdr(live[start:], clean[start:]) - si_sdr(noisy[start:], clean[start:]))


@settings(deadline=None, max_examples=5)
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=3))
def test_blocks_of_any_size_give_the_same(noisy, sizes):
    _, waveform, rate = noisy
    waveform = waveform[None, : 3 * rate]
    sizes = [*sizes, 700]
    assert torch.equal(run(waveform, rate, sizes), run(waveform, rate, [waveform.shape[1]]))


def test_the_future_changes_nothing(noisy):
    _, waveform, rate = noisy
    changed = waveform.clone()
    changed[4 * rate :] = 0
    both = [run(clip[None], rate, [320])[:, : 4 * rate] for clip in (waveform, changed)]
    assert torch.equal(*both)


def test_it_removes_most_of_the_hum_after_listening(noisy):
    clean, waveform, rate = noisy
    live = run(waveform[None], rate, [320])[0]
    assert torch.equal(live[: 2 * rate], waveform[: 2 * rate])
    assert si_sdr(live[4 * rate :], clean[4 * rate :]) > 30


def test_a_hum_that_begins_later_is_found(noisy):
    clean, waveform, rate = noisy
    late = torch.where(torch.arange(len(clean)) < 3 * rate, clean, waveform)
    live = run(late[None], rate, [480])[0]
    assert torch.equal(live[: 3 * rate], clean[: 3 * rate])
    assert gained(live, late, clean, rate, after=7) > 10


def test_a_hum_that_stops_is_let_go(noisy):
    clean, waveform, rate = noisy
    early = torch.where(torch.arange(len(clean)) < 4 * rate, waveform, clean)
    live = run(early[None], rate, [480])[0]
    assert torch.equal(live[7 * rate :], clean[7 * rate :])


def test_a_hum_that_jumps_is_found_again(noisy):
    clean, waveform, rate = noisy
    hum = waveform - clean
    jumped = clean + torch.where(torch.arange(len(clean)) < 4 * rate, hum, -hum)
    live = run(jumped[None], rate, [480])[0]
    assert gained(live, jumped, clean, rate, after=9) > 15


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_any_rate_will_do(noisy, rate):
    clean, waveform, native = noisy
    clean, waveform = (resample(clip[: 6 * native], native, rate) for clip in (clean, waveform))
    assert gained(run(waveform[None], rate, [rate // 50])[0], waveform, clean, rate) > 20


def test_channels_share_a_clock_but_not_a_hum(noisy):
    clean, waveform, rate = noisy
    both = torch.stack([waveform, clean - 0.5 * (waveform - clean)])
    for live, heard in zip(run(both, rate, [320]), both):
        assert gained(live, heard, clean, rate) > 20


def test_channels_must_stay_the_same():
    canceller = HumCanceller(16_000, channels=2)
    assert canceller.process(torch.zeros(2, 0)).shape == (2, 0)
    with pytest.raises(ValueError, match="2 channels"):
        canceller.process(torch.zeros(1, 100))


@pytest.mark.parametrize("broken", [0.0, float("nan")])
def test_silence_and_what_is_broken_pass(broken):
    clip = torch.full((1, 80_000), broken)
    torch.testing.assert_close(run(clip, 16_000, [320]), clip, equal_nan=True, atol=0, rtol=0)


def test_a_stream_without_hum_passes_bit_for_bit(noisy):
    clean, _, rate = noisy
    assert torch.equal(run(clean[None], rate, [320])[0], clean)


def test_a_broken_block_does_not_break_the_stream(noisy):
    clean, waveform, rate = noisy
    broken = waveform[None].clone()
    broken[0, 5 * rate : 5 * rate + 320] = float("nan")
    live = run(broken, rate, [320])[0]
    assert int(live.isnan().sum()) == 320
    assert gained(live, waveform, clean, rate, after=6) > 20
