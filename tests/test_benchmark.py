"A benchmark: one table however it came about, and everybody in it as they deserve."

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy
import pytest
import torch
from fake_sources import made_voice
from source_tree import ROOT

from specdehaze import benchmark as module
from specdehaze import peers
from specdehaze.audio import mix_at_snr
from specdehaze.benchmark import (
    LISTENERS,
    SCORES,
    Case,
    Contender,
    Sounds,
    bundled_cases,
    run_benchmark,
    score_estimate,
    summarise,
    summary_text,
)
from specdehaze.evaluation import si_sdr
from specdehaze.hum import Hum
from specdehaze.recordings import bundled_recordings
from specdehaze.tables import read_table

SAMPLES = [score for score in SCORES if score not in LISTENERS]


def sounds(number, ratio):
    clean = made_voice(1.0, number, 8000)
    return Sounds(clean, mix_at_snr(clean, made_voice(1.0, 100 + number, 8000).roll(1000), ratio)[1])


def made_cases(clips=3, ratios=(0.0, 10.0)):
    return [
        Case(f"clip{n}", "test", 8000, partial(sounds, n, ratio), {"noise": "voice", "snr_db": ratio})
        for n in range(clips)
        for ratio in ratios
    ]


def same(noisy, sounds, case):
    return noisy


def late(noisy, sounds, case):
    return -0.3 * torch.cat([torch.zeros(25), noisy])[: len(noisy)]


def silent(noisy, sounds, case):
    return torch.zeros_like(noisy)


def broken(noisy, sounds, case):
    raise RuntimeError("no")


def nan(noisy, sounds, case):
    return noisy * math.nan


ENTERED = [
    "noisy", "wiener", "oracle_ratio_mask", Contender("late", "peer", late), Contender("silent", "peer", silent),
    Contender("broken", "peer", broken), Contender("nan", "peer", nan), Contender("lost", "peer", same, "some-package"),
]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "table.csv"
    return run_benchmark(made_cases(), ENTERED, path, listeners=False, settings={"seed": 7}), path


def of(rows, method):
    return [row for row in rows if row["method"] == method]


def test_a_row_for_each_meeting_in_the_order_of_the_cases(table):
    rows, path = table
    met = [(row["clip"], row["snr_db"], row["method"]) for row in rows[:-1]]
    names = [one if isinstance(one, str) else one.name for one in ENTERED[:-1]]
    assert met == [(case.name, case.labels["snr_db"], name) for case in made_cases() for name in names]
    assert rows == read_table(path) and not path.with_name("table.csv.part").exists()


def test_columns_stand_in_their_order(table):
    assert list(table[0][0]) == ["method", "split", *SAMPLES, "delay", "status", "clip", "noise", "snr_db"]
    assert SAMPLES[:2] == ["si_sdr", "psnr"]


def test_scores_are_those_of_the_estimates(table):
    for case, row in zip(made_cases(), of(table[0], "noisy")):
        made = case.load()
        assert row["si_sdr"] == pytest.approx(si_sdr(made.noisy, made.clean), rel=1e-5)
        assert row["si_sdr_improvement"] == 0 and row["delay"] == 0


def test_a_late_quiet_and_inverted_one_is_as_good_as_the_noisy(table):
    for one, other in zip(of(table[0], "late"), of(table[0], "noisy")):
        assert one["delay"] == 25 and one["si_sdr"] == pytest.approx(other["si_sdr"], abs=1e-3)


def test_who_fails_has_a_row_and_no_scores(table):
    for name, status in (("broken", "failed: RuntimeError: no"), ("nan", "failed: gave back NaN, infinity")):
        for row in of(table[0], name):
            assert row["status"].startswith(status) and row["clip"] and {row[score] for score in SAMPLES} == {""}


def test_who_is_missing_has_one_row(table):
    (row,) = of(table[0], "lost")
    assert row["status"] == "not installed" and table[0][-1] == row
    assert {value for name, value in row.items() if name not in ("method", "status")} == {""}


def test_who_is_silent_gets_the_worst(table):
    assert {row["si_sdr"] for row in of(table[0], "silent")} == {-math.inf}
    for one, other in zip(of(table[0], "silent"), of(table[0], "noisy")):
        assert one["status"] == "" and one["log_spectral_distance"] > other["log_spectral_distance"]


def test_settings_say_what_it_was_made_with(table):
    said = json.loads(table[1].with_suffix(".json").read_text())
    assert said["seed"] == 7 and said["cases"] == 6 and said["missing"] == ["lost"] and said["listeners"] is False
    assert said["contenders"]["oracle_ratio_mask"] == "bound" and said["device"] in ("cpu", "cuda:0")
    assert {"specdehaze", "torch", "numpy", "scipy", "pesq", "pystoi", "speechmos"} <= set(said["versions"])
    assert set(said["real_time_factor"]) == {one if isinstance(one, str) else one.name for one in ENTERED[:-1]}
    assert said["real_time_factor"]["wiener"] > said["real_time_factor"]["noisy"] >= 0


def test_weights_are_named_by_their_content(tmp_path):
    run_benchmark(made_cases(1, (5.0,)), ["hybrid"], tmp_path / "t.csv", listeners=False)
    assert len(json.loads((tmp_path / "t.json").read_text())["weights"]["hybrid"]) == 16


def test_two_workers_make_the_same_table(table, tmp_path):
    run_benchmark(made_cases(), ENTERED, tmp_path / "two.csv", listeners=False, workers=2)
    assert (tmp_path / "two.csv").read_bytes() == table[1].read_bytes()


def stopped_after(cases, entered, path, count, **options):
    "Run until so many cases are done."

    def stop(done, total):
        if done == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(cases, entered, path, listeners=False, progress=stop, **options)
    return path.with_name(f"{path.name}.part")


@pytest.mark.parametrize("rest", [b"", b'{"number": 5, "resu', b'{"number"'])
def test_stopped_and_gone_on_with_even_after_half_a_line(table, tmp_path, rest):
    part = stopped_after(made_cases(), ENTERED, tmp_path / "table.csv", 2)
    with part.open("ab") as file:
        file.write(rest)
    told = []
    run_benchmark(
        made_cases(), ENTERED, tmp_path / "table.csv", listeners=False, progress=lambda *now: told.append(now)
    )
    assert told == [(done, 6) for done in range(2, 7)]
    assert (tmp_path / "table.csv").read_bytes() == table[1].read_bytes() and not part.exists()


def test_stopped_before_its_first_line_was_whole(table, tmp_path):
    part = stopped_after(made_cases(), ENTERED, tmp_path / "table.csv", 0)
    part.write_bytes(part.read_bytes()[:50])
    run_benchmark(made_cases(), ENTERED, tmp_path / "table.csv", listeners=False)
    assert (tmp_path / "table.csv").read_bytes() == table[1].read_bytes()


SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_benchmark import ENTERED, made_cases
from specdehaze.benchmark import Contender, run_benchmark

def slow(noisy, sounds, case):
    time.sleep(0.5)
    return noisy

entered = [*ENTERED, Contender("slow", "peer", slow)]
run_benchmark(made_cases(), entered, sys.argv[2], listeners=False, workers=int(sys.argv[3]))
"""


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_in_the_middle_and_gone_on_with(tmp_path):
    path, part = tmp_path / "killed.csv", tmp_path / "killed.csv.part"
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "tests"), str(path), "2"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 120
    while lines(part) < 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL and not path.exists()
    done, called = lines(part) - 1, []

    def slow(noisy, sounds, case):
        called.append(case.name)
        return noisy

    entered = [*ENTERED, Contender("slow", "peer", slow)]
    run_benchmark(made_cases(), entered, path, listeners=False)
    assert 2 <= done < 6 and called == ["known voice", *(case.name for case in made_cases()[done:])]
    run_benchmark(made_cases(), entered, tmp_path / "whole.csv", listeners=False)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entered": ["noisy", "mmse_lsa"]}, "contenders"),
        ({"entered": ["wiener", "noisy"]}, "contenders"),
        ({"cases": made_cases(2)}, "cases was 6 there, and is 4 now"),
        ({"cases": made_cases(ratios=(0.0, 5.0))}, "cases_hash"),
        ({"listeners": True}, "listeners was false there, and is true now"),
        ({"settings": {"seed": 1}}, "seed was null there, and is 1 now"),
    ],
)
def test_another_benchmark_does_not_go_on_with_this_one(tmp_path, change, said):
    part = stopped_after(made_cases(), ["noisy", "wiener"], tmp_path / "t.csv", 1)
    before = part.read_bytes()
    options = {"cases": made_cases(), "entered": ["noisy", "wiener"], "listeners": False} | change
    with pytest.raises(ValueError, match="begun as another benchmark") as caught:
        run_benchmark(options.pop("cases"), options.pop("entered"), tmp_path / "t.csv", **options)
    assert said in str(caught.value) and part.read_bytes() == before and not (tmp_path / "t.csv").exists()


def test_neither_do_other_versions(tmp_path, monkeypatch):
    stopped_after(made_cases(), ["noisy"], tmp_path / "t.csv", 1)
    monkeypatch.setattr(module, "version", lambda package: "9.9")
    with pytest.raises(ValueError, match=r"versions was .* and is .*9\.9"):
        run_benchmark(made_cases(), ["noisy"], tmp_path / "t.csv", listeners=False)


@pytest.mark.parametrize("content", [b"a,b,c\n1,2,3\n", b'{"a": 1}\n[]\n', b"\n", b"\x00\xff\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    (tmp_path / "t.csv.part").write_bytes(content)
    with pytest.raises(ValueError, match="delete it"):
        run_benchmark(made_cases(1), ["noisy"], tmp_path / "t.csv", listeners=False)
    assert (tmp_path / "t.csv.part").read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_two_at_once_are_refused(tmp_path):
    def again(done, total):
        if done:
            run_benchmark(made_cases(1), ["noisy"], tmp_path / "t.csv", listeners=False)

    with pytest.raises(ValueError, match="another benchmark is writing"):
        run_benchmark(made_cases(1), ["noisy"], tmp_path / "t.csv", listeners=False, progress=again)


def test_a_folder_is_no_table_and_is_seen_before_the_work(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        run_benchmark(made_cases(1), ["noisy"], tmp_path / "t.csv", listeners=False)
    assert [*tmp_path.iterdir()] == [tmp_path / "t.csv"]


def test_workers_know_the_peers_that_were_registered(tmp_path):
    peers.register_peer("halving", "", "mask", lambda sound, rate: sound / 2, package="numpy")
    try:
        rows = run_benchmark(made_cases(2), ["halving"], tmp_path / "t.csv", listeners=False, workers=2)
    finally:
        del peers.PEERS["halving"]
    assert {row["status"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("cases", "entered", "name", "said"),
    [
        ([], ["noisy"], "t.csv", "at least one case"),
        (made_cases(1), [], "t.csv", "at least one case and one contender"),
        (made_cases(1), ["noisy", "noisy"], "t.csv", "two contenders are called 'noisy'"),
        (made_cases(1), ["nosy"], "t.csv", "did you mean 'noisy'"),
        (made_cases(1), ["noisy"], "t.json", r"a table is a \.csv file"),
        ([Case("a", "test", 8000, partial(sounds, 0, 0.0), {"psnr": 3})], ["noisy"], "t.csv", "can not be a label"),
        ([Case("a", "test", 8000, partial(sounds, 0, 0.0), {"loud": True})], ["noisy"], "t.csv", "can not be a label"),
    ],
)
def test_what_makes_no_table_is_refused(tmp_path, cases, entered, name, said):
    with pytest.raises(ValueError, match=said):
        run_benchmark(cases, entered, tmp_path / name, listeners=False)
    assert not list(tmp_path.iterdir())


def test_a_case_that_can_not_be_loaded_stops_the_run_and_keeps_the_rest(tmp_path):
    def gone():
        raise FileNotFoundError("gone.flac")

    cases = [*made_cases(1), Case("gone", "test", 8000, gone, {"snr_db": 0.0})]
    with pytest.raises(FileNotFoundError, match=r"gone\.flac"):
        run_benchmark(cases, ["noisy"], tmp_path / "t.csv", listeners=False)
    assert (tmp_path / "t.csv.part").read_bytes().count(b"\n") == 1 + 2


def test_cases_with_other_labels_share_the_table(tmp_path):
    cases = [Case(f"c{n}", "test", 8000, partial(sounds, n, 0.0), {label: n}) for n, label in enumerate("ab")]
    rows = run_benchmark(cases, ["noisy"], tmp_path / "t.csv", listeners=False)
    assert [(row["a"], row["b"]) for row in rows] == [(0, ""), ("", 1)]


def test_calibration_is_done_once_for_a_rate(tmp_path):
    seen = []

    def remember(noisy, sounds, case):
        seen.append(case.name)
        return noisy

    for _ in range(2):
        run_benchmark(made_cases(2), [Contender("one", "peer", remember)], tmp_path / "t.csv", listeners=False)
    assert seen == 2 * ["known voice", "clip0", "clip0", "clip1", "clip1"]


@pytest.fixture(scope="module")
def voice():
    voices, noises = bundled_recordings("speech", language="fr"), bundled_recordings("noise")
    (case,) = bundled_cases(voices[:1], noises[:1], ratios=(10.0,))
    made = case.load()
    return Sounds(made.clean[:48000], made.noise[:48000])


def test_listeners_find_silence_the_worst_and_nobody_is_better_than_the_truth(voice):
    heard = {"clean": voice.clean, "noisy": voice.noisy, "silent": torch.zeros(48000)}
    rows = {name: score_estimate(one, voice, 16000) for name, one in heard.items()}
    assert [tuple(row) for row in rows.values()] == [tuple(SCORES)] * 3
    worst = {"pesq_wb": 1.0, "stoi": 0.0, "estoi": 0.0} | {name: 1.0 for name in LISTENERS if "dnsmos" in name}
    assert {name: rows["silent"][name] for name in LISTENERS} == worst
    for name in LISTENERS[:3]:
        assert rows["silent"][name] < rows["noisy"][name] < rows["clean"][name]


def test_a_score_that_is_not_defined_is_an_empty_cell():
    noise = 0.01 * torch.randn(3000)
    row = score_estimate(noise, Sounds(torch.zeros(3000), noise), 16000)
    assert row["si_sdr"] == row["si_sdr_improvement"] == row["pesq_wb"] == row["stoi"] == row["estoi"] == ""
    assert row["psnr"] == pytest.approx(40, abs=0.5) and 1 <= row["dnsmos_overall"] <= 5


def test_where_no_hum_is_none_is_attenuated():
    absent = Hum(False, 0.0, (), (), 0.0)
    one = sounds(0, 0.0)
    assert score_estimate(one.noisy, one, 8000, hum=absent, listeners=False)["hum_attenuation"] == ""


def test_the_level_of_notes_is_scored_where_somebody_names_them():
    seconds = torch.arange(16000) / 8000
    note = 0.1 * torch.cos(2 * torch.pi * 220 * seconds)
    one = Sounds(note, 0.01 * torch.cos(2 * torch.pi * 50 * seconds))
    assert score_estimate(0.5 * note, one, 8000, listeners=False)["thinning"] == ""
    row = score_estimate(0.5 * note, one, 8000, partials=(220.0,), listeners=False)
    assert row["thinning"] == pytest.approx(20 * math.log10(2), abs=1e-4)


def scored(method, clip, score, status="", **labels):
    return {"method": method, "si_sdr": score, "status": status, "clip": clip} | labels


def test_a_mean_is_over_clips_not_over_cases():
    rows = [scored("a", "one", 4.0), *(scored("a", "two", score) for score in (7.0, 9.0, 11.0))]
    (row,) = summarise(rows, ["si_sdr"])
    # Two clips with means 4 and 9: a redrawn mean is 4, 6.5 or 9 with chances 1/4, 1/2, 1/4, so 95 % hold all three.
    assert row == {"method": "a", "clips": 2, "si_sdr": 6.5, "si_sdr_low": 4.0, "si_sdr_high": 9.0, "note": ""}


def test_the_interval_is_that_of_redrawn_clips():
    clips = {f"c{n}": [float(3 * n % 7 + ratio) for ratio in (0, 5)] for n in range(12)}
    (row,) = summarise([scored("a", clip, s) for clip, values in clips.items() for s in values], ["si_sdr"])
    means = numpy.array([sum(values) / 2 for values in clips.values()])
    draws = numpy.random.default_rng(5).integers(0, 12, (20000, 12))
    low, high = numpy.quantile(means[draws].mean(1), [0.025, 0.975])
    assert row["si_sdr"] == pytest.approx(means.mean())
    assert (row["si_sdr_low"], row["si_sdr_high"]) == pytest.approx((low, high), abs=0.15)


def test_failures_and_the_missing_are_said():
    rows = [scored("a", "one", 4.0), scored("a", "two", "", "failed: no"), scored("b", "one", "", "failed: no")]
    rows += [scored("lost", "", "", "not installed")]
    said = [(row["method"], row["clips"], row["si_sdr"], row["note"]) for row in summarise(rows, ["si_sdr"])]
    assert said == [("a", 1, 4.0, "1 of 2 failed"), ("b", 0, "", "1 of 1 failed"), ("lost", 0, "", "not installed")]


def test_groups_are_by_any_column_in_the_order_they_come():
    rows = [scored(m, "one", s, snr_db=r) for m in "ba" for r, s in ((5.0, 1.0), (0.0, 2.0))]
    found = summarise(rows, ["si_sdr"], by=("method", "snr_db"))
    assert [(row["method"], row["snr_db"], row["si_sdr"]) for row in found] == [
        ("b", 5.0, 1.0), ("b", 0.0, 2.0), ("a", 5.0, 1.0), ("a", 0.0, 2.0)
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"scores": ["si_sdrr"]}, {"by": ("methd",)}])
def test_an_unknown_column_is_named_with_the_nearest(wrong):
    with pytest.raises(ValueError, match="did you mean '(si_sdr|method)'"):
        summarise([scored("a", "one", 4.0)], **{"scores": ["si_sdr"]} | wrong)


def test_for_people_a_score_has_as_many_digits_as_mean_something():
    rows = [scored("a", clip, s, snr_db=5.0) | {"stoi": i} for clip, s, i in (("x", 4.04, 0.81249), ("y", 6.0, 0.9))]
    (line,) = summary_text(summarise(rows, ["si_sdr", "stoi"], by=("method", "snr_db")))
    scores = {"si_sdr": "5.0 (4.0 to 6.0)", "stoi": "0.856 (0.812 to 0.900)"}
    assert line == {"method": "a", "snr_db": "5", "clips": "2", "note": ""} | scores
    assert summary_text(summarise([scored("b", "one", "", "failed: no")], ["si_sdr"]))[0]["si_sdr"] == ""


def test_paths_are_made(tmp_path):
    run_benchmark(made_cases(1, (0.0,)), ["noisy"], tmp_path / "new" / "t.csv", listeners=False)
    assert sorted(path.name for path in Path(tmp_path / "new").iterdir()) == ["t.csv", "t.json"]
