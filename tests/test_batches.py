"Settings that make no sense are refused, and what an epoch brings depends on seed and epoch alone."

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from source_tree import ROOT

from specdehaze.augmentation import Pairs
from specdehaze.batches import CropBatches, TrainingError, TrainingSettings, cosine, deal, hold_folder, normalise_level
from specdehaze.cache import CachedPairs, build_cache
from specdehaze.pairs import CacheItem, CacheSettings

SETTINGS = TrainingSettings("toy", batch_size=4, seed=3)


def sounds(seed: int, samples: int):
    return tuple(0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    "Five pairs of 1 to 3 seconds: 9 crops."
    folder = tmp_path_factory.mktemp("cache")
    lengths = (16_000, 20_000, 32_000, 40_000, 16_000)
    items = [CacheItem(f"p{n}", "train", str(n), lambda n=n: sounds(n, lengths[n])) for n in range(5)]
    build_cache(items, folder, CacheSettings(sample_rate=16_000))
    return folder


@given(st.integers(1, 12), st.integers(0, 50), st.integers(1, 40), st.integers(0, 5))
def test_a_hand_is_a_piece_of_the_endless_row(cards, start, count, seed):
    row = deal(cards, start=0, count=start + count, seed=seed)
    assert deal(cards, start=start, count=count, seed=seed) == row[start:]


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5))
def test_every_deck_is_whole(cards, deck, seed):
    assert sorted(deal(cards, start=deck * cards, count=cards, seed=seed)) == [*range(cards)]


def test_decks_and_seeds_differ():
    assert deal(50, start=0, count=50, seed=0) != deal(50, start=50, count=50, seed=0)
    assert deal(50, start=0, count=50, seed=0) != deal(50, start=0, count=50, seed=1)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_what_one_would_see(cache, world):
    one = CropBatches(CachedPairs(cache), SETTINGS)
    parts = [CropBatches(CachedPairs(cache), SETTINGS, rank=rank, world=world) for rank in range(world)]
    for batches in (one, *parts):
        batches.set_epoch(5)
    for number in range(len(one)):
        together = torch.stack([part[number].noise for part in parts], 1).flatten(0, 1)
        assert torch.equal(together, one[number].noise)


def test_an_epoch_does_not_depend_on_those_before(cache):
    fresh, used = (CropBatches(CachedPairs(cache), SETTINGS) for _ in range(2))
    for epoch in (0, 1, 9):
        used.set_epoch(epoch)
    fresh.set_epoch(9)
    assert [batch.clean.sum() for batch in fresh] == [batch.clean.sum() for batch in used] and len([*fresh]) == 3


@pytest.mark.parametrize(("crops", "batches"), [(0, 3), (1, 1), (8, 2), (9, 3), (100, 25)])
def test_length_of_an_epoch(cache, crops, batches):
    made = CropBatches(CachedPairs(cache), replace(SETTINGS, epoch_crops=crops))
    assert len(made) == batches and made[batches - 1].clean.shape == (4, 16_000)


def test_short_epochs_use_every_crop_before_any_twice(cache):
    made, seen = CropBatches(CachedPairs(cache), replace(SETTINGS, epoch_crops=2, batch_size=2)), []
    for epoch in range(9):
        made.set_epoch(epoch)
        seen += made._order
    assert sorted(seen[:9]) == sorted(seen[9:]) == [*range(9)]


def test_a_batch_that_can_not_be_shared(cache):
    with pytest.raises(TrainingError, match="4 can not be shared by 3"):
        CropBatches(CachedPairs(cache), SETTINGS, world=3)


@pytest.mark.parametrize(
    "wish", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": float("nan")}, {"learning_rate": 0}, {"clip": -1},
             {"seconds": 0}, {"warmup_steps": -1}, {"epoch_crops": -2}, {"normalise": "rms"}]
)
def test_settings_that_make_no_sense(wish):
    with pytest.raises(TrainingError, match=next(iter(wish))):
        replace(SETTINGS, **wish)


@given(st.integers(1, 300), st.integers(0, 50))
def test_the_rate_rises_and_then_falls(total, warmup):
    shares = [cosine(step, warmup=warmup, total=total) for step in range(total + 1)]
    assert all(0 <= share <= 1 for share in shares) and shares[-1] < 1e-9
    rest = shares[min(warmup, total // 10) :]
    assert all(a >= b for a, b in zip(rest, rest[1:]))


def test_level():
    pairs = Pairs(torch.randn(3, 100), torch.randn(3, 100) * torch.tensor([[0.0], [1.0], [1e3]]))
    level = normalise_level(pairs, "peak")
    torch.testing.assert_close(level.noisy.abs().amax(1), torch.ones(3))
    torch.testing.assert_close(level.clean * pairs.noise, pairs.clean * level.noise)  # one factor for both
    silent = normalise_level(Pairs(torch.zeros(1, 9), torch.zeros(1, 9)), "peak")
    assert not silent.noisy.any()


@pytest.mark.parametrize("wish", [{"epochs": 1.5}, {"batch_size": "4"}, {"seed": None}])
def test_numbers_that_are_not_whole(wish):
    with pytest.raises(TrainingError, match=f"{next(iter(wish))} must be a whole number"):
        replace(SETTINGS, **wish)


def test_a_folder_is_held_by_one_and_then_by_another(tmp_path):
    run = tmp_path / "run"
    with hold_folder(run), pytest.raises(TrainingError, match="another training"), hold_folder(run):
        pytest.fail("both")
    with hold_folder(tmp_path / "run"):
        assert not list((tmp_path / "run").iterdir())


def test_a_folder_held_by_a_process_that_was_killed(tmp_path):
    code = f"from specdehaze.batches import hold_folder as h\nwith h({str(tmp_path)!r}): print(flush=True); input()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
        process.stdout.readline()
        with pytest.raises(TrainingError, match="another training"), hold_folder(tmp_path):
            pytest.fail("both")
        process.kill()
        process.wait()
        with hold_folder(tmp_path):
            pass
