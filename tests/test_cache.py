"A cache is whole or continued, never stale, the same from any number of workers, and its crops are in step."

import errno
import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from source_tree import ROOT
from torch.utils.data import DataLoader

from specdehaze import cache
from specdehaze.audio import write_audio
from specdehaze.cache import CachedPairs, Crop, build_cache, plan_cache, preprocess, read_manifest
from specdehaze.pairs import CacheError, CacheItem, CacheSettings

SETTINGS = CacheSettings(pairs_per_shard=2)
SCRIPT = '''
import os, signal, sys, time
from functools import partial
from pathlib import Path

import torch

from specdehaze.cache import build_cache
from specdehaze.pairs import CacheItem, CacheSettings


def slow(seed, seconds):
    time.sleep(seconds)
    draw = torch.randint(-9000, 9000, (2, 5000 + 100 * seed), generator=torch.Generator().manual_seed(seed))
    return (draw[0] + draw[1]) / 32768, draw[1] / 32768


def items(seconds):
    return [CacheItem(f"p{seed}", "train", str(seed), partial(slow, seed, seconds)) for seed in range(10)]


def say(done, total):
    print(done, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(), flush=True)
    if done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_middle(path, content):
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        if "train_002" in path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        file.write(content[len(content) // 2 :])


if __name__ == "__main__":
    if sys.argv[5:]:
        Path.write_bytes = die_in_the_middle
    settings = CacheSettings(pairs_per_shard=2)
    build_cache(items(float(sys.argv[3])), sys.argv[1], settings, workers=int(sys.argv[2]), progress=say)
'''


def noise_pair(seed: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    "Two noises that 16 bits hold exactly, so that crops can be compared bit by bit."
    generator = torch.Generator().manual_seed(seed)
    noise, clean = torch.randint(-9000, 9000, (2, samples), generator=generator) / 32768
    return clean + noise, noise


def make_items(*lengths: int, split: str = "train") -> list[CacheItem]:
    loads = [partial(noise_pair, seed, samples) for seed, samples in enumerate(lengths)]
    return [CacheItem(f"p{seed}", split, str(seed), load) for seed, load in enumerate(loads)]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def run_script(folder: Path, *arguments: object) -> subprocess.Popen:
    "Start a build of ten pairs: how many workers, seconds a pair, kill itself when so many are done."
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


def is_alive(pid: int) -> bool:
    "Whether a process runs; one that only waits to be reaped does not."
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").exists()


def wait_until(condition, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    "Hashes of the cache that the script makes when nobody stops it."
    folder = tmp_path_factory.mktemp("whole") / "cache"
    finish(folder)
    return hashes(folder)


def finish(folder: Path) -> int:
    "Go on with one worker, here: how many pairs were done already."
    script, done = folder.parent / "script.py", []
    script.write_text(SCRIPT)
    items = runpy.run_path(str(script))["items"](0)
    build_cache(items, folder, CacheSettings(pairs_per_shard=2), progress=lambda number, total: done.append(number))
    return done[0]


def test_killed_in_the_middle_of_a_write(uninterrupted, tmp_path):
    folder = tmp_path / "cache"
    with run_script(folder, 1, 0, 99, "die") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = {path.name.split(".")[0] or path.name.split(".")[1] for path in folder.glob("*train*")}
    assert left == {"train_000", "train_001", "train_002"} and not (folder / "train_002.pt").exists()
    assert any(path.name.startswith(".train_002.pt.") for path in folder.iterdir())  # the half of it
    with pytest.raises(CacheError, match="not finished, 2 of 5 shards"):
        CachedPairs(folder)
    assert finish(folder) == 4 and hashes(folder) == uninterrupted


def test_killed_with_two_workers(uninterrupted, tmp_path):
    folder = tmp_path / "cache"
    with run_script(folder, 2, 1.0, 2) as process:
        lines = process.stdout.read().splitlines()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    workers = {int(pid) for line in lines for pid in line.split()[1:]}
    assert len(workers) >= 2 and wait_until(lambda: not any(map(is_alive, workers)))  # nobody is left behind
    assert not (folder / "train_004.pt").exists()
    finish(folder)
    assert hashes(folder) == uninterrupted


def test_ctrl_c_ends_all_of_it_and_it_goes_on(uninterrupted, tmp_path):
    folder = tmp_path / "cache"
    with run_script(folder, 2, 0.3, 99) as process:
        assert wait_until(lambda: any(folder.glob("train_*.pt")))
        os.killpg(process.pid, signal.SIGINT)
        lines, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    workers = {int(pid) for line in lines.splitlines() for pid in line.split()[1:]}
    assert wait_until(lambda: not any(map(is_alive, workers)))
    finish(folder)
    assert hashes(folder) == uninterrupted


def test_two_workers_make_what_one_makes(tmp_path):
    items = make_items(20_000, 700, 16_000, 30_000, 9000)
    one, two = (build_cache(items, tmp_path / str(n), SETTINGS, workers=n) for n in (1, 2))
    assert one == two and hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_threads_of_the_caller_are_left_alone_and_do_not_matter(tmp_path):
    build_cache(make_items(20_000, 30_000), tmp_path / "one", SETTINGS)
    torch.set_num_threads(2)
    try:
        build_cache(make_items(20_000, 30_000), tmp_path / "two", SETTINGS)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_progress_counts_pairs(tmp_path):
    seen = []
    build_cache(make_items(*[600] * 5), tmp_path, SETTINGS, progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]
    build_cache(make_items(*[600] * 5), tmp_path, SETTINGS, progress=lambda *counts: seen.append(counts))
    assert seen[4:] == [(5, 5)]


def test_manifest_says_what_is_there(tmp_path):
    manifest = build_cache(make_items(1600, 3200, 800) + make_items(1600, split="test"), tmp_path, SETTINGS)
    assert manifest == read_manifest(tmp_path) and manifest.complete
    assert [shard.file for shard in manifest.shards] == ["train_000.pt", "train_001.pt", "test_000.pt"]
    assert (manifest.pairs, manifest.seconds) == (4, 7200 / 16_000)
    assert manifest.size == sum(path.stat().st_size for path in tmp_path.glob("*.pt"))
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["complete"] is True and content["settings"]["veil"] == "combined"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json", "test_000.pt", "train_000.pt", "train_001.pt"
    ]


@pytest.mark.parametrize("damage", ["missing", "cut", "bit", "empty", "text", "other"])
def test_a_damaged_shard_is_made_again(damage, tmp_path):
    items = make_items(*[4000] * 4)
    build_cache(items, tmp_path, SETTINGS)
    before, path = hashes(tmp_path), tmp_path / "train_001.pt"
    content = path.read_bytes()
    wrong = {"cut": content[:-100], "empty": b"", "text": b"hello", "other": (tmp_path / "train_000.pt").read_bytes()}
    wrong["bit"] = content[:5000] + bytes([content[5000] ^ 4]) + content[5001:]
    path.unlink() if damage == "missing" else path.write_bytes(wrong[damage])
    if damage not in ("bit", "other"):  # of the same size: only a build reads all of it
        with pytest.raises(CacheError, match="train_001.pt: missing or not as it was written"):
            CachedPairs(tmp_path)
    build_cache(items, tmp_path, SETTINGS)
    assert hashes(tmp_path) == before


def test_shards_of_another_cache_do_not_count(tmp_path):
    build_cache(make_items(4000, 4000), tmp_path / "a", SETTINGS)
    other = replace(SETTINGS, veil="minimum")
    build_cache(make_items(4000, 4000), tmp_path / "b", other)
    (tmp_path / "a" / "manifest.json").unlink()
    build_cache(make_items(4000, 4000), tmp_path / "a", other)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize(
    "items, settings, words",
    [
        (make_items(600, 700), replace(SETTINGS, veil="minimum"), ["veil is 'combined' there and 'minimum' here"]),
        (make_items(600, 700), replace(SETTINGS, n_fft=1024), ["n_fft is 512 there and 1024 here"]),
        (make_items(600), SETTINGS, ["pairs only there: 1, such as train p1"]),
        (make_items(600, 700, 800), SETTINGS, ["pairs only here: 1, such as train p2"]),
        ([make_items(600)[0], replace(make_items(700)[0], name="p1", identity="new")], SETTINGS, ["another sound: 1"]),
        (make_items(600, 700)[::-1], SETTINGS, ["order of the pairs"]),
    ],
)
def test_another_cache_is_refused_and_left_alone(items, settings, words, tmp_path):
    build_cache(make_items(600, 700), tmp_path, SETTINGS)
    before = hashes(tmp_path)
    with pytest.raises(CacheError) as caught:
        build_cache(items, tmp_path, settings)
    assert all(word in str(caught.value) for word in [*words, "holds another cache", "choose another folder"])
    assert hashes(tmp_path) == before


def broken() -> None:
    raise OSError(errno.EIO, "cannot be decoded")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_pair_stops_the_build_with_its_name(workers, tmp_path):
    items = make_items(*[600] * 6)
    items[5] = CacheItem("bad one", "train", "5", broken)
    with pytest.raises(CacheError, match="train pair 'bad one': .*cannot be decoded"):
        build_cache(items, tmp_path, SETTINGS, workers=workers)
    assert not (tmp_path / "train_002.pt").exists() and not list(tmp_path.glob(".*"))
    items[5] = replace(items[5], load=make_items(600)[0].load)
    done = []
    assert build_cache(items, tmp_path, SETTINGS, progress=lambda n, _: done.append(n)).complete
    if workers == 1:
        assert done[0] == 4  # what was finished is kept


def test_a_full_disk(tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def overflow(path: Path, content) -> None:
        if "train_001" not in path.name:
            return write_bytes(path, content)
        write_bytes(path, bytes(content)[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", overflow)
    with pytest.raises(CacheError, match=r"train_001.pt: cannot be written \(No space left.*free some space"):
        build_cache(make_items(*[600] * 6), tmp_path, SETTINGS)
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "train_000.pt"}
    monkeypatch.undo()
    assert build_cache(make_items(*[600] * 6), tmp_path, SETTINGS).complete


def test_a_disk_that_is_full_from_the_beginning(tmp_path, monkeypatch):
    def overflow(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_whole", overflow)
    with pytest.raises(CacheError, match="cannot be written to"):
        build_cache(make_items(600), tmp_path / "new", SETTINGS)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
def test_a_limit_of_the_system_on_the_size_of_files(tmp_path):
    "The same, but it is the system that says no."
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_cache import SETTINGS, build_cache, make_items
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
build_cache(make_items(600, 600, 60_000, 60_000), {str(tmp_path)!r}, SETTINGS)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "CacheError" in run.stderr and "train_001.pt: cannot be written (File too large)" in run.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "train_000.pt"}


@pytest.mark.parametrize(
    "items, words",
    [
        ([], "at least one pair"),
        (make_items(600) + make_items(600), "2 train pairs are called 'p0'"),
        (make_items(600, split="../up"), "splits are words"),
    ],
)
def test_items_that_make_no_cache(items, words, tmp_path):
    with pytest.raises(CacheError, match=words):
        build_cache(items, tmp_path / "cache", SETTINGS)
    assert not (tmp_path / "cache").exists()


def test_calls_that_make_no_sense(tmp_path):
    with pytest.raises(ValueError, match="at least one worker"):
        build_cache(make_items(600), tmp_path / "cache", SETTINGS, workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot be written to"):
        build_cache(make_items(600), tmp_path / "file", SETTINGS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}}', '{"settings": {"colour": 1}, "shards": []}'])
def test_what_is_no_manifest(text, tmp_path):
    with pytest.raises(CacheError, match=r"no manifest.json; make one"):
        CachedPairs(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CacheError, match="not the manifest of a cache"):
        CachedPairs(tmp_path)
    with pytest.raises(CacheError, match="not the manifest of a cache"):
        build_cache(make_items(600), tmp_path, SETTINGS)


def test_the_plan_knows_order_and_splits():
    plan = plan_cache(make_items(*[9] * 3) + make_items(9, split="test"), SETTINGS)
    assert [(shard.file, shard.names) for shard in plan.shards] == [
        ("train_000.pt", ["p0", "p1"]), ("train_001.pt", ["p2"]), ("test_000.pt", ["p0"])
    ]


def test_preprocess_from_folders(tmp_path):
    (tmp_path / "noisy").mkdir(), (tmp_path / "noise").mkdir()
    for number, samples in enumerate((8000, 5 * 16_000)):
        noisy, noise = noise_pair(number, samples)
        write_audio(tmp_path / "noisy" / f"n{number:04}.wav", noisy, 16_000)
        write_audio(tmp_path / "noise" / f"v{number:04}.wav", noise, 16_000)
    manifest = preprocess(tmp_path / "noisy", tmp_path / "noise", tmp_path / "cache", SETTINGS)
    whole = CachedPairs(tmp_path / "cache", seconds=None)[1]
    noisy, noise = noise_pair(1, 5 * 16_000)
    assert manifest.pairs == 2 and torch.equal(whole.clean, noisy - noise) and torch.equal(whole.noise, noise)
    write_audio(tmp_path / "noise" / "v0000.wav", noise[:8000], 16_000)
    with pytest.raises(CacheError, match="with another sound: 1, such as train n0000"):
        preprocess(tmp_path / "noisy", tmp_path / "noise", tmp_path / "cache", SETTINGS)


LENGTHS = (16_000, 50_000, 700, 33_333, 16_001)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A cache of five pairs in three shards."
    folder = tmp_path_factory.mktemp("built")
    build_cache(make_items(*LENGTHS) + make_items(4000, split="test"), folder, SETTINGS)
    return folder


def place_of(crop: Crop) -> tuple[int, int]:
    "Which pair a crop is from, and where it begins: by looking."
    for number, samples in enumerate(LENGTHS):
        noisy, _ = noise_pair(number, samples)
        if samples >= 64:
            starts = (noisy.unfold(0, 64, 1) == crop.noisy[:64]).all(1).nonzero()
            if len(starts):
                return number, int(starts[0])
    raise AssertionError("the crop is from nowhere")


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 1.2345])
def test_crops_are_aligned(built, seconds):
    pairs = CachedPairs(built, seconds=seconds, seed=3)
    length = round(16_000 * seconds)
    for index in range(len(pairs)):
        crop = pairs[index]
        number, start = place_of(crop)
        noisy, noise = noise_pair(number, LENGTHS[number])
        sound = min(length, LENGTHS[number])
        assert start % 256 == 0 and int(crop.samples) == sound and len(crop.noisy) == len(crop.noise) == length
        assert torch.equal(crop.noise[:sound], noise[start : start + sound])
        assert torch.equal(crop.clean[:sound], (noisy - noise)[start : start + sound])
        frames = SETTINGS.frames(sound)
        veil = SETTINGS.veil_of(noisy)[:, start // 256 : start // 256 + frames]
        assert crop.veil.shape == (257, SETTINGS.frames(length)) and veil.shape[1] == frames
        assert (10 * torch.log10(crop.veil[:, :frames] / veil)).abs().max() < 0.035
        assert not crop.noisy[sound:].any() and not crop.clean[sound:].any()
        assert torch.equal(crop.veil[:, frames:], crop.veil[:, frames - 1 : frames].expand_as(crop.veil[:, frames:]))


def test_long_pairs_count_for_more(built):
    pairs = CachedPairs(built, seconds=1.0)
    assert len(pairs) == 1 + 4 + 1 + 3 + 2
    assert [place_of(pairs[index])[0] for index in range(11)] == [0, 1, 1, 1, 1, 2, 3, 3, 3, 4, 4]


def test_crops_depend_on_seed_epoch_and_number_alone(built):
    def starts(seed: int, epoch: int, order) -> list[int]:
        pairs = CachedPairs(built, seconds=0.1, seed=seed)
        pairs.set_epoch(epoch)
        crops = {index: pairs[index].noisy for index in order}
        return [hash(tuple(crops[index].tolist())) for index in sorted(crops)]

    assert starts(1, 2, range(50)) == starts(1, 2, reversed(range(50)))
    different = [starts(*which, range(50)) for which in ((1, 2), (1, 3), (2, 2))]
    assert all(sum(x == y for x, y in zip(a, b)) < 25 for a, b in pairwise(different))


def test_all_places_are_drawn(built):
    pairs, seen = CachedPairs(built, seconds=1.0), set()
    for epoch in range(60):
        pairs.set_epoch(epoch)
        seen.add(place_of(pairs[6])[1] // 256)
    last = (33_333 - 16_000) // 256
    assert len(seen) > 30 and min(seen) < 5 and last - 5 < max(seen) <= last


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_crops(built, workers):
    pairs = CachedPairs(built, seconds=0.25, seed=5)
    singles = [pairs[index] for index in range(len(pairs))]
    options = {"persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(pairs, batch_size=4, num_workers=workers, **options)
    for epoch in range(2):
        pairs.set_epoch(epoch)
        batches = list(loader)
        assert all(type(batch) is Crop for batch in batches) and batches[0].noisy.dtype == torch.float32
        assert batches[0].veil.shape == (4, 257, SETTINGS.frames(4000)) and batches[0].samples.shape == (4,)
        same = [torch.equal(torch.cat([getattr(batch, part) for batch in batches]),
                            torch.stack([getattr(crop, part) for crop in singles])) for part in Crop._fields]
        assert same == ([True] * 4 if epoch == 0 else [False, False, False, True])  # workers that stay follow


def test_workers_that_are_spawned(built):
    pairs = CachedPairs(built, "test")
    (batch,) = DataLoader(pairs, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(batch.noisy[0], pairs[0].noisy)


def test_whole_pairs(built):
    pairs = CachedPairs(built, seconds=None)
    assert len(pairs) == 5
    crops = pairs.__getitems__([2, 3])
    assert [len(crop.noisy) for crop in crops] == [33_333, 33_333]
    assert [int(crop.samples) for crop in crops] == [700, 33_333]
    assert torch.equal(crops[1].noisy, noise_pair(3, 33_333)[0])


def test_indices_beyond_the_end(built):
    pairs = CachedPairs(built)
    assert torch.equal(pairs[-1].noisy, pairs[len(pairs) - 1].noisy)
    with pytest.raises(IndexError):
        pairs[len(pairs)]


def test_what_cannot_be_opened(built):
    with pytest.raises(CacheError, match="no split 'validation' in this cache; it has test, train"):
        CachedPairs(built, "validation")
    with pytest.raises(ValueError, match="at least one sample"):
        CachedPairs(built, seconds=0.0)
    with pytest.raises(CacheError, match="stale, made with n_fft 512, not 1024; veil 'combined', not 'retinex'"):
        CachedPairs(built, settings=replace(SETTINGS, n_fft=1024, veil="retinex"))
    assert len(CachedPairs(built, "test", settings=SETTINGS)) == 1


def test_opening_reads_no_sound(built, monkeypatch):
    def refuse(path):
        raise AssertionError("opened too early")

    monkeypatch.setattr(cache, "read_shard", refuse)
    assert len(CachedPairs(built)) == 11
