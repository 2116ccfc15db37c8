"The catalogue keeps its promises: names, splits, measurements, and a reason for all that is left out."

import csv
import random
import re
import string
from collections import defaultdict
from dataclasses import fields, replace

import pytest
import torch
import torchaudio
from fake_sources import RATE, made_hum, made_source, made_voice
from hypothesis import given
from hypothesis import strategies as st
from source_tree import ROOT

from specdehaze import packages
from specdehaze.audio import AudioError, level_db, write_audio
from specdehaze.disturbances import coloured_noise
from specdehaze.packages import cache_folder, known_packages
from specdehaze.plan import CLEAN, NOISES, PROFILES
from specdehaze.recordings import TEST_VOICES, bundled_recordings, resource_folder
from specdehaze.sources import (
    SPLITS,
    Source,
    Take,
    assess_takes,
    deal_voices,
    fetch_dataset,
    find_fault,
    find_takes,
    flat_top_share,
    known_sources,
    measure_take,
    read_mono,
    source_folder,
    takes_from_rows,
)
from specdehaze.tables import read_table, write_table

SOURCES = known_sources()
KINDS = {kind for table in (CLEAN, NOISES) for kinds in table.values() for kind in kinds}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def groups_in(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def of_how(how: str) -> list[Source]:
    return [source for source in SOURCES.values() if source.how == how]


def found_and_unpacked() -> dict[str, list[Take]]:
    "Takes of the sources that are here without asking anybody: bundled ones, and packages in the cache."
    places = {source: resource_folder("data") for source in of_how("bundled")}
    for source in of_how("debian"):
        if folder := packages._on_the_shelf(known_packages()[source.package], cache_folder()):
            places[source] = folder
    return {source.name: find_takes(source, folder) for source, folder in places.items()}


@pytest.fixture(scope="module")
def here() -> dict[str, list[Take]]:
    return found_and_unpacked()


# The table


def test_table_has_one_row_a_name_and_no_other_columns():
    with open(ROOT / "data" / "sources.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == [field.name for field in fields(Source)]
    assert [row["name"] for row in rows] == list(SOURCES)
    assert all(None not in row and None not in row.values() for row in rows)


@each_source
def test_row_says_all_that_is_asked(source):
    assert re.fullmatch(r"[a-z0-9-]+", source.name)
    assert source.kind in KINDS and source.split in (*SPLITS, "by voice")
    assert source.holds and source.licence and source.author
    assert source.how in ("bundled", "debian", "torchaudio", "folder")
    assert set(source.profiles.split()) <= {profile for sizes in PROFILES.values() for profile in sizes}
    assert source.sample_rate == "" or 8000 <= int(source.sample_rate) <= 192000
    assert bool(source.sample_rate) or source.how == "folder"
    assert bool(source.package) == (source.how != "bundled")
    assert source.kind not in ("speech", "instrument", "babble") or source.voice
    assert source.kind != "speech" or source.language or source.how == "folder"


@each_source
def test_patterns_compile_and_have_the_groups_that_names_are_made_of(source):
    pattern = re.compile(source.files)
    re.compile(source.leave_out)
    assert groups_in(source.voice) | groups_in(source.language) <= set(pattern.groupindex)
    assert source.voice or source.kind in ("ambience", "machine", "keyboard", "music")


def test_every_package_is_pinned_and_every_data_set_known_to_torchaudio():
    assert {source.package for source in of_how("debian")} <= set(known_packages())
    names = {source.package.partition("/")[0] for source in of_how("torchaudio")}
    assert names == {"LIBRISPEECH", "VCTK_092"}
    assert all(callable(getattr(torchaudio.datasets, name)) for name in names)


def test_the_smallest_corpora_need_no_network_and_no_profile_needs_the_internet_at_large():
    assert {source.how for source in SOURCES.values() if source.serves("smoke")} == {"bundled"}
    assert {source.how for source in SOURCES.values() if source.profiles} == {"bundled", "debian"}


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("profile", ["smoke", "small", "full"])
def test_each_profile_has_clean_voices_in_each_split(kind, profile):
    splits = {s.split for s in SOURCES.values() if s.serves(profile) and s.kind in CLEAN[kind]}
    assert splits == set(SPLITS)


def test_every_kind_of_disturbance_is_in_the_full_test_and_recorded_hum_in_every_profile():
    full = {s.kind for s in SOURCES.values() if s.serves("full") and s.split == "test"}
    assert full >= {"ambience", "machine", "keyboard", "babble", "music", "hum"}
    for profile in ("smoke", "small", "full"):
        assert {s.split for s in SOURCES.values() if s.serves(profile) and s.kind == "hum"} == {"test"}


# Splits


def assert_apart(takes: list[Take]) -> None:
    splits = defaultdict(set)
    for take in takes:
        splits[take.voice].add(take.split)
    assert {voice: found for voice, found in splits.items() if len(found) > 1} == {}


def test_no_file_is_claimed_twice_and_no_voice_is_in_two_splits(here):
    claims = defaultdict(list)
    for name, takes in here.items():
        for take in takes:
            claims[SOURCES[name].package, take.place].append((name, take.split))
    assert {file: rows for file, rows in claims.items() if len(rows) > 1} == {}
    assert_apart([take for takes in here.values() for take in takes])


def test_every_package_that_is_here_has_what_its_rows_promise(here):
    if len(here) == len(of_how("bundled")):
        pytest.skip("no package is in the cache")
    assert all(here.values())
    assert {take.voice for take in here.get("fillets-nl", [])} <= {"fillets-nl-m", "fillets-nl-v"}
    spoken = [take.place for name, takes in here.items() if name.startswith("asterisk") for take in takes]
    assert not [place for place in spoken if re.search(r"/(beep|beeperr|tt-monkeys|ascending-2tone)\.", place)]


def test_voices_and_noises_of_the_test_are_nowhere_else(here):
    takes = [take for found in here.values() for take in found]
    for voice in TEST_VOICES:
        assert {take.split for take in takes if take.voice == voice} == {"test"}
    rows = [s for s in SOURCES.values() if s.voice in TEST_VOICES]
    assert {row.split for row in rows} == {"test"} and {row.voice for row in rows} == TEST_VOICES


def test_bundled_recordings_are_under_the_names_that_their_table_gives():
    named = {recording.path.relative_to(ROOT / "data").as_posix(): recording for recording in bundled_recordings()}
    for source in of_how("bundled"):
        for take in find_takes(source, ROOT / "data"):
            recording = named.pop(take.place)
            assert (take.licence == recording.licence) and take.language == (source.language and recording.language)
            if source.kind in ("speech", "instrument"):
                assert take.voice == recording.voice
    assert {recording.kind for recording in named.values()} == {"noisy"}  # good for nothing but listening


def test_what_the_bundled_test_was_cut_from_trains_nobody():
    for recording in bundled_recordings():
        if recording.kind not in ("noise", "hummy") and recording.voice not in TEST_VOICES:
            continue
        files = re.findall(r"[\w./-]+\.(?:ogg|g722)", recording.note)
        assert files or recording.kind == "hummy"
        for source in of_how("debian"):
            if source.package == recording.package and source.split != "test":
                assert not [file for file in files if re.search(source.files, f"/{file}")], source.name


def test_a_thunder_that_two_games_share_is_not_in_training_and_validation():
    places = {"scorched3d-ambience": "/none/data/wav/misc/thunder2.wav", "7kaa-validation": "/7kaa/SOUND/THUNDER.WAV"}
    assert [name for name, place in places.items() if re.search(SOURCES[name].files, place)] == ["scorched3d-ambience"]


@given(st.sets(st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable()), max_size=60))
def test_voices_are_dealt_the_same_way_whatever_their_order(voices):
    dealt = deal_voices(sorted(voices))
    shuffled = sorted(voices, key=lambda voice: hash(voice))
    assert dealt == deal_voices(shuffled * 2) and set(dealt) == voices
    counts = [list(dealt.values()).count(split) for split in SPLITS]
    if len(voices) >= 3:
        assert counts[1] == counts[2] == max(round(len(voices) / 10), 1) and counts[0] >= 1
    else:
        assert counts == [len(voices), 0, 0]


# Data sets and folders of one's own


def touch(root, *places):
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_librispeech_is_read_as_it_is_laid_out(tmp_path):
    root = tmp_path / "LibriSpeech"
    touch(root, "dev-clean/84/121123/84-121123-0000.flac", "dev-clean/84/121123/84-121123.trans.txt")
    touch(root, "dev-clean/84/121550/84-121550-0001.flac", "dev-clean/174/50561/174-50561-0000.flac", "SPEAKERS.TXT")
    takes = find_takes(SOURCES["librispeech-dev-clean"], root / "dev-clean")
    assert [take.voice for take in takes] == ["librispeech-174", "librispeech-84", "librispeech-84"]
    assert {(take.split, take.language, take.licence) for take in takes} == {("validation", "en", "CC-BY-4.0")}


def test_vctk_is_dealt_out_by_speaker_and_its_second_microphone_is_left_alone(tmp_path):
    speakers = [f"p{number}" for number in range(225, 255)] + ["s5"]
    for speaker in speakers:
        names = [f"{speaker}_{take:03d}_mic{mic}.flac" for take in (1, 2) for mic in (1, 2)]
        touch(tmp_path / "VCTK-Corpus-0.92" / "wav48_silence_trimmed" / speaker, *names)
    takes = find_takes(SOURCES["vctk"], tmp_path / "VCTK-Corpus-0.92")
    assert len(takes) == 2 * len(speakers) and {take.voice for take in takes} == {f"vctk-{s}" for s in speakers}
    assert_apart(takes)
    assert {take.split for take in takes} == set(SPLITS)


def test_voicebank_splits_as_its_makers_did(tmp_path):
    touch(tmp_path, "clean_trainset_28spk_wav/p226_001.wav", "noisy_trainset_28spk_wav/p226_001.wav")
    touch(tmp_path, "clean_testset_wav/p232_001.wav", "noisy_testset_wav/p232_001.wav", "logfiles/log.txt")
    for name, voice, split in (("voicebank-train", "vctk-p226", "train"), ("voicebank-test", "vctk-p232", "test")):
        (take,) = find_takes(SOURCES[name], tmp_path)
        assert (take.voice, take.split) == (voice, split) and take.place.startswith("clean_")


def test_musan_noise_and_music_are_dealt_out_by_file(tmp_path):
    noises = [f"noise/free-sound/noise-free-sound-{number:04d}.wav" for number in range(20)]
    touch(tmp_path, *noises, "noise/free-sound/ANNOTATIONS", "music/fma/music-fma-0000.wav")
    touch(tmp_path, "speech/librivox/speech-librivox-0000.wav")
    found = find_takes(SOURCES["musan-noise"], tmp_path)
    assert [take.place for take in found] == noises and len({take.voice for take in found}) == 20
    assert {take.split for take in found} == set(SPLITS)
    assert [take.place for take in find_takes(SOURCES["musan-music"], tmp_path)] == ["music/fma/music-fma-0000.wav"]


@pytest.mark.parametrize("name", ["voices", "noises"])
def test_own_folders_with_splits_keep_them(tmp_path, name):
    touch(tmp_path, "train/ann/1.wav", "train/ann/2.WAV", "validation/bob/deep/er/1.flac", "test/eve.ogg")
    touch(tmp_path, "test/eve.txt")
    takes = {take.place: take for take in find_takes(SOURCES[name], tmp_path)}
    assert {place: take.split for place, take in takes.items()} == {
        "train/ann/1.wav": "train", "train/ann/2.WAV": "train", "validation/bob/deep/er/1.flac": "validation",
        "test/eve.ogg": "test",
    }
    if name == "voices":
        assert [takes[place].voice for place in sorted(takes)] == ["eve", "ann", "ann", "bob"]
    else:
        assert len({take.voice for take in takes.values()}) == 4


def test_own_folders_without_splits_are_dealt_out_by_voice(tmp_path):
    for voice in ("ann", "bob", "Dr. No", "été"):
        touch(tmp_path / voice, "1.wav", "2.wav", "sub/3.mp3")
    takes = find_takes(SOURCES["voices"], tmp_path)
    assert {take.voice for take in takes} == {"ann", "bob", "Dr. No", "été"} and len(takes) == 12
    assert_apart(takes)
    assert {take.split for take in takes} == set(SPLITS)


def test_takes_come_in_order_whatever_the_disk_says(tmp_path, monkeypatch):
    touch(tmp_path, *(f"v{number}/{number}.wav" for number in range(30)))
    calm = find_takes(SOURCES["voices"], tmp_path)
    listing = type(tmp_path).rglob

    def stirred(path, pattern):
        paths = list(listing(path, pattern))
        random.Random(1).shuffle(paths)
        return iter(paths)

    monkeypatch.setattr(type(tmp_path), "rglob", stirred)
    assert find_takes(SOURCES["voices"], tmp_path) == calm


def test_a_folder_without_what_is_looked_for_says_so(tmp_path):
    touch(tmp_path, "notes.txt", "a.wav/inside.txt")
    with pytest.raises(AudioError, match=r"no recording of the source 'musan-noise'.*looks for noise/"):
        find_takes(SOURCES["musan-noise"], tmp_path)


def test_what_is_to_be_left_out_is(tmp_path):
    sounds = "usr/share/asterisk/sounds/it_IT_m_Carlo"
    touch(tmp_path / sounds, "hello.g722", "digits/1.g722", "beep.g722", "tt-monkeys.g722", "tt-monkeysintro.g722")
    takes = find_takes(SOURCES["asterisk-it"], tmp_path)
    assert [take.place for take in takes] == [f"{sounds}/hello.g722", f"{sounds}/tt-monkeysintro.g722"]


# Getting a source


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("LIBRISPEECH/dev-clean", ("LIBRISPEECH", {"url": "dev-clean"}, "LibriSpeech/dev-clean")),
        ("VCTK_092", ("VCTK_092", {}, "VCTK-Corpus-0.92")),
    ],
)
def test_a_data_set_is_downloaded_into_the_cache(tmp_path, monkeypatch, package, expected):
    name, arguments, place = expected
    asked = []
    monkeypatch.setenv("SPECDEHAZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchaudio.datasets, name, lambda root, **given: asked.append((root, given)))
    assert fetch_dataset(package) == tmp_path / "cache" / "datasets" / place
    assert asked == [(tmp_path / "cache" / "datasets", arguments | {"download": True})]
    (source,) = [source for source in SOURCES.values() if source.package == package]
    assert source_folder(source, {}) == tmp_path / "cache" / "datasets" / place


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("hash mismatch"), ConnectionResetError()])
def test_a_server_that_fails_is_a_clear_error(tmp_path, monkeypatch, error):
    def fail(root, **given):
        raise error

    monkeypatch.setenv("SPECDEHAZE_CACHE", str(tmp_path))
    monkeypatch.setattr(torchaudio.datasets, "LIBRISPEECH", fail)
    with pytest.raises(AudioError, match=r"dev-clean.*could not download.*connect to the internet, or unpack it into"):
        fetch_dataset("LIBRISPEECH/dev-clean")


def test_the_names_of_the_data_sets_are_those_of_torchaudio(tmp_path):
    "With download=False torchaudio only looks, and says where it looked."
    for source in of_how("torchaudio"):
        name, _, subset = source.package.partition("/")
        folder = tmp_path / ("LibriSpeech/" + subset if subset else "VCTK-Corpus-0.92")
        touch(folder, "wav48_silence_trimmed/p225/p225_001_mic2.flac", "84/121123/84-121123-0000.flac")
        touch(folder, "txt/p225/p225_001.txt")
        getattr(torchaudio.datasets, name)(tmp_path, **({"url": subset} if subset else {}), download=False)


def test_a_folder_is_the_users_own(tmp_path, monkeypatch):
    assert source_folder(SOURCES["voices"], {"voices": str(tmp_path)}) == tmp_path
    assert source_folder(SOURCES["festvox-ru"], {"festvox-ru": tmp_path}) == tmp_path  # also in place of a download
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source_folder(SOURCES["voices"], {"voices": "~"}) == tmp_path
    with pytest.raises(AudioError, match="no such folder, but it was given for the source voices"):
        source_folder(SOURCES["voices"], {"voices": tmp_path / "gone"})
    with pytest.raises(AudioError, match=r"musan-noise needs MUSAN.*musan-noise=FOLDER"):
        source_folder(SOURCES["musan-noise"], {})


def test_a_package_is_fetched_and_a_bundled_source_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("specdehaze.sources.fetch_package", lambda name, progress: tmp_path / name)
    assert source_folder(SOURCES["festvox-ru"], {}) == tmp_path / "festvox-ru"
    assert source_folder(SOURCES["bundled-it"], {}) == ROOT / "data"


# Reading and measuring


def test_the_louder_channel_is_read_without_dc(tmp_path):
    voice = made_voice(1.0, 0)
    write_audio(tmp_path / "a.wav", torch.stack([0.2 * voice + 0.3, voice - 0.25]), RATE)
    sound, rate, offset = read_mono(tmp_path / "a.wav")
    assert rate == RATE and offset == pytest.approx(-0.25, abs=1e-3) and abs(float(sound.mean())) < 1e-6
    assert level_db(sound) == pytest.approx(float(level_db(voice)), abs=0.1)
    part, _, _ = read_mono(tmp_path / "a.wav", start=1000, frames=2000, sample_rate=8000)
    assert len(part) == 1000 and abs(float(part.mean())) < 1e-6


def test_a_file_of_no_samples_is_refused(tmp_path):
    write_audio(tmp_path / "a.wav", torch.zeros(1, 0), RATE)
    with pytest.raises(AudioError, match="no samples"):
        read_mono(tmp_path / "a.wav")


def runs_at_the_peak(samples) -> float:
    "The definition, as loops."
    peak, inside = max(map(abs, samples), default=0), [False] * len(samples)
    for start in range(len(samples) - 2):
        if all(abs(value) >= 0.9999 * peak > 0 for value in samples[start : start + 3]):
            inside[start : start + 3] = [True] * 3
    return sum(inside) / max(len(samples), 1)


@given(st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -1.0]), max_size=30))
def test_flat_tops_by_definition(samples):
    assert flat_top_share(torch.tensor([*samples, 1.0])) == pytest.approx(runs_at_the_peak([*samples, 1.0]), abs=1e-6)


def measured(tmp_path, sound, *, rate=RATE, kind="speech", name="a") -> Take:
    write_audio(tmp_path / f"{name}.wav", sound, rate)
    take = Take("own", f"{name}.wav", kind, "train", name, "", "CC0-1.0")
    take = measure_take(take, {"own": tmp_path})
    return replace(take, fault=find_fault(take))


def test_a_good_voice_passes_with_its_measurements(tmp_path):
    take = measured(tmp_path, made_voice(2.0, 1))
    assert take.fault == "" and (take.sample_rate, take.seconds) == (RATE, 2.0)
    assert take.level_db == pytest.approx(float(level_db(made_voice(2.0, 1))), abs=0.1)
    assert take.loud_db - take.floor_db == pytest.approx(60, abs=4) and len(take.digest) == 16
    assert 2500 < take.bandwidth <= 8000 and take.clipped == 0 and abs(take.offset) < 0.001


@pytest.mark.parametrize(
    ("fault", "sound", "kind"),
    [
        ("silent: -120", torch.zeros(RATE), "speech"),
        ("silent", 1e-4 * made_voice(2.0, 1), "ambience"),
        ("short: 0.2 s", made_voice(0.2, 1), "speech"),
        ("clipped: ", (20 * made_voice(2.0, 1)).clamp(-1, 1), "speech"),
        ("clipped: ", (20 * made_voice(2.0, 1)).clamp(-0.5, 0.5), "instrument"),
        ("noisy: its pauses lie only", made_voice(2.0, 1) + 0.02 * coloured_noise(2 * RATE, RATE), "speech"),
        ("no pause", coloured_noise(2 * RATE, RATE) * torch.linspace(0.001, 0.3, 2 * RATE), "hum"),
    ],
)
def test_each_fault_is_found_and_named(tmp_path, fault, sound, kind):
    assert measured(tmp_path, sound, kind=kind).fault.startswith(fault)


def test_a_dull_voice_is_left_out_and_its_bandwidth_is_measured(tmp_path):
    spectrum = torch.fft.rfft(made_voice(2.0, 1))
    spectrum[int(2 * 1500) :] = 0
    take = measured(tmp_path, torch.fft.irfft(spectrum, n=2 * RATE))
    assert take.fault.startswith("dull: nothing above 1") and take.bandwidth <= 1501


@pytest.mark.parametrize("hertz", [100, 3000])
@pytest.mark.parametrize("samples", [8009, 16001, 48000])
def test_the_bandwidth_of_a_tone_is_its_frequency(tmp_path, hertz, samples):
    tone = 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / RATE) * torch.hann_window(samples)
    assert measured(tmp_path, tone, kind="ambience").bandwidth == pytest.approx(hertz, abs=8)


def test_of_a_noise_only_that_it_can_be_heard_is_asked(tmp_path):
    for sound in (made_voice(0.1, 1), (20 * made_voice(2.0, 1)).clamp(-1, 1), torch.tensor([0.1, -0.1])):
        assert measured(tmp_path, sound, kind="ambience").fault == ""
    assert measured(tmp_path, torch.tensor([0.1]), kind="ambience").fault.startswith("silent")  # nothing but DC


def test_dc_is_recorded(tmp_path):
    take = measured(tmp_path, made_voice(2.0, 1) + 0.1)
    assert take.offset == pytest.approx(0.1, abs=1e-3) and take.fault == ""
    assert take.level_db == pytest.approx(measured(tmp_path, made_voice(2.0, 1), name="b").level_db, abs=0.11)


BROKEN = {
    "empty.wav": b"", "text.wav": b"this is no sound", "text.flac": b"fLaC", "none.g722": b"",
    "random.ogg": random.Random(0).randbytes(5000), "random.mp3": random.Random(1).randbytes(5000),
    "random.m4a": random.Random(2).randbytes(5000), "head.ogg": b"OggS" + bytes(60),
    "riff.wav": b"RIFF\x24\0\0\0WAVEfmt ", "zeros.aiff": bytes(4000), "zeros.opus": bytes(100),
    "zeros.webm": bytes(4000),
}  # fmt: skip


def test_no_broken_file_stops_the_measuring(tmp_path):
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    write_audio(tmp_path / "cut.flac", made_voice(1.0, 0), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:9000])
    write_audio(tmp_path / "good.wav", made_voice(1.0, 0), RATE)
    names = [*BROKEN, "cut.flac", "gone.wav", "good.wav"]
    takes = [Take("own", name, "speech", "train", name, "", "CC0-1.0") for name in names]
    faults = {take.place: take.fault for take in assess_takes(takes, {"own": tmp_path})}
    assert faults.pop("good.wav") == ""
    assert {name for name, fault in faults.items() if not fault.startswith(("unreadable: ", "silent"))} == set()
    assert "no such file" in faults["gone.wav"] and str(tmp_path) not in faults["empty.wav"]


def test_a_hum_with_pauses_is_fit_for_use(tmp_path):
    assert measured(tmp_path, made_hum(4.0, 0), kind="hum").fault == ""


# What shows when all lie side by side


def own_takes(tmp_path, sounds: dict[str, torch.Tensor]) -> list[Take]:
    for place, sound in sounds.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_audio(tmp_path / place, sound, RATE)
    return find_takes(SOURCES["voices"], tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_copies_leave_the_training_and_not_the_test(tmp_path, workers):
    sounds = {f"{split}/{split}/copy.wav": made_voice(1.0, 0) for split in SPLITS}
    sounds |= {"train/ann/1.wav": made_voice(1.0, 1), "train/bob/1.flac": made_voice(1.0, 1)}
    seen = []
    takes = assess_takes(
        own_takes(tmp_path, sounds), {"voices": tmp_path}, workers=workers, progress=lambda *n: seen.append(n)
    )
    faults = {take.place: take.fault for take in takes}
    assert faults == {
        "test/test/copy.wav": "", "train/ann/1.wav": "",
        "train/bob/1.flac": "copy of voices/train/ann/1.wav",
        "train/train/copy.wav": "copy of voices/test/test/copy.wav",
        "validation/validation/copy.wav": "copy of voices/test/test/copy.wav",
    }
    assert seen == [(number, 5) for number in range(1, 6)]


def test_a_voice_in_two_splits_stays_in_the_last_one(tmp_path):
    places = [f"{split}/ann/{number}.wav" for split in ("train", "test") for number in range(2)] + ["train/bob/1.wav"]
    sounds = {place: made_voice(1.0, seed) for seed, place in enumerate(places)}
    takes = assess_takes(own_takes(tmp_path, sounds), {"voices": tmp_path})
    kept = [take for take in takes if not take.fault]
    assert_apart(kept)
    assert {(take.voice, take.split) for take in kept} == {("ann", "test"), ("bob", "train")}
    assert {take.fault for take in takes if take.fault} == {"in two splits: ann is heard in test"}


def test_two_sources_of_the_same_speakers_are_kept_apart(tmp_path):
    "VCTK is dealt out by speaker, and VoiceBank took its speakers from VCTK."
    touch(tmp_path / "bank/clean_trainset_28spk_wav", *(f"p{n}_001.wav" for n in range(225, 245)))
    touch(tmp_path / "vctk/wav48_silence_trimmed", *(f"p{n}/p{n}_001_mic1.flac" for n in range(225, 245)))
    folders = {"voicebank-train": tmp_path / "bank", "vctk": tmp_path / "vctk"}
    takes = []
    for name, folder in folders.items():
        for number, take in enumerate(find_takes(SOURCES[name], folder)):
            write_audio(folder / take.place, made_voice(0.5, 100 * len(name) + number, 48000), 48000)
            takes.append(take)
    assert len({(take.voice, take.split) for take in takes}) > 20  # they do disagree
    kept = [take for take in assess_takes(takes, folders) if not take.fault]
    assert_apart(kept)
    assert {take.voice for take in kept} == {take.voice for take in takes}


def test_a_fault_claims_neither_a_sound_nor_a_voice(tmp_path):
    short = made_voice(0.2, 0)
    sounds = {"test/ann/1.wav": short, "train/ann/1.wav": made_voice(1.0, 3), "train/ann/2.wav": short}
    faults = {take.place: take.fault for take in assess_takes(own_takes(tmp_path, sounds), {"voices": tmp_path})}
    assert faults["train/ann/1.wav"] == "" and faults["train/ann/2.wav"].startswith("short")


def test_takes_come_back_from_their_table(tmp_path):
    source = made_source(name="own", kind="speech", split="train", voice="ann", files=r"\.wav$", licence="CC0-1.0")
    write_audio(tmp_path / 'a, "b".wav', made_voice(1.234, 0), RATE)
    write_audio(tmp_path / "01.wav", torch.zeros(100), RATE)
    takes = assess_takes(find_takes(source, tmp_path), {"own": tmp_path})
    back = takes_from_rows(read_table(write_table([vars(take) for take in takes], tmp_path / "takes.csv", {})))
    assert back == takes and isinstance(back[0].sample_rate, int) and back[0].place == "01.wav"
