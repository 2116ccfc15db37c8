"An A/B/X test: its lots and its numbers against scipy, sounds that give nothing away, and the page in a browser."

import io
import re
from itertools import accumulate

import numpy
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from widget_page import shown

from specdehaze.listening_test import (
    ListeningTest,
    Trials,
    dithered_wav,
    fewest_right,
    match_loudness,
    power,
    verdict,
)
from specdehaze.tables import read_settings, read_table

RATE = 16_000
ANSWERS = st.lists(st.sampled_from("AB"), min_size=1, max_size=40)


def opposite(word: str) -> tuple[str, ...]:
    return tuple("BA"["AB".index(letter)] for letter in word)


@given(ANSWERS, st.integers(0, 2**32))
def test_right_answers_are_counted_and_the_rest_is_wrong(answers, seed):
    trials = Trials(len(answers), seed, tuple(answers))
    mirrored = Trials(len(answers), seed, opposite("".join(answers)))
    assert trials.right + mirrored.right == len(answers) and trials.done
    assert sum(row["right"] for row in trials.rows()) == trials.right
    assert "".join(row["x"] for row in trials.rows()) == trials.truth
    expected = binomtest(trials.right, len(answers), 0.5, alternative="greater").pvalue
    assert trials.p_value == pytest.approx(expected)


@given(ANSWERS, st.integers(0, 2**32))
def test_answering_changes_nothing_but_the_answers(answers, seed):
    start = Trials(len(answers), seed)
    states = list(accumulate(answers, lambda trials, choice: trials.answer(choice), initial=start))
    assert start.answers == () and states[-1] == Trials(len(answers), seed, tuple(answers))
    assert all(state.truth == start.truth for state in states)
    assert [state.done for state in states] == [False] * len(answers) + [True]


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_a_longer_test_has_the_lots_of_a_shorter_one(seed, count, more):
    assert Trials(count + more, seed).truth.startswith(Trials(count, seed).truth)


def test_lots_are_fair_and_differ_from_seed_to_seed():
    truths = [Trials(64, seed).truth for seed in range(200)]
    share = sum(truth.count("A") for truth in truths) / (64 * 200)
    firsts = sum(truth[0] == "A" for truth in truths) / 200
    repeats = sum(a == b for truth in truths for a, b in zip(truth, truth[1:])) / (63 * 200)
    assert len(set(truths)) == 200 and all(abs(value - 0.5) < 0.08 for value in (share, firsts, repeats))


@pytest.mark.parametrize("bad", [{"count": 0}, {"count": 2, "answers": ("A", "B", "A")}, {"answers": ("X",)}])
def test_trials_that_cannot_be(bad):
    with pytest.raises(ValueError, match="one A or B in each"):
        Trials(**bad)
    with pytest.raises(ValueError, match="one A or B"):
        Trials(1).answer("a")


@given(st.integers(1, 200), st.sampled_from([0.05, 0.01]))
def test_fewest_right_is_the_first_that_is_rare(trials, level):
    fewest = fewest_right(trials, level)
    assert binom.sf(fewest - 1, trials, 0.5) <= level < binom.sf(fewest - 2, trials, 0.5)
    assert power(trials, 0.5, level) <= level and power(trials, 1.0, level) == (fewest <= trials)


@given(ANSWERS, st.integers(0, 1000))
def test_the_words_are_those_of_the_number(answers, seed):
    trials = Trials(len(answers), seed, tuple(answers))
    told = verdict(trials)
    assert f"{trials.right} of {len(answers)} right" in told
    assert ("hear a difference" in told) == (trials.p_value <= 0.05) != ("may have been guessing" in told)
    assert "right" not in verdict(Trials(len(answers) + 1, seed, tuple(answers)))


def test_loudness_is_matched_and_nothing_clips(voice):
    loud, quiet = match_loudness(voice * 5, 0.05 * voice, RATE)
    assert torch.allclose(loud, quiet, atol=1e-5) and torch.allclose(quiet, 0.05 * voice)
    both = match_loudness(voice * 20, voice * 21, RATE)
    assert max(float(sound.abs().max()) for sound in both) == pytest.approx(1.0)
    assert torch.allclose(*both, atol=1e-5)


@pytest.mark.parametrize(
    "a, b, words",
    [
        (torch.ones(1, 8000), torch.ones(1, 8001), "one shape"),
        (torch.ones(1, 6000), torch.ones(1, 6000), "0.4 s"),
        (torch.randn(1, 8000), torch.zeros(1, 8000), "silent"),
    ],
)
def test_sounds_that_cannot_be_compared(a, b, words):
    with pytest.raises(ValueError, match=words):
        match_loudness(a, b, RATE)


def test_dither_is_small_fresh_and_does_not_wrap():
    loud = torch.tensor([[1.0, -1.0] * 4000])
    files = {dithered_wav(loud, RATE) for _ in range(5)}
    samples = [soundfile.read(io.BytesIO(file), dtype="int16")[0].astype(int) for file in files]
    assert len(files) == 5 and len({len(file) for file in files}) == 1
    assert all((numpy.sign(one) == loud[0].numpy()).all() for one in samples)
    assert all(numpy.abs(one - 32766 * loud[0].numpy()).max() <= 2 for one in samples)


@pytest.fixture
def pair(voice, noisy):
    return noisy[:, : 2 * RATE], voice[:, : 2 * RATE]


def test_nothing_that_is_sent_tells_what_x_is(pair):
    test = ListeningTest(*pair, RATE, count=12, seed=3)
    seen, sizes, sent = set(), set(), []
    while not test.trials.done:
        seen |= set(test._files)
        sizes |= {len(file) for file in test._files}
        sent.append({key: value for key, value in test.get_state().items() if key not in ("_files", "_esm", "_css")})
        test.answer("A")
    assert len(seen) == 36 and len(sizes) == 1, "no file is ever sent twice, and all are of one length"
    quiet = [{key: value for key, value in one.items() if key != "_place"} for one in sent]
    assert all(str(one) == str(quiet[0]) for one in quiet), "but for the number of the trial, each looks like the first"
    assert "seed" not in str(quiet) and test.trials.truth not in str(sent) and repr(test).count("Trials") == 0
    assert test._files == [] and "of 12 right" in test._told


def test_x_is_what_the_lot_says(pair):
    test = ListeningTest(*pair, RATE, count=8, seed=1)
    for truth in test.trials.truth:
        a, b, x = (soundfile.read(io.BytesIO(file))[0] for file in test._files)
        assert (numpy.abs(x - a).mean() < numpy.abs(x - b).mean()) == (truth == "A")
        test.answer("B")


def test_without_a_seed_each_test_has_its_own(pair):
    assert len({ListeningTest(*pair, RATE, count=64).trials.truth for _ in range(3)}) == 3


def test_late_and_double_answers_count_for_nothing(pair):
    test = ListeningTest(*pair, RATE, count=2, seed=1)
    for trial in (1, 0, 0, 5):
        test._handle_custom_msg({"answer": "A", "trial": trial}, [])
    assert test.trials.answers == ("A",)
    for _ in range(3):
        test._handle_custom_msg({"answer": "B", "trial": 1}, [])
    assert test.trials.answers == ("A", "B")


def test_answers_go_to_a_table_in_the_end_only(pair, tmp_path):
    test = ListeningTest(*pair, RATE, names=("noisy", "clean"), count=3, seed=9)
    with pytest.raises(ValueError, match="Answer them first"):
        test.save(tmp_path / "answers.csv")
    for choice in "ABA":
        test.answer(choice)
    rows, facts = read_table(test.save(tmp_path / "answers.csv")), read_settings(tmp_path / "answers.csv")
    assert [row["answer"] for row in rows] == ["A", "B", "A"] and facts["seed"] == 9 and facts["b"] == "clean"
    assert facts["right"] == sum(row["right"] for row in rows) and facts["p_value"] == test.trials.p_value


SPY = """
window.starts = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  starts.push([when, this.buffer.duration, this.loop, this.buffer.getChannelData(0).join()]);
  return start.apply(this, arguments);
};
"""


def test_a_whole_test_by_keys(pair):
    test = ListeningTest(*pair, RATE, names=("noisy", "clean"), count=2, seed=1)
    with shown(test, script=SPY) as page:
        place, answers = page.locator(".place"), [page.get_by_role("button", name=f"X is {name}") for name in "AB"]
        page.get_by_role("button", name="Play A").click()
        page.keyboard.press("1")
        page.wait_for_timeout(200)
        assert test.trials.answers == () and not answers[0].is_enabled(), "X has not been heard"
        page.keyboard.press("b")
        page.keyboard.press("x")
        pressed = page.locator("[aria-pressed=true]").all_inner_texts()
        assert [re.sub(r"\s+", " ", words) for words in pressed] == ["Play X"] and answers[0].is_enabled()
        starts = page.evaluate("starts")
        assert len(starts) == 3 and len({tuple(one[:3]) for one in starts}) == 1, "one start, of one length, in a loop"
        assert len({one[3] for one in starts}) == 3, "no two sounds are equal"
        page.keyboard.press("2")
        page.wait_for_function("document.querySelector('.place').textContent.startsWith('Trial 2')")
        assert test.trials.answers == ("B",) and page.locator("[aria-pressed=true]").count() == 0
        page.wait_for_function("!document.querySelectorAll('button')[2].disabled")
        page.keyboard.press("x")
        page.keyboard.press("s")
        page.keyboard.press("1")
        page.wait_for_function("document.querySelector('.place').textContent === 'Done.'")
        assert "A is noisy, B is clean. " in page.locator(".specdehaze-facts").inner_text()
        assert test.trials.answers == ("B", "A")
        assert place.get_attribute("role") == "status" and page.locator("button:enabled").count() == 0
