"Partners are found or named, 16 bits keep what they should, and a shard is tensors and nothing that runs."

import errno
import math
import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specdehaze.audio import Stft, write_audio
from specdehaze.pairs import (
    CacheError,
    CacheItem,
    CacheSettings,
    file_items,
    load_pair,
    make_shard,
    match_pairs,
    pack_veil,
    read_shard,
    to_int16,
    unpack_veil,
)
from specdehaze.veil import estimate_veil

RATE = 16_000


def sound(samples: int = 4000, *, seed: int = 0, channels: int = 1) -> torch.Tensor:
    "Noise that a 16-bit file holds exactly."
    draw = torch.randint(-8000, 8000, (channels, samples), generator=torch.Generator().manual_seed(seed))
    return draw / 32768


@pytest.fixture
def folders(tmp_path):
    "Empty folders for noisy recordings and for noises, and a function that writes into them."
    noisy_dir, noise_dir = tmp_path / "noisy", tmp_path / "noise"

    def write(noisy: str = "", noise: str = "", *, waveform=None, rate: int = RATE) -> None:
        for folder, names in ((noisy_dir, noisy), (noise_dir, noise)):
            for number, name in enumerate(names.split()):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_audio(path, sound(seed=number) if waveform is None else waveform, rate)

    noisy_dir.mkdir(), noise_dir.mkdir()
    return noisy_dir, noise_dir, write


def names(pairs, folder: Path) -> list[tuple[str, str]]:
    return [(a.relative_to(folder / "noisy").as_posix(), b.relative_to(folder / "noise").as_posix()) for a, b in pairs]


def test_partners_share_a_name_or_a_number(folders, tmp_path):
    noisy_dir, noise_dir, write = folders
    write("n0001.wav n0002.wav rain.wav sub/x7.wav", "v0001.wav v2.flac rain.flac sub/noise_007.wav")
    (noisy_dir / "notes.txt").write_text("not a recording")
    (noise_dir / ".hidden.wav").write_text("nor this")
    expected = [("n0001.wav", "v0001.wav"), ("n0002.wav", "v2.flac"), ("rain.wav", "rain.flac")]
    assert names(match_pairs(noisy_dir, noise_dir), tmp_path) == [*expected, ("sub/x7.wav", "sub/noise_007.wav")]


def test_a_name_counts_more_than_a_number(folders, tmp_path):
    noisy_dir, noise_dir, write = folders
    write("a_1.wav b_1.wav", "b_1.wav a_1.wav")
    assert names(match_pairs(noisy_dir, noise_dir), tmp_path) == [("a_1.wav", "a_1.wav"), ("b_1.wav", "b_1.wav")]


@pytest.mark.parametrize(
    "noisy, noise, complaints",
    [
        ("n1.wav n2.wav n3.wav", "v1.wav", ["noisy n2.wav has no noise", "noisy n3.wav has no noise"]),
        ("n1.wav", "v1.wav rain.wav", ["noise rain.wav has no noisy"]),
        ("a1.wav b1.wav", "v1.wav", ["not clear", "a1.wav, b1.wav", "v1.wav"]),
        ("x.wav x.flac", "x.wav", ["not clear", "x.flac, x.wav"]),
        ("sub/n1.wav n2.wav", "v1.wav v2.wav", ["noisy sub/n1.wav has no noise", "noise v1.wav has no noisy"]),
        ("", "v1.wav", ["no recordings"]),
    ],
)
def test_whoever_has_no_partner_is_named(folders, noisy, noise, complaints):
    noisy_dir, noise_dir, write = folders
    write(noisy, noise)
    with pytest.raises(CacheError) as caught:
        match_pairs(noisy_dir, noise_dir)
    assert all(complaint in str(caught.value) for complaint in complaints)


def test_a_long_list_of_problems_is_cut(folders):
    noisy_dir, noise_dir, write = folders
    write("n0.wav", "v0.wav")
    for number in range(1, 50):
        (noisy_dir / f"n{number}.wav").touch()
    with pytest.raises(CacheError, match="and 29 more"):
        match_pairs(noisy_dir, noise_dir)


def test_folders_that_make_no_sense(folders, tmp_path):
    noisy_dir, _, write = folders
    write("n1.wav")
    with pytest.raises(CacheError, match="one folder"):
        match_pairs(noisy_dir, tmp_path / "noise" / ".." / "noisy")
    with pytest.raises(CacheError, match="no such folder"):
        match_pairs(noisy_dir, tmp_path / "nowhere")


def test_five_seconds_of_a_pair(folders):
    "Clean = noisy - noise, exactly, from files to the shard."
    noisy_dir, noise_dir, write = folders
    clean, noise = sound(5 * RATE, seed=1), sound(5 * RATE, seed=2)
    write("n0001.wav", waveform=clean + noise)
    write("", "v0001.wav", waveform=noise)
    (item,) = file_items(noisy_dir, noise_dir, sample_rate=RATE)
    noisy, read = item.load()
    assert (item.name, item.split) == ("n0001", "train") and noisy.shape == (5 * RATE,)
    assert torch.equal(noisy - read, clean[0])
    shard = make_shard([item], CacheSettings(), "digest")
    kept = (shard["noisy"].int() - shard["noise"].int()) * shard["step"]
    assert torch.equal(kept, clean[0]) and shard["veil"].shape == (CacheSettings().frames(5 * RATE), 257)


def test_splits_are_folders(folders):
    noisy_dir, noise_dir, write = folders
    names = "train/a.wav validation/a.wav test/deep/a.wav other/a.wav a.wav"
    write(names, names)
    items = file_items(noisy_dir, noise_dir, sample_rate=RATE)
    found = {(item.split, item.name) for item in items}
    assert found == {("train", "train/a"), ("validation", "validation/a"), ("test", "test/deep/a"),
                     ("train", "other/a"), ("train", "a")}


def test_channels_become_their_mean_and_rates_one(folders):
    noisy_dir, noise_dir, write = folders
    stereo = sound(8000, channels=2)
    write("n1.wav", waveform=stereo, rate=8000)
    write("", "v1.wav", waveform=stereo[:1], rate=8000)
    noisy, noise = load_pair(noisy_dir / "n1.wav", noise_dir / "v1.wav", 8000)
    assert torch.equal(noisy, stereo.mean(0)) and torch.equal(noise, stereo[0])
    noisy, noise = file_items(noisy_dir, noise_dir, sample_rate=RATE)[0].load()
    assert len(noisy) == len(noise) == RATE


def test_every_pair_that_does_not_fit_is_named_at_once(folders):
    noisy_dir, noise_dir, write = folders
    write("n1.wav n2.wav n3.wav n4.wav n5.wav", "v1.wav v2.wav v3.wav v4.wav v5.wav")
    write("", "v1.wav", waveform=sound(3999))
    write("", "v2.wav", rate=8000)
    (noisy_dir / "n3.wav").write_text("no sound at all")
    write("n4.wav", "v4.wav", waveform=sound(0))
    with pytest.raises(CacheError) as caught:
        file_items(noisy_dir, noise_dir, sample_rate=RATE)
    message = str(caught.value)
    assert "v1.wav differ in length: 4000 and 3999" in message and "16000 and 8000 Hz" in message
    assert "n3.wav: not readable" in message and "n4.wav holds no samples" in message and "n5" not in message


def test_identity_follows_the_content_and_not_the_date(folders):
    noisy_dir, noise_dir, write = folders
    write("n1.wav", "v1.wav")

    def identity() -> str:
        return file_items(noisy_dir, noise_dir, sample_rate=RATE)[0].identity

    before = identity()
    os.utime(noisy_dir / "n1.wav", (1, 1))
    assert identity() == before
    write("", "v1.wav", waveform=sound(seed=9))
    assert identity() != before


def test_items_travel_to_other_processes(folders):
    noisy_dir, noise_dir, write = folders
    write("n1.wav", "v1.wav")
    (item,) = file_items(noisy_dir, noise_dir, sample_rate=RATE)
    assert torch.equal(pickle.loads(pickle.dumps(item)).load()[0], item.load()[0])


@given(
    st.lists(st.tuples(st.floats(-4, 4, width=32), st.floats(-4, 4, width=32)), min_size=1, max_size=50),
    st.floats(-30, 20),
)
def test_one_step_for_both_and_less_than_a_step_off(values, exponent):
    noisy, noise = (torch.tensor(values).double() * 2.0**exponent).float().T
    whole_noisy, whole_noise, step = to_int16(noisy, noise)
    assert whole_noisy.dtype == whole_noise.dtype == torch.int16 and math.frexp(step)[0] == 0.5
    for whole, waveform in ((whole_noisy, noisy), (whole_noise, noise)):
        assert (whole * step - waveform).abs().max() <= step  # one whole step only at full scale
    peak = max(noisy.abs().max(), noise.abs().max())
    assert peak == 0 or peak < 2.0**-40 or peak >= 16384 * step * 0.999


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50), st.integers(-32768, 32767))
def test_sixteen_bits_stay_as_they_are(values, other):
    noisy, noise = torch.tensor(values) / 32768, torch.full((len(values),), other / 32768)
    whole_noisy, whole_noise, step = to_int16(noisy, noise)
    assert torch.equal(whole_noisy * step, noisy) and torch.equal(whole_noise * step, noise)


@given(st.lists(st.floats(1e-11, 1e6), min_size=1, max_size=50))
def test_a_veil_keeps_its_ratio(values):
    veil = torch.tensor(values, dtype=torch.float32)[:, None]
    assert (10 * torch.log10(unpack_veil(pack_veil(veil)) / veil)).abs().max() < 0.035


def test_a_veil_of_silence_is_finite():
    packed = pack_veil(torch.zeros(257, 3))
    assert packed.isfinite().all() and (unpack_veil(packed) > 0).all()


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000])
def test_veil_is_that_of_the_spectrogram(samples):
    settings, waveform = CacheSettings(n_fft=512, hop_length=128, veil="minimum"), sound(samples)[0]
    power = Stft(512, 128).forward(waveform).abs().square()
    expected = estimate_veil(power, frame_rate=125.0, bin_hertz=31.25, method="minimum")
    assert torch.equal(settings.veil_of(waveform), expected)
    assert settings.frames(samples) == expected.shape[-1]


@pytest.mark.parametrize(
    "wrong", [{"veil": "haze"}, {"n_fft": 511}, {"hop_length": 300}, {"sample_rate": 0}, {"pairs_per_shard": 0}]
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        CacheSettings(**wrong)


def give(pair):
    return pair


def item_of(noisy, noise, *, name: str = "a", identity: str = "1") -> CacheItem:
    return CacheItem(name, "train", identity, partial(give, (noisy, noise)))


def test_digest_follows_everything_that_counts():
    settings, item = CacheSettings(), item_of(*sound(10, channels=2))
    changed = [replace(item, name="b"), replace(item, split="test"), replace(item, identity="2")]
    digests = {settings.digest([one]) for one in (item, *changed)}
    others = {"sample_rate": 8000, "n_fft": 1024, "hop_length": 128, "veil": "retinex", "pairs_per_shard": 2}
    digests |= {replace(settings, **{key: value}).digest([item]) for key, value in others.items()}
    assert len(digests) == 9 and settings.digest([item]) == CacheSettings().digest([replace(item)])


def fail():
    raise OSError(errno.EIO, "the disk is broken")


@pytest.mark.parametrize(
    "load, words",
    [
        (partial(give, (torch.zeros(10), torch.zeros(11))), r"\(10,\), \(11,\)"),
        (partial(give, (torch.zeros(1, 10), torch.zeros(1, 10))), r"\(1, 10\)"),
        (partial(give, (torch.zeros(0), torch.zeros(0))), r"\(0,\)"),
        (partial(give, (torch.zeros(10), torch.full((10,), torch.nan))), "NaN"),
        (partial(give, (torch.zeros(10),)), "two waveforms"),
        (fail, "the disk is broken"),
    ],
)
def test_a_pair_that_cannot_be_loaded_is_named(load, words):
    with pytest.raises(CacheError, match=f"train pair 'take 7': .*{words}"):
        make_shard([CacheItem("take 7", "train", "", load)], CacheSettings(), "digest")


@pytest.fixture
def shard(tmp_path):
    "A small shard, and where it is written to."
    shard = make_shard([item_of(*sound(3000, channels=2))], CacheSettings(), "digest")
    torch.save(shard, tmp_path / "train_000.pt")
    return shard, tmp_path / "train_000.pt"


def test_a_shard_is_mapped_and_not_read(tmp_path):
    waveforms = sound(2_000_000, channels=2)
    path = tmp_path / "large.pt"
    torch.save(make_shard([item_of(*waveforms)], CacheSettings(), "digest"), path)
    opened = read_shard(path)
    maps = Path("/proc/self/smaps")
    if not maps.exists():
        pytest.skip("only Linux shows its maps")
    entry = maps.read_text().partition(str(path))[2].splitlines()[1:8]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in entry if line.endswith("kB")}
    assert sizes["Size"] * 1024 >= path.stat().st_size - 4096  # the whole file is mapped
    assert sizes["Rss"] < sizes["Size"] / 4  # and little of it is in memory
    assert opened["noisy"][1_000_000] * opened["step"][0] == waveforms[0, 1_000_000]


class Greedy:
    "Makes a file when its pickle is loaded."

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_shard_does_not_run(shard, tmp_path):
    content, path = shard
    torch.save(content | {"digest": Greedy(tmp_path / "ran")}, path)
    with pytest.raises(CacheError, match="more in it than tensors"):
        read_shard(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.999])
def test_a_shard_that_is_cut_off(shard, part):
    path = shard[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CacheError, match="run preprocess again"):
        read_shard(path)


def test_other_files_are_no_shards(shard, tmp_path):
    content, path = shard
    for wrong in ([1, 2], {"digest": "x"}, content | {"noisy": content["noisy"][1:]}, content | {"noise": 3}):
        torch.save(wrong, path)
        with pytest.raises(CacheError, match="run preprocess again"):
            read_shard(path)
    path.write_text("hello")
    for wrong in (path, tmp_path / "missing.pt", tmp_path):
        with pytest.raises(CacheError, match="no shard"):
            read_shard(wrong)
