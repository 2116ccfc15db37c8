"A plan follows from its seed, keeps the splits apart, and gives each kind of disturbance its turn."

import math
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import pytest
from fake_sources import RATE, make_catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tree import ROOT

from specdehaze import plan
from specdehaze.plan import (
    HUM_RATIOS,
    PROFILES,
    VOICE_RATIOS,
    CorpusError,
    CorpusSettings,
    Mix,
    Profile,
    group_takes,
    plan_corpus,
)
from specdehaze.recordings import TEST_VOICES
from specdehaze.sources import SPLITS, Take, assess_takes, find_takes, known_sources


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[Take]:
    "Takes of every kind in every split."
    return make_catalogue(tmp_path_factory.mktemp("made")).takes


@pytest.fixture(scope="module")
def bundled() -> list[Take]:
    sources = [source for source in known_sources().values() if source.how == "bundled"]
    found = [take for source in sources for take in find_takes(source, ROOT / "data")]
    return assess_takes(found, {source.name: ROOT / "data" for source in sources})


@pytest.fixture
def planned(monkeypatch):
    "Plan a corpus of so many clips."

    def run(kind: str, takes: list[Take], clips=(60, 24, 36), seed: int = 0, seconds: float = 4.0) -> list[Mix]:
        monkeypatch.setitem(PROFILES[kind], "smoke", Profile(clips, seconds, True))
        return plan_corpus(CorpusSettings(kind, seed=seed), takes)

    return run


def numbers_of(mix: Mix) -> set[int]:
    return {int(number) for number in f"{mix.takes} {mix.noise_takes}".split()}


def assert_apart(mixes: list[Mix], takes: list[Take]) -> None:
    "No file and no voice, instrument or noise is heard in two splits."
    files, voices = defaultdict(set), defaultdict(set)
    for mix in mixes:
        for number in numbers_of(mix):
            take = takes[number]
            assert take.split == mix.split and not take.fault
            files[take.source, take.place].add(mix.split)
            voices[take.voice].add(mix.split)
    assert {len(splits) for splits in (*files.values(), *voices.values())} == {1}


# Settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "noise"}, "no kind of corpus is called 'noise': choose hum or voice"),
        ({"profile": "huge"}, "no profile is called 'huge': choose one of smoke, small, full"),
        ({"added": ("nobody",)}, "no source is called 'nobody': choose from bundled-es"),
        ({"sample_rate": 4000}, "from 8000 to 192000 Hz, not 4000"),
        ({"kind": "hum", "added": ("musan-noise",)}, "a hum corpus has no use for musan-noise, which is ambience"),
    ],
)
def test_wrong_settings_say_what_to_choose(wrong, message):
    with pytest.raises(CorpusError, match=message):
        CorpusSettings(**wrong)


def test_the_full_hum_corpus_has_its_hours():
    size = PROFILES["hum"]["full"]
    assert size.clips == (2621, 562, 188) and not size.written
    assert [clips * size.seconds / 3600 for clips in size.clips] == pytest.approx([72, 15, 5], abs=0.8)
    assert not PROFILES["voice"]["full"].written and all(PROFILES[kind]["smoke"].written for kind in PROFILES)
    assert HUM_RATIOS == (0, 5, 10, 15) and min(VOICE_RATIOS) == -5 and max(VOICE_RATIOS) == 20


@pytest.mark.parametrize("kind", PROFILES)
def test_a_corpus_takes_what_its_profile_says_and_what_is_added(kind):
    plain = CorpusSettings(kind, "small").sources
    assert all(source.serves("small") for source in plain)
    assert {source.kind for source in plain} <= {*plan.CLEAN[kind], *plan.NOISES[kind]}
    more = CorpusSettings(kind, "small", added=("voices",)).sources
    assert {source.name for source in more} - {source.name for source in plain} == {"voices"}
    order = list(known_sources())
    assert [order.index(source.name) for source in more] == sorted(order.index(source.name) for source in more)


# What holds of every plan


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_file_and_no_voice_is_in_two_splits(kind, seed, planned, made, bundled):
    assert_apart(planned(kind, made, seed=seed), made)
    mixes = planned(kind, bundled, clips=(8, 8, 24), seed=seed)
    assert_apart(mixes, bundled)
    heard = {(bundled[number].voice, mix.split) for mix in mixes for number in numbers_of(mix)}
    assert {split for voice, split in heard if voice in TEST_VOICES} == {"test"}
    noises = {take.voice for take in bundled if take.kind in ("ambience", "machine")}
    assert {split for voice, split in heard if voice in noises} <= {"test"}


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("profile", ["small", "full"])
def test_plans_of_every_size_keep_splits_apart_and_have_their_clips(kind, profile, made):
    settings = CorpusSettings(kind, profile)
    mixes = plan_corpus(settings, made)
    assert_apart(mixes, made)
    clips = Counter(split for _, split in {(mix.clip, mix.split) for mix in mixes})
    assert tuple(clips[split] for split in SPLITS) == settings.size.clips
    assert len({mix.id for mix in mixes}) == len(mixes)


@pytest.mark.parametrize("kind", PROFILES)
def test_a_take_with_a_fault_is_heard_nowhere(kind, planned, made):
    faulty = [replace(take, fault="clipped") if number % 2 else take for number, take in enumerate(made)]
    used = set.union(*map(numbers_of, planned(kind, faulty)))
    assert used and not any(faulty[number].fault for number in used)


@pytest.mark.parametrize("kind", PROFILES)
def test_the_seed_and_the_number_decide_everything(kind, planned, made):
    first = planned(kind, made)
    assert planned(kind, made) == first and planned(kind, made, seed=1) != first
    shorter = planned(kind, made, clips=(10, 4, 6))
    by_id = {mix.id: mix for mix in first}
    assert all(by_id[mix.id] == mix for mix in shorter)  # a longer plan begins with the shorter one


@pytest.mark.parametrize("kind", PROFILES)
def test_names_can_be_names_of_files_everywhere(kind, planned, made):
    names = [name for mix in planned(kind, made) for name in (mix.id, mix.clip)]
    assert all(name.replace("_", "").isalnum() and name.isascii() and len(name) < 40 for name in names)
    assert len({name.lower() for name in names}) == len(set(names))


@pytest.mark.parametrize("kind", PROFILES)
def test_a_line_says_whose_sound_it_is(kind, planned, made):
    for mix in planned(kind, made):
        clean = [made[int(number)] for number in mix.takes.split()]
        heard = [made[number] for number in numbers_of(mix)]
        assert {take.voice for take in clean} == {mix.voice}
        assert {take.kind for take in clean} <= set(plan.CLEAN[kind])
        assert set(mix.source.split()) == {take.source for take in heard} and mix.licence == "CC0-1.0"
        assert sum(take.seconds for take in clean) >= mix.seconds == 4.0 and mix.sample_rate == RATE
        assert 0 <= mix.seed < 2**31


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", PROFILES)
def test_a_split_without_clean_takes_is_refused(kind, split, planned, made):
    with pytest.raises(CorpusError, match=f"fit for use in {split}: add a source"):
        planned(kind, [replace(t, fault="silent") if t.split == split else t for t in made])


# Hum


def test_each_hum_clip_is_at_four_ratios_with_all_else_alike(planned, made):
    mixes = planned("hum", made)
    for start in range(0, len(mixes), 4):
        four = mixes[start : start + 4]
        assert [mix.snr_db for mix in four] == [0, 5, 10, 15]
        assert len({replace(mix, id="", snr_db=0.0) for mix in four}) == 1
        assert [mix.id for mix in four] == [f"{four[0].clip}_{snr:02d}dB" for snr in (0, 5, 10, 15)]


def test_a_quarter_of_the_hum_test_was_recorded(planned, made, bundled):
    tested = [mix for mix in planned("hum", bundled, clips=(4, 4, 40)) if mix.split == "test"]
    assert Counter(mix.disturbance for mix in tested) == {"hum": 120, "recorded hum": 40}
    for mix in tested:
        if mix.disturbance == "recorded hum":
            assert {bundled[int(number)].kind for number in mix.noise_takes.split()} == {"hum"}
            assert mix.fundamental == 0 and mix.harmonics == 0
        else:
            assert mix.noise_takes == "" and 49 < mix.fundamental < 61 and mix.harmonics >= 3
    assert {mix.disturbance for mix in planned("hum", bundled) if mix.split != "test"} == {"hum"}


def test_hum_is_laid_over_voices_and_instruments(planned, made):
    kinds = {made[int(mix.takes.split()[0])].kind for mix in planned("hum", made)}
    assert kinds == {"speech", "instrument"}


# Voice


def test_kinds_take_turns_and_each_meets_each_ratio(planned, made):
    kinds = ["ambience", "machine", "keyboard", "music", "babble", "colour", "reverberation"]
    mixes = planned("voice", made, clips=(14, 14, 84))
    tested = [mix for mix in mixes if mix.split == "test"]
    assert [mix.disturbance for mix in tested[:14]] == kinds * 2
    assert Counter((mix.disturbance, mix.snr_db) for mix in tested) == {(k, r): 2 for k in kinds for r in VOICE_RATIOS}


@pytest.mark.parametrize("gone", ["ambience", "keyboard", "music"])
def test_a_kind_that_a_split_has_not_is_left_out_of_its_turn(gone, planned, made):
    rest = [replace(t, fault="silent") if (t.kind, t.split) == (gone, "validation") else t for t in made]
    found = defaultdict(Counter)
    for mix in planned("voice", rest, clips=(42, 42, 42)):
        found[mix.split][mix.disturbance] += 1
    assert gone not in found["validation"] and gone in found["train"] and gone in found["test"]
    assert set(found["validation"].values()) == {7}


def test_two_voices_are_no_crowd(planned, bundled):
    assert "babble" not in {mix.disturbance for mix in planned("voice", bundled)}


def test_nobody_is_in_the_crowd_against_himself(planned, made):
    crowds = [mix for mix in planned("voice", made, clips=(210, 70, 70)) if mix.disturbance == "babble"]
    sizes = Counter()
    for mix in crowds:
        voices = {made[int(number)].voice for number in mix.noise_takes.split()}
        assert mix.voice not in voices
        sizes[len(voices)] += 1
        assert {made[int(number)].kind for number in mix.noise_takes.split()} <= {"speech", "babble"}
    assert set(sizes) == {3, 4, 5, 6}


def test_what_is_computed_and_what_is_recorded(planned, made):
    for mix in planned("voice", made, clips=(70, 21, 21)):
        kinds = {made[int(number)].kind for number in mix.noise_takes.split()}
        if mix.disturbance in ("colour", "reverberation"):
            assert not kinds
        elif mix.disturbance == "babble":
            assert kinds <= {"babble", "speech"}
        else:
            assert kinds == {mix.disturbance}
        assert (mix.slope_db != 0 or mix.disturbance != "colour") and -6 <= mix.slope_db <= 2
        assert (mix.reverberation_time >= 0.2) == (mix.disturbance == "reverberation")
        assert len(mix.noise_takes.split()) == (12 if mix.disturbance == "keyboard" else len(mix.noise_takes.split()))


def test_training_hears_all_ratios_and_levels_and_the_test_one_level(planned, made):
    mixes = planned("voice", made, clips=(400, 12, 12))
    train = [mix for mix in mixes if mix.split == "train"]
    ratios = sorted(mix.snr_db for mix in train)
    assert -5 <= ratios[0] < -4 and 19 < ratios[-1] <= 20
    assert 6 < sum(ratios) / 400 < 9

    def level(mix):
        chosen = [made[int(number)] for number in mix.takes.split()]
        energy = sum(take.seconds * 10 ** (take.level_db / 10) for take in chosen)
        return mix.gain_db + 10 * math.log10(energy / sum(take.seconds for take in chosen))

    levels = sorted(map(level, train))
    assert -36.1 < levels[0] < -35 and -21 < levels[-1] < -19.9
    assert all(level(mix) == pytest.approx(-26, abs=0.06) for mix in mixes if mix.split != "train")


def test_the_ratio_says_nothing_about_the_place_in_the_noise(planned, made):
    "Mixing seeds its dice with `seed`: a ratio from the same dice would come with the same place, whatever the noise."
    train = [mix for mix in planned("voice", made, clips=(600, 1, 1)) if mix.split == "train"]
    pairs = [(mix.snr_db, Random(mix.seed).randrange(2**19)) for mix in train]
    means = [sum(values) / len(pairs) for values in zip(*pairs)]
    covariance = sum((a - means[0]) * (b - means[1]) for a, b in pairs)
    spreads = [sum((pair[k] - means[k]) ** 2 for pair in pairs) for k in (0, 1)]
    assert abs(covariance / math.sqrt(spreads[0] * spreads[1])) < 0.15


# Who is heard how often


def made_takes(times: dict[str, list[float]]) -> list[Take]:
    return [
        Take("own", f"{voice}/{n}.wav", "speech", "train", voice, "", "CC0-1.0", RATE, seconds, -25.0)
        for voice, lengths in times.items() for n, seconds in enumerate(lengths)
    ]


def test_a_voice_is_drawn_by_the_square_root_of_its_time():
    takes = made_takes({"much": [10.0] * 100, "little": [10.0]})
    groups, dice = group_takes(takes, "train", ("speech",)), Random(0)
    drawn = Counter(plan._draw(groups, takes, dice) for _ in range(5000))
    assert drawn["much"] / drawn["little"] == pytest.approx(10, rel=0.2)


@given(st.lists(st.floats(0.3, 20), min_size=1, max_size=12), st.floats(0.5, 100), st.integers(0, 99))
@settings(max_examples=60)
def test_all_takes_of_a_voice_are_heard_once_before_any_twice(lengths, seconds, seed):
    takes = made_takes({"ann": lengths})
    chosen = plan._fill(range(len(takes)), takes, seconds, Random(seed))
    counts = Counter(chosen)
    assert max(counts.values()) - min(counts.get(n, 0) for n in range(len(takes))) <= 1
    assert sum(takes[n].seconds for n in chosen) >= seconds > sum(takes[n].seconds for n in chosen[:-1])


def test_groups_hold_what_is_fit_for_use_in_the_order_of_the_table(made):
    groups = group_takes(made, "train", ("speech", "instrument"))
    assert [number for numbers in groups.values() for number in numbers] == sorted(
        number for number, take in enumerate(made)
        if take.split == "train" and take.kind in ("speech", "instrument") and not take.fault
    )


def test_a_large_plan_is_drawn_in_seconds(made):
    "Groups are made once for a split, not once for a clip."
    calls = []

    class Counted(list):
        def __iter__(self):
            calls.append(1)
            return super().__iter__()

    plan_corpus(CorpusSettings("voice", "small"), Counted(made))
    assert len(calls) < 60
