"The causal canceller: the same output for any blocks, and what it may and may not see."

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import mix_at_snr
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


@settings(deadline=None, max_examples=5)
@given(sizes=st.lists(st.integers(50, 9000), min_size=1, max_size=3))
def test_blocks_of_any_size_give_the_same(noisy, sizes):
    _, waveform, rate = noisy
    waveform = waveform[None, : 4 * rate]
    torch.testing.assert_close(run(waveform, rate, sizes), run(waveform, rate, [waveform.shape[1]]), atol=1e-6, rtol=0)


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
    assert si_sdr(live[4 * rate :], clean[4 * rate :]) > 22


def test_a_hum_that_begins_later_is_found(noisy):
    clean, waveform, rate = noisy
    late = torch.where(torch.arange(len(clean)) < 3 * rate, clean, waveform)
    live = run(late[None], rate, [480])[0]
    assert torch.equal(live[: 3 * rate], clean[: 3 * rate])
    assert si_sdr(live[7 * rate :], clean[7 * rate :]) > si_sdr(late[7 * rate :], clean[7 * rate :]) + 10


def test_channels_must_stay_the_same():
    canceller = HumCanceller(16_000, channels=2)
    assert canceller.process(torch.zeros(2, 0)).shape == (2, 0)
    with pytest.raises(ValueError, match="2 channels"):
        canceller.process(torch.zeros(1, 100))


def test_one_broken_sample_does_not_break_the_stream(noisy):
    _, waveform, rate = noisy
    broken = waveform[None, : 5 * rate].clone()
    broken[0, 3 * rate] = float("nan")
    live = run(broken, rate, [320])[0]
    assert int(live.isnan().sum()) == 1
