"A corpus is the same to the bit whoever builds it, whatever stops it, and its sounds add up."

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
import soundfile
import torch
from fake_sources import RATE, Catalogue, made_source, made_voice, make_catalogue
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze import corpus, plan, sources
from specdehaze.audio import AudioError, level_db, read_audio, write_audio
from specdehaze.corpus import Corpus, Mixer, build_corpus, join_takes
from specdehaze.plan import PROFILES, CorpusError, CorpusSettings, Mix, Profile, plan_corpus
from specdehaze.sources import Take, assess_takes

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = (
    "id", "split", "source", "licence", "voice", "disturbance", "fundamental", "harmonics", "drift_hz", "snr_db",
    "gain_db", "seconds", "seed",
)  # fmt: skip
FILES = (
    "takes.json", "takes.csv", "metadata.csv", "corpus.json", "train_00001.flac", "test_00001.flac", "SHA256SUMS",
)  # fmt: skip
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Catalogue:
    return make_catalogue(tmp_path_factory.mktemp("made"))


@pytest.fixture
def catalogue(made, monkeypatch) -> Catalogue:
    "The made sources in place of the catalogue, in every profile."
    known = {source.name: replace(source, profiles="smoke small full", package="made") for source in made.sources}
    monkeypatch.setattr(plan, "known_sources", lambda: known)
    return made


@pytest.fixture
def folders(catalogue) -> dict[str, Path]:
    "Where the made sources of a voice corpus are."
    return {source.name: catalogue.folders[source.name] for source in CorpusSettings("voice").sources}


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, Corpus]:
    "The smallest corpora, from bundled recordings, by one worker."
    root = tmp_path_factory.mktemp("built")
    return {kind: build_corpus(root / kind, CorpusSettings(kind)) for kind in PROFILES}


@pytest.fixture(params=PROFILES)
def built(request, both) -> Corpus:
    return both[request.param]


@dataclass
class Tiny:
    root: Path
    build: Callable[..., Corpus]  # of a folder
    content: dict[str, str]


@pytest.fixture
def tiny(folders, monkeypatch, tmp_path) -> Tiny:
    "A corpus that is built in a blink: six mixes of made voices."
    known = {name: source for name, source in plan.known_sources().items() if source.kind == "speech"}
    monkeypatch.setattr(plan, "known_sources", lambda: known)
    monkeypatch.setitem(PROFILES["voice"], "smoke", Profile((3, 1, 2), 1.0, True))
    given = {name: folders[name] for name in known}
    build = partial(build_corpus, settings=CorpusSettings("voice"), folders=given)
    return Tiny(tmp_path / "tiny", build, content(build(tmp_path / "whole").root))


def content(root: Path) -> dict[str, str]:
    "A hash of every file."
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def power_db(sound) -> float:
    return float(10 * sound.double().square().mean().log10())


# Joining and mixing


@given(st.lists(st.integers(1, 900), min_size=1, max_size=5), st.integers(1, 2500))
@settings(max_examples=60)
def test_takes_are_joined_cut_and_faded(lengths, samples):
    pieces = [torch.full((length,), number + 1.0) for number, length in enumerate(lengths)]
    joined, plain = join_takes(pieces, samples, 8000), torch.cat(pieces)[:samples]
    assert joined.shape == (samples,) and not joined[len(plain) :].any()
    assert ((joined[: len(plain)] <= plain) & (joined[: len(plain)] > 0)).all()
    assert all(float(piece[0]) == number + 1 for number, piece in enumerate(pieces))  # they are left as they were
    start = 0
    for piece in pieces:
        here = joined[start : min(start + len(piece), samples)]
        if len(here) > 80:
            assert torch.equal(here[40:-40], piece[40 : len(here) - 40])  # 5 ms at 8 kHz
            torch.testing.assert_close(here, here.flip(0))
        start += len(piece)


def mixes_of(made: Catalogue, kind: str, clips=(8, 8, 14), seconds: float = 2.0) -> list[Mix]:
    kept = PROFILES[kind]["smoke"]
    PROFILES[kind]["smoke"] = Profile(clips, seconds, True)
    try:
        return plan_corpus(CorpusSettings(kind), made.takes)
    finally:
        PROFILES[kind]["smoke"] = kept


@pytest.mark.parametrize("kind", PROFILES)
def test_every_kind_of_mix_is_exact_and_never_clips(kind, made):
    mixer, met = Mixer(made.takes, made.folders), Counter()
    for mix in mixes_of(made, kind):
        pair = mixer(mix)
        assert pair.noisy.shape == pair.clean.shape == pair.noise.shape == (1, round(2.0 * RATE))
        assert torch.equal(pair.noisy, pair.clean + pair.noise)
        assert power_db(pair.clean) - power_db(pair.noise) == pytest.approx(mix.snr_db, abs=1e-3)
        assert max(float(sound.abs().max()) for sound in pair[1:4]) < 1
        met[mix.disturbance] += 1
    expected = {"hum": {"hum", "recorded hum"}, "voice": {*plan.NOISES["voice"], "colour", "reverberation"}}
    assert set(met) == expected[kind]


@pytest.mark.parametrize("kind", PROFILES)
def test_mixing_again_gives_the_same_bits_and_another_seed_another_disturbance(kind, made):
    mixer = Mixer(made.takes, made.folders)
    for mix in mixes_of(made, kind, clips=(1, 1, 7)):
        assert torch.equal(mixer(mix).noisy, mixer(mix).noisy)
        if mix.disturbance != "recorded hum":
            assert not torch.equal(mixer(replace(mix, seed=mix.seed + 1)).noise, mixer(mix).noise)


def test_dc_is_gone_from_the_clean_clip_and_from_the_noise(made, tmp_path):
    takes = [take for take in made.takes if take.split == "train" and take.kind in ("speech", "ambience")]
    for take in takes:
        sound, rate = read_audio(made.folders[take.source] / take.place)
        path = tmp_path / take.source / take.place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, sound + 0.2, rate)
    folders = {take.source: tmp_path / take.source for take in takes}
    assessed = assess_takes(takes, folders)
    assert {round(take.offset, 2) for take in assessed} == {0.2} and not any(take.fault for take in assessed)
    speech = next(n for n, take in enumerate(assessed) if take.kind == "speech")
    noise = next(n for n, take in enumerate(assessed) if take.kind == "ambience" and take.seconds > 5)
    mix = Mix(
        "a", "a", "train", "", "", "", "", str(speech), "ambience", str(noise), seconds=1.0, sample_rate=RATE, seed=3
    )
    pair = Mixer(assessed, folders)(mix)
    for sound in (pair.clean, pair.noise):
        assert abs(float(sound.mean())) < 0.06 * float(sound.square().mean().sqrt())  # it was 2


def test_a_loud_clip_is_turned_down_with_its_disturbance(made):
    mixer = Mixer(made.takes, made.folders)
    for mix in mixes_of(made, "voice"):
        loud = mixer(replace(mix, gain_db=mix.gain_db + 40))
        assert max(float(sound.abs().max()) for sound in loud[1:4]) == pytest.approx(0.98, abs=0.001)
        assert power_db(loud.clean) - power_db(loud.noise) == pytest.approx(mix.snr_db, abs=1e-3)


def test_the_disturbance_alone_stays_below_full_scale(made):
    "Where a click meets a voice of the other sign, the click alone is larger than the sum."
    mixer, highest = Mixer(made.takes, made.folders), 0.0
    for mix in mixes_of(made, "voice", clips=(70, 1, 1)):
        if mix.disturbance == "keyboard":
            for seed in range(8):
                pair = mixer(replace(mix, snr_db=-5.0, gain_db=20.0, seed=seed))
                highest = max(highest, float(pair.noise.abs().max()))
                assert pair.noise.abs().max() <= 0.9801
    assert highest > 0.979  # it was the limit


def test_one_hum_at_every_ratio_over_one_clean_clip(made):
    mixer, mixes = Mixer(made.takes, made.folders), mixes_of(made, "hum")
    met = set()
    for start in range(0, len(mixes), 4):
        pairs = [mixer(replace(mix, gain_db=mix.gain_db + 30 * (start % 8 > 3))) for mix in mixes[start : start + 4]]
        assert all(torch.equal(pair.clean, pairs[0].clean) for pair in pairs)
        for step, pair in enumerate(pairs):
            torch.testing.assert_close(pair.noise * 10 ** (5 * step / 20), pairs[0].noise, atol=1e-6, rtol=1e-5)
        met.add(mixes[start].disturbance)
    assert met == {"hum", "recorded hum"}


def test_a_mixer_of_one_mix_is_small_and_makes_the_same(made):
    mixer = Mixer(made.takes, made.folders)
    for mix in mixes_of(made, "voice", clips=(1, 1, 7)):
        small = corpus._only(mixer, mix)
        assert len(small.takes) <= len(f"{mix.takes} {mix.noise_takes}".split())
        assert torch.equal(small(mix).noisy, mixer(mix).noisy)


def noise_mixer(folder: Path, sound: torch.Tensor) -> tuple[Mixer, Mix]:
    write_audio(folder / "noise.wav", sound, RATE)
    seconds = sound.shape[-1] / RATE
    take = Take("own", "noise.wav", "ambience", "train", "noise", "", "CC0-1.0", RATE, seconds, -30.0)
    mix = Mix("a", "a", "train", "own", "", "", "", "", "ambience", "0", seconds=1.0, sample_rate=RATE)
    return Mixer([take], {"own": folder}), mix


def test_a_silent_stretch_is_drawn_again(tmp_path):
    sound = torch.zeros(1, 12 * RATE)
    sound[:, 6 * RATE :] = 0.1 * torch.randn(1, 6 * RATE)
    mixer, mix = noise_mixer(tmp_path, sound)
    first = 0
    for seed in range(20):
        assert power_db(mixer.stretch(mix, Random(seed))) > -80
        first += Random(seed).randrange(int(10.9 * RATE)) < 5 * RATE  # the first draw is silent
    assert first > 5


def test_a_noise_of_nothing_but_silence_is_a_clear_error(tmp_path):
    mixer, mix = noise_mixer(tmp_path, torch.zeros(1, 4 * RATE))
    with pytest.raises(CorpusError, match=r"noise\.wav: 32 stretches of it were silent"):
        mixer.stretch(mix, Random(0))


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.0, 1.05, 1.2, 5.0])
def test_a_noise_of_any_length_fills_the_clip(tmp_path, seconds):
    mixer, mix = noise_mixer(tmp_path, 0.1 * torch.randn(1, int(seconds * RATE)))
    for rate in (8000, RATE, 44100):
        assert mixer.stretch(replace(mix, sample_rate=rate), Random(1)).shape == (rate,)


def test_stretches_of_a_long_noise_come_from_all_of_it(tmp_path):
    ramp = torch.arange(20.0).repeat_interleave(RATE)[None] / 100 + 0.01
    sound = ramp * torch.cos(torch.arange(20 * RATE) * 1.0)
    mixer, mix = noise_mixer(tmp_path, sound)
    levels = [float(mixer.stretch(mix, Random(seed)).abs().max()) for seed in range(40)]
    assert min(levels) < 0.05 and max(levels) > 0.17


def test_a_full_clip_of_either_kind_is_mixed_from_short_takes(catalogue, tmp_path):
    for kind, lines in (("hum", 4 * (2621 + 562 + 188)), ("voice", 12900)):
        root = tmp_path / kind
        needed = {source.name: catalogue.folders[source.name] for source in CorpusSettings(kind, "full").sources}
        full = build_corpus(root, CorpusSettings(kind, "full"), folders=needed)
        assert len(full.mixes()) == lines
        assert {path.name for path in root.iterdir()} == {
            "corpus.json", "metadata.csv", "metadata.json", "takes.csv", "takes.json",
        }
        size = full.settings.size
        for mix in (full.mixes("train")[0], full.mixes("test")[-1]):
            pair = full.load(mix)
            assert pair.noisy.shape == (1, round(size.seconds * RATE)) and pair.sample_rate == RATE
            assert power_db(pair.clean) - power_db(pair.noise) == pytest.approx(mix.snr_db, abs=1e-2)


# What is written


def test_metadata_has_a_line_a_mix_and_what_was_asked_for(built):
    with open(built.root / "metadata.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert set(COLUMNS) <= set(rows[0]) and len(rows) == len(built.mixes()) > 0
    assert [row["id"] for row in rows] == [mix.id for mix in built.mixes()]
    assert plan_corpus(built.settings, built.takes) == built.mixes()  # the table is the plan, to the last digit
    for row, mix in zip(rows, built.mixes()):
        assert (float(row["snr_db"]), int(row["seed"]), row["split"]) == (mix.snr_db, mix.seed, mix.split)


def test_takes_are_listed_with_the_reason_where_they_are_left_out(built):
    listed = {take.place: take.fault for take in built.takes}
    if built.settings.kind == "hum":
        assert "no pause" in listed["hummy/gl_01.flac"]
    assert all(take.digest and take.seconds and take.licence for take in built.takes)
    with open(built.root / "takes.csv", newline="", encoding="utf-8") as table:
        assert {"offset", "clipped", "bandwidth", "floor_db", "fault"} <= set(next(csv.reader(table)))


def test_written_sounds_add_up_to_the_bit_at_the_ratio(built):
    for mix in built.mixes():
        paths = corpus._sound_files(built.root, mix)
        steps = {part: torch.from_numpy(soundfile.read(path, dtype="int16")[0]).int() for part, path in paths.items()}
        assert torch.equal(steps["noisy"], steps["clean"] + steps["noise"])
        assert max(int(part.abs().max()) for part in steps.values()) < 32767
        assert power_db(steps["clean"]) - power_db(steps["noise"]) == pytest.approx(mix.snr_db, abs=0.05)
        assert {soundfile.info(path).subtype for path in paths.values()} == {"PCM_16"}
        assert len(steps["clean"]) == round(mix.seconds * mix.sample_rate)


def test_written_and_mixed_on_the_fly_differ_by_less_than_a_step(built):
    settings = built.settings
    mixer = Mixer(built.takes, {source.name: ROOT / "data" for source in settings.sources})
    for mix in built.mixes()[::3]:
        loaded, made = built.load(mix), mixer(mix)
        for part in ("noisy", "clean", "noise"):
            assert (getattr(loaded, part) - getattr(made, part)).abs().max() * 32768 <= 1.001, (mix.id, part)


def test_sums_are_those_of_every_table_and_sound(built):
    lines = dict(line.split("  ")[::-1] for line in (built.root / "SHA256SUMS").read_text().splitlines())
    there = content(built.root)
    assert lines == {name: there[name] for name in there if name.endswith((".csv", ".flac"))}


def test_sums_are_checked_by_the_usual_command(built):
    if command := shutil.which("sha256sum"):
        subprocess.run([command, "--check", "--quiet", "SHA256SUMS"], cwd=built.root, check=True)


@pytest.mark.parametrize("how", ["two workers", "two threads"])
def test_same_seed_same_bytes(built, tmp_path, how):
    torch.set_num_threads(2 if how == "two threads" else 1)
    try:
        other = build_corpus(tmp_path / "other", built.settings, workers=2 if how == "two workers" else 1)
    finally:
        torch.set_num_threads(1)
    assert content(other.root) == content(built.root)


def test_another_seed_other_bytes(tmp_path, both):
    other = build_corpus(tmp_path / "other", CorpusSettings("voice", seed=1))
    before, after = content(both["voice"].root), content(other.root)
    assert {name for name in before if before[name] == after[name]} == {"takes.csv"}


def test_a_corpus_that_is_complete_is_opened_and_not_touched(built):
    before = {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}
    seen = []
    again = build_corpus(built.root, built.settings, progress=lambda *news: seen.append(news))
    assert again.mixes() == built.mixes() and seen == []
    assert {path: path.stat().st_mtime_ns for path in built.root.rglob("*")} == before
    assert {mix.split for mix in again.mixes("validation")} == {"validation"}
    with pytest.raises(CorpusError, match="no split is called 'dev': choose one of train"):
        again.mixes("dev")


def test_progress_counts_takes_and_mixes(tmp_path):
    seen = []
    done = build_corpus(tmp_path / "new", CorpusSettings("voice"), progress=lambda *news: seen.append(news))
    takes, mixes = len(done.takes), len(done.mixes())
    assert seen == [("measuring", n, takes) for n in range(1, takes + 1)] + [
        ("mixing", n, mixes) for n in range(1, mixes + 1)
    ]


# Killed and gone on with


def in_child(action) -> int:
    "Run in a child process, and say how it ended: 0, or the number of the signal with a minus."
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:  # whatever happens, even where nothing can be printed: a child must not go on as a second pytest
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@pytest.mark.parametrize("moment", [("measuring", 1), ("measuring", 20), ("mixing", 1), ("mixing", 4), ("mixing", 6)])
def test_a_build_that_is_killed_is_completed_by_building_again(tiny, moment):
    def progress(what, done, total):
        if (what, done) == moment:
            die()

    assert in_child(lambda: tiny.build(tiny.root, progress=progress)) == -signal.SIGKILL
    assert not (tiny.root / "SHA256SUMS").exists()
    seen = Counter()
    tiny.build(tiny.root, progress=lambda what, done, total: seen.update([what]))
    assert content(tiny.root) == tiny.content
    assert ("measuring" in seen) == (moment[0] == "measuring")  # what is there is kept


@needs_fork
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("when", ["half written", "not yet renamed"])
def test_a_build_that_is_killed_while_writing_leaves_nothing_behind(tiny, monkeypatch, name, when):
    rename, write = Path.replace, Path.write_bytes

    def rename_or_die(path, target):
        die() if target.name == name else rename(path, target)

    def write_half_and_die(path, content):
        if re.fullmatch(rf"\.{re.escape(name)}\.\d+", path.name):
            write(path, content[: len(content) // 2])
            die()
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", rename_or_die)
        if when == "half written":
            patch.setattr(Path, "write_bytes", write_half_and_die)
        assert in_child(lambda: tiny.build(tiny.root)) == -signal.SIGKILL
    assert [path for path in tiny.root.rglob(f".{name}.*") if path.is_file()]  # it did leave something
    tiny.build(tiny.root)
    assert content(tiny.root) == tiny.content


@needs_fork
def test_a_build_that_is_killed_time_and_again_gets_there(tiny):
    def progress(what, done, total):
        if what == "mixing" and len(list(tiny.root.glob("noisy/*.flac"))) > before:
            die()

    for _ in range(20):
        before = len(list(tiny.root.glob("noisy/*.flac")))
        if in_child(lambda: tiny.build(tiny.root, progress=progress)) == 0:
            break
    assert content(tiny.root) == tiny.content


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killing_a_build_of_two_workers_midway(both, tmp_path):
    root = tmp_path / "killed"
    script = (
        "from specdehaze.corpus import build_corpus\nfrom specdehaze.plan import CorpusSettings\n"
        f"build_corpus({str(root)!r}, CorpusSettings('voice'), workers=2)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(list(root.glob("noisy/*.flac"))) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    build_corpus(root, CorpusSettings("voice"))
    assert content(root) == content(both["voice"].root)


# What goes wrong


def assert_nothing_half_written(root: Path) -> None:
    "No temporary file, and each sound decodes to the end."
    if not root.is_dir():
        return
    assert not [path for path in root.rglob(".*") if path.is_file()]
    for path in root.rglob("*.flac"):
        assert read_audio(path)[0].shape[1] in (1 * RATE, 4 * RATE)
    if (root / "corpus.json").exists():
        json.loads((root / "corpus.json").read_text())


@needs_fork
@pytest.mark.parametrize("room", [300, 4000, 9000, "five bytes less than the first clip"])
def test_a_full_disk_is_a_clear_error_and_room_completes_the_build(tiny, tmp_path, room):
    import resource

    told = tmp_path / "told"
    if not isinstance(room, int):
        room = (tmp_path / "whole" / "clean" / "train_00000.flac").stat().st_size - 5

    def build():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            tiny.build(tiny.root)
        except CorpusError as error:
            told.write_text(str(error)[:250])

    assert in_child(build) == 0
    assert re.match(r".*/tiny: cannot be written \(.+\): make room there or choose another folder", told.read_text())
    assert_nothing_half_written(tiny.root)
    tiny.build(tiny.root)
    assert content(tiny.root) == tiny.content


def test_no_space_left_says_so(tmp_path, monkeypatch):
    def fail(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(CorpusError, match=r"cannot be written \(No space left on device\): make room"):
        build_corpus(tmp_path / "new", CorpusSettings("voice"))
    assert_nothing_half_written(tmp_path / "new")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_recording_is_left_out_with_its_reason(folders, tmp_path, workers):
    whole, folders["speech-train"] = folders["speech-train"], tmp_path / "speech"
    shutil.copytree(whole, folders["speech-train"])
    (tmp_path / "speech" / "speech0" / "0.wav").write_bytes(b"RIFF")
    done = build_corpus(tmp_path / "new", CorpusSettings("voice"), folders=folders, workers=workers)
    (bad,) = (take for take in done.takes if (take.source, take.place) == ("speech-train", "speech0/0.wav"))
    number = str(done.takes.index(bad))
    assert bad.fault.startswith("unreadable")
    assert not [mix for mix in done.mixes() if number in f"{mix.takes} {mix.noise_takes}".split()]


def test_a_recording_that_goes_away_while_mixing_is_named(folders, tmp_path):
    whole, folders["speech-test"] = folders["speech-test"], tmp_path / "speech"
    shutil.copytree(whole, folders["speech-test"])

    def progress(what, done, total):
        if (what, done) == ("mixing", 1):
            shutil.rmtree(tmp_path / "speech")

    with pytest.raises(AudioError, match=r"speech.*no such file"):
        build_corpus(tmp_path / "new", CorpusSettings("voice"), folders=folders, progress=progress)
    assert_nothing_half_written(tmp_path / "new")
    shutil.copytree(whole, folders["speech-test"])
    build_corpus(tmp_path / "new", CorpusSettings("voice"), folders=folders)


@pytest.mark.parametrize("change", [{"seed": 1}, {"sample_rate": 8000}, {"added": ("voices",)}])
def test_another_corpus_in_the_folder_is_left_alone(built, change):
    before = content(built.root)
    with pytest.raises(CorpusError, match=r"holds another corpus; settings are .* Choose another folder"):
        build_corpus(built.root, replace(built.settings, **change))
    assert content(built.root) == before


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CorpusError, match="holds other files; choose an empty or a new folder"):
        build_corpus(tmp_path, CorpusSettings("voice"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CorpusError, match="is a file, and a corpus needs a folder"):
        build_corpus(tmp_path / "file", CorpusSettings("voice"))
    with pytest.raises(CorpusError, match="cannot be written"):
        build_corpus(tmp_path / "file" / "inside", CorpusSettings("voice"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_for_a_source_that_is_none_of_this_corpus(tmp_path):
    with pytest.raises(CorpusError, match="voices is no source of this corpus: name it among the added ones"):
        build_corpus(tmp_path / "new", CorpusSettings("voice"), folders={"voices": tmp_path})
    with pytest.raises(CorpusError, match="nobody is no source of this corpus"):
        build_corpus(tmp_path / "new", CorpusSettings("voice"), folders={"nobody": tmp_path})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("folders", "message"), [({}, "needs any folder with one folder a voice: give its place as voices=FOLDER"),
                             ({"voices": "gone"}, "gone: no such folder, but it was given for the source voices")]
)  # fmt: skip
def test_a_folder_that_is_not_there(tmp_path, folders, message):
    with pytest.raises(AudioError, match=message):
        build_corpus(tmp_path / "new", CorpusSettings("voice", added=("voices",)), folders=folders)
    assert not (tmp_path / "new").exists()


def test_a_split_with_nothing_in_it(folders, tmp_path):
    folders["speech-validation"] = tmp_path / "short"
    (tmp_path / "short" / "ann").mkdir(parents=True)
    write_audio(tmp_path / "short" / "ann" / "0.wav", made_voice(0.2, 0), RATE)
    with pytest.raises(CorpusError, match="no clean recording is fit for use in validation: add a source"):
        build_corpus(tmp_path / "new", CorpusSettings("voice"), folders=folders)
    assert_nothing_half_written(tmp_path / "new")


def test_own_voices_and_noises_join_a_corpus(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        for kind in ("voices", "noises"):
            path = tmp_path / kind / split / f"own_{split}" / "1.wav"
            path.parent.mkdir(parents=True)
            sound = made_voice(5.0, number) if kind == "voices" else 0.1 * torch.randn(5 * RATE)
            write_audio(path, sound, RATE)
    folders = {kind: tmp_path / kind for kind in ("voices", "noises")}
    settings = CorpusSettings("voice", added=("voices", "noises"))
    done = build_corpus(tmp_path / "new", settings, folders=folders)
    own = {(take.split, take.kind) for take in done.takes if take.source in folders and not take.fault}
    assert own == {(split, kind) for split in ("train", "validation", "test") for kind in ("speech", "ambience")}
    heard = [mix for mix in done.mixes() if set(mix.source.split()) & set(folders)]
    assert heard and all("yours" in mix.licence for mix in heard)
    assert build_corpus(tmp_path / "new", settings, folders=folders).mixes() == done.mixes()


def test_there_is_no_corpus_in_an_empty_folder(tmp_path):
    with pytest.raises(CorpusError, match="no corpus there; build one with: specdehaze corpus build"):
        Corpus(tmp_path)


def test_level_of_a_clip_is_what_was_planned(built):
    for mix in built.mixes("test"):
        assert float(level_db(built.load(mix).clean)) == pytest.approx(-26, abs=6)


def test_sources_of_the_module_are_those_of_the_catalogue():
    assert sources.known_sources().keys() == plan.known_sources().keys()
    assert made_source(name="x").how == "folder"


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '{"settings": {}}'])
def test_a_description_by_somebody_else_is_a_clear_error(tmp_path, content):
    (tmp_path / "corpus.json").write_text(content)
    for attempt in (lambda: Corpus(tmp_path), lambda: build_corpus(tmp_path, CorpusSettings("voice"))):
        with pytest.raises(CorpusError, match="was not written by this program"):
            attempt()
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]
