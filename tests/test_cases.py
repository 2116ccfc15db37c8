"Cases and contenders: truths that are true, and contenders that are held to what they give back."

import math
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze import cases as module
from specdehaze.cases import (
    Case,
    Contender,
    Sounds,
    attempt,
    bundled_cases,
    calibrate_delay,
    corpus_cases,
    find_contender,
    list_contenders,
)
from specdehaze.corpus import build_corpus
from specdehaze.evaluation import si_sdr
from specdehaze.hum import Hum, harmonic_amplitudes, synthesize_hum
from specdehaze.plan import CorpusSettings
from specdehaze.recordings import bundled_recordings

SOUNDS = Sounds(0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(1)), torch.full((8000,), 0.01))
CASE = Case("clip", "test", 16000, lambda: SOUNDS)


def moved(waveform, lag):
    "Later by `lag` samples, at the same length."
    zeros = torch.zeros(abs(lag))
    return torch.cat([zeros, waveform])[: len(waveform)] if lag >= 0 else torch.cat([waveform, zeros])[-len(waveform) :]


@pytest.mark.parametrize(("clean", "noise"), [((8,), (9,)), ((1, 8), (1, 8)), ((0,), (0,)), ((8,), (1,))])
def test_sounds_are_two_waveforms_of_one_length(clean, noise):
    with pytest.raises(ValueError, match="as long as each other"):
        Sounds(torch.ones(clean), torch.ones(noise))


def test_bundled_voices_get_the_same_stretch_at_each_ratio():
    voices, noises = bundled_recordings("speech", language="fr")[:3], bundled_recordings("noise")[:2]
    made = bundled_cases(voices, noises, ratios=(-5.0, 5.0), seed=3)
    assert [case.name for case in made] == [voice.name for voice in voices for _ in range(2)]
    assert [case.labels["noise"] for case in made[::2]] == ["fire", "birds", "fire"]
    for low, high in zip(made[::2], made[1::2]):
        one, other = low.load(), high.load()
        assert torch.equal(one.clean, other.clean)
        assert torch.allclose(one.noise, other.noise * 10**0.5, rtol=1e-4, atol=1e-7)
        for sounds, ratio in ((one, -5.0), (other, 5.0)):
            power, noise_power = sounds.clean.double().square().mean(), sounds.noise.double().square().mean()
            assert float(10 * torch.log10(power / noise_power)) == pytest.approx(ratio, abs=1e-3)


def test_another_seed_is_another_stretch_and_other_content():
    voice, noises = bundled_recordings("speech", language="fr")[:1], bundled_recordings("noise")[:1]
    (one,), (other,) = (bundled_cases(voice, noises, ratios=(0.0,), seed=seed) for seed in (0, 1))
    assert not torch.equal(one.load().noise, other.load().noise) and one.content != other.content


def test_loading_goes_through_pickle_and_is_the_same_each_time():
    (case,) = bundled_cases(bundled_recordings("speech")[:1], bundled_recordings("noise")[:1], ratios=(5.0,))
    copy = pickle.loads(pickle.dumps(case))
    assert torch.equal(copy.load().noisy, case.load().noisy) and copy.labels == case.labels


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("cases") / "hum", CorpusSettings("hum"))


def test_a_corpus_is_its_mixes_and_tells_the_hums_it_made(corpus):
    made, mixes = corpus_cases(corpus, "train"), corpus.mixes("train")
    assert [case.labels["mix"] for case in made] == [mix.id for mix in mixes]
    assert len({case.name for case in made}) == 4 and len({case.content for case in made}) == len(made) == 16
    for case, mix in zip(made, mixes):
        assert (case.hum is None) == (mix.disturbance == "recorded hum")
        pair = corpus.load(mix)
        assert torch.equal(case.load().noisy, pair.noisy[0])
        if case.hum:
            names = ("fundamental", "harmonics", "law", "drift_hz", "modulation", "seed")
            whole = synthesize_hum(len(pair.clean[0]), 16000, **{name: getattr(mix, name) for name in names})
            assert case.hum.fundamental == pytest.approx(float(whole[1].double().mean()), abs=1e-4)
            strengths = harmonic_amplitudes(mix.law, mix.harmonics)
            heard = [k + 1 for k, strength in enumerate(strengths) if strength > 0 and (k + 1) * mix.fundamental < 7840]
            assert list(case.hum.harmonics) == heard


def test_a_case_of_a_corpus_goes_through_pickle(corpus):
    case = corpus_cases(corpus, "validation")[0]
    assert torch.equal(pickle.loads(pickle.dumps(case)).load().clean, case.load().clean)


def test_every_name_finds_its_contender_and_others_the_nearest():
    assert [find_contender(name).name for name in list_contenders()] == list(list_contenders())
    assert {"noisy", "hum", "hybrid", "oracle_ratio_mask"} <= set(list_contenders())
    with pytest.raises(ValueError, match="did you mean 'wiener'"):
        find_contender("winer")


def peer(**given):
    usual = {"installed": lambda: True, "told": False, "package": "some-package"}
    return SimpleNamespace(**usual | {"clean": lambda waveform, rate, state: waveform} | given)


def test_a_peer_that_is_not_installed_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(module.PEERS, "other", peer(installed=lambda: False))
    assert (find_contender("other").kind, find_contender("other").missing) == ("peer", "some-package")


def test_a_peer_that_must_be_told_is_told_the_truth_and_others_are_not(monkeypatch):
    heard = []

    def clean(waveform, rate, state):
        heard.append((tuple(waveform.shape), rate, state))
        return waveform

    hum = Hum(True, 50.0, (1, 2), (), math.inf)
    for name, told in (("blind", False), ("told", True)):
        monkeypatch.setitem(module.PEERS, name, peer(told=told, clean=clean))
        _, status, _ = attempt(find_contender(name), SOUNDS, Case("clip", "test", 16000, lambda: SOUNDS, hum=hum))
        assert status == ""
    assert heard == [((1, 8000), 16000, None), ((1, 8000), 16000, hum)]
    assert "must be told the hum" in attempt(find_contender("told"), SOUNDS, CASE)[1]


def test_methods_of_ours_are_told_nothing():
    noisy = SOUNDS.noisy
    estimate, status, _ = attempt(find_contender("mmse_lsa"), SOUNDS, CASE)
    assert status == "" and estimate.shape == noisy.shape and not torch.equal(estimate, noisy)


def test_an_oracle_beats_what_it_hears():
    voices, noises = bundled_recordings("speech", language="fr"), bundled_recordings("noise")
    (case,) = bundled_cases(voices[:1], noises[:1], ratios=(0.0,))
    sounds = case.load()
    for name in ("oracle_ratio_mask", "oracle_phase_sensitive_mask"):
        assert si_sdr(attempt(find_contender(name), sounds, case)[0], sounds.clean) > 10


def fails(noisy, sounds, case):
    raise RuntimeError("out\nof   luck")


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        (fails, "failed: RuntimeError: out of luck"),
        (lambda noisy, sounds, case: noisy * math.nan, "failed: gave back NaN"),
        (lambda noisy, sounds, case: noisy / 0, "failed: gave back NaN, infinity"),
        (lambda noisy, sounds, case: noisy[1:], "failed: gave back (7999,) for (8000,)"),
        (lambda noisy, sounds, case: noisy[None], "failed: gave back (1, 8000) for (8000,)"),
        (lambda noisy, sounds, case: noisy.to(torch.int16), "no floating point"),
        (lambda noisy, sounds, case: noisy + 0j, "no floating point"),
        (lambda noisy, sounds, case: None, "failed: "),
        (lambda noisy, sounds, case: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_what_is_no_estimate_is_a_failure_in_one_line(remove, said):
    estimate, status, seconds = attempt(Contender("one", "peer", remove), SOUNDS, CASE)
    assert estimate is None and said in status and "\n" not in status and seconds >= 0


def test_a_stop_is_no_failure():
    def stop(noisy, sounds, case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(Contender("one", "peer", stop), SOUNDS, CASE)


def test_arrays_are_welcome():
    assert attempt(Contender("one", "peer", lambda noisy, sounds, case: noisy.numpy()), SOUNDS, CASE)[1] == ""


def test_a_contender_can_not_change_what_the_next_one_hears():
    def rude(noisy, sounds, case):
        noisy.zero_()
        numpy.seterr(all="raise")
        torch.set_num_threads(2)
        torch.manual_seed(5)
        numpy.random.seed(5)  # noqa: NPY002
        return noisy + torch.rand(len(noisy))

    before, rules, state = SOUNDS.noisy, numpy.geterr(), torch.get_rng_state()
    one, other = (attempt(Contender("rude", "peer", rude), SOUNDS, CASE)[0] for _ in range(2))
    assert torch.equal(one, other) and torch.equal(SOUNDS.noisy, before) and numpy.geterr() == rules
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == 1


def test_random_numbers_are_the_same_each_time():
    def dither(noisy, sounds, case):
        drawn = numpy.random.rand(len(noisy)).astype("float32")  # noqa: NPY002
        return noisy + torch.rand(len(noisy)) + torch.from_numpy(drawn)

    one, other = (attempt(Contender("dither", "peer", dither), SOUNDS, CASE)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_programs_that_are_started_cost_what_they_cost():
    busy = "import time\nwhile time.process_time() < 0.3: pass"

    def outside(noisy, sounds, case):
        subprocess.run([sys.executable, "-c", busy], check=True)
        return noisy

    assert attempt(Contender("outside", "peer", outside), SOUNDS, CASE)[2] > 0.25


@given(st.integers(-500, 800), st.sampled_from([1.0, -1.0, 0.2, -3.0]), st.sampled_from([16000, 44100]))
@settings(max_examples=20)
def test_a_delay_is_found_whatever_the_gain_and_the_polarity(lag, gain, rate):
    late = Contender("late", "peer", lambda noisy, sounds, case: gain * moved(noisy, lag))
    assert calibrate_delay(late, rate) == lag


@given(st.integers(0, 800))
@settings(max_examples=20)
def test_a_late_one_loses_nothing_of_the_end(lag):
    late = Contender("late", "peer", lambda noisy, sounds, case: moved(noisy, lag))
    assert torch.equal(attempt(late, SOUNDS, CASE, delay=lag)[0], SOUNDS.noisy)


@pytest.mark.parametrize("name", ["mmse_lsa", "wiener", "spectral_gate", "hum", "hybrid"])
def test_our_own_methods_are_not_late(name):
    assert calibrate_delay(find_contender(name), 16000) == 0


@pytest.mark.parametrize(
    "one",
    [
        Contender("silent", "peer", lambda noisy, sounds, case: 0 * noisy),
        Contender("broken", "peer", fails),
        Contender("bound", "bound", fails),
    ],
)
def test_who_can_not_be_calibrated_is_taken_as_in_time(one):
    assert calibrate_delay(one, 16000) == 0
