"Archives: which files are meant, where results go, and that one failure stays one failure."

import av
import numpy
import pytest
import torch

from specdehaze.archive import clean_jobs, find_all, find_recordings, plan_jobs
from specdehaze.audio import AudioError, read_audio, write_audio
from specdehaze.dehazer import CleanedFile, Dehazer
from specdehaze.files import AUDIO_SUFFIXES
from specdehaze.methods import Method


@pytest.fixture
def archive(tmp_path, monkeypatch):
    "A folder of empty files; nothing here is opened."
    for name in ("a.wav", "sub/b.FLAC", "sub/deep/c.mp3", "sub/notes.txt", "out/a.wav", "take[1].wav", ".wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*inputs, out="out"):
    return sorted(str(job.target) for job in plan_jobs(inputs, out))


def test_a_folder_keeps_its_tree(archive):
    names = ["out/.wav", "out/a.wav", "out/out/a.wav", "out/sub/b.FLAC", "out/sub/deep/c.mp3", "out/take[1].wav"]
    assert targets("in") == sorted(names)


def test_results_are_not_inputs_of_the_next_run(archive):
    assert "in/out/out/a.wav" not in targets("in", out="in/out")


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("in/*.wav", ["out/.wav", "out/a.wav", "out/take[1].wav"][1:]),
        ("in/**/*.mp3", ["out/sub/deep/c.mp3"]),
        ("in/sub/*", ["out/b.FLAC"]),
        ("in/take[1].wav", ["out/take[1].wav"]),
        ("in/sub/notes.txt", ["out/notes.txt.wav"]),
    ],
)
def test_patterns_and_names(archive, pattern, expected):
    assert targets(pattern) == expected


def write_aac(path, *, seconds: float = 1.0) -> None:
    "A bare AAC stream, which is read but never written: noise at 16 kHz."
    noise = 0.1 * numpy.random.default_rng(0).standard_normal((1, round(16_000 * seconds))).astype("float32")
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_what_can_only_be_read_becomes_a_wav_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write_aac("in/talk.AAC")
    write_audio("in/talk.wav", 0.1 * torch.randn(1, 8000), 8000)
    results = list(clean_jobs(Dehazer("wiener"), plan_jobs(["in"], "out")))
    assert [type(result) for _, result in results] == [CleanedFile, CleanedFile]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["talk.AAC.wav", "talk.wav"]
    (before, rate), (after, same) = read_audio("in/talk.AAC"), read_audio("out/talk.AAC.wav")
    assert (after.shape, same) == (before.shape, rate) and after.square().mean() < before.square().mean() / 2


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_every_format_that_is_searched_for_has_a_place_to_go(suffix, tmp_path):
    (tmp_path / f"a{suffix}").touch()
    (job,) = plan_jobs([tmp_path], "out")
    rate = 16_000 if suffix == ".g722" else 48_000
    write_audio(tmp_path / job.target.name, torch.zeros(1, 1000), rate)
    assert (tmp_path / job.target.name).stat().st_size


def test_a_result_never_takes_the_place_of_a_source_of_its_name(archive):
    (archive / "in/sub/b.aac").touch()
    (archive / "in/sub/b.aac.wav").touch()
    jobs = plan_jobs(["in/sub"], "out")
    assert len({job.target for job in jobs}) == len(jobs)
    assert [job.source.name for job in jobs if "both become" in job.problem] == ["b.aac.wav"]


@pytest.mark.parametrize("out", ["in/a.wav", "in/a.wav/deeper/still"])
def test_results_go_into_a_folder(archive, out):
    with pytest.raises(AudioError, match="choose another name"):
        plan_jobs(["in/sub"], out)


def test_all_that_is_named_is_found_once(archive):
    found = find_all(["in/sub", "absent", archive / "in/sub/b.FLAC", "in/sub/*.FLAC"])
    places = [str(place) for place in found.values()]
    assert [places[0], places[1]] == ["b.FLAC", "deep/c.mp3"]
    assert len(found) == 3 and isinstance(list(found.values())[2], AudioError)


def test_a_file_named_twice_is_cleaned_once(archive):
    assert targets("in/a.wav", "in/a.wav", archive / "in/a.wav") == ["out/a.wav"]


def test_of_two_results_for_one_place_the_later_is_refused(archive):
    first, second, third = plan_jobs(["in/a.wav", "in/out/a.wav", "in/sub/b.FLAC"], "out")
    assert [str(job.target) for job in (first, third)] == ["out/a.wav", "out/b.FLAC"]
    assert second.target is None and "in/a.wav" in second.problem and "another folder" in second.problem


@pytest.mark.parametrize("inputs, out", [(["in/a.wav"], "in"), (["in"], "in"), (["in/a.wav", "in/out/a.wav"], "in")])
def test_no_source_is_overwritten(archive, inputs, out):
    with pytest.raises(AudioError, match="overwrite"):
        plan_jobs(inputs, out)


@pytest.mark.parametrize("absent", ["absent.wav", "in/*.ogg", "in/sub/deep/absent"])
def test_what_is_not_there_is_a_problem_of_its_own(archive, absent):
    good, bad = plan_jobs(["in/a.wav", absent], "out")
    assert (good.problem, bad.target) == ("", None) and absent in bad.problem
    with pytest.raises(AudioError, match="absent|match"):
        find_recordings(absent)


def test_each_job_comes_back_with_its_result_or_its_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stumble_over_short(waveform, rate, state):
        return waveform / 2 if waveform.shape[-1] > 100 else 1 / 0

    for name, samples in (("a", 500), ("b", 50), ("c", 700)):
        write_audio(f"{name}.wav", torch.full((1, samples), 0.5), 8000)
    seen = []
    dehazer = Dehazer(Method("stumble", "", "mask", stumble_over_short))
    jobs = plan_jobs(["a.wav", "b.wav", "absent.wav", "c.wav"], "out")
    results = list(clean_jobs(dehazer, jobs, progress=lambda job, part: seen.append((job.source.stem, part))))
    assert [job for job, _ in results] == jobs
    assert [type(result) for _, result in results] == [CleanedFile, ZeroDivisionError, AudioError, CleanedFile]
    assert [(name, part) for name, part in seen if part in (0, 1)] == [
        ("a", 0.0), ("a", 1.0), ("b", 0.0), ("absent", 0.0), ("c", 0.0), ("c", 1.0)
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "c.wav"]
    torch.testing.assert_close(read_audio("out/c.wav")[0], torch.full((1, 700), 0.25), atol=1e-4, rtol=0)
