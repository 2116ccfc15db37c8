"Signals: levels, mixing, spectra, rates and bands against scipy, librosa and loops."

import math
import warnings

import librosa
import numpy
import pytest
import scipy.signal
import soxr
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import (
    Stft,
    from_db,
    griffin_lim,
    level_db,
    mel_bank,
    mel_to_linear,
    mix_at_snr,
    resample,
    to_db,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    "Gaussian noise at -20 dB."
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def grids(draw) -> Stft:
    "Any window and hop that the class allows."
    half = draw(st.integers(1, 300))
    return Stft(2 * half, draw(st.integers(1, half)))


@settings(max_examples=150, deadline=None)
@given(stft=grids(), length=st.integers(0, 3000), lead=st.sampled_from([(), (1,), (2,), (3, 2)]))
def test_every_length_hop_and_batch_comes_back(stft, length, lead):
    waveform = noise(*lead, length) * 10
    spectrum = stft.forward(waveform)
    assert spectrum.shape == (*lead, stft.n_fft // 2 + 1, 1 + math.ceil(length / stft.hop_length))
    back = stft.inverse(spectrum, length)
    assert back.shape == waveform.shape
    torch.testing.assert_close(back, waveform, atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(stft=grids(), length=st.integers(1, 2000))
def test_each_frame_is_the_spectrum_around_its_centre(stft, length):
    waveform = noise(length, dtype=torch.float64)
    spectrum = stft.forward(waveform)
    frame = spectrum.shape[-1] // 2
    centred = numpy.zeros(stft.n_fft)
    for n in range(stft.n_fft):
        place = frame * stft.hop_length + n - stft.n_fft // 2
        if 0 <= place < length:
            centred[n] = waveform[place] * math.sin(math.pi * n / stft.n_fft) ** 2
    numpy.testing.assert_allclose(spectrum[:, frame], numpy.fft.rfft(centred), atol=1e-10)


@pytest.mark.parametrize("n_fft, hop_length", [(512, 128), (512, 256), (1024, 256), (400, 160)])
def test_spectrum_equals_librosa_and_scipy(n_fft, hop_length):
    waveform = noise(10 * hop_length * 8, dtype=torch.float64)
    spectrum = Stft(n_fft, hop_length).forward(waveform).numpy()
    numpy.testing.assert_allclose(
        spectrum, librosa.stft(waveform.numpy(), n_fft=n_fft, hop_length=hop_length, pad_mode="constant"), atol=1e-9
    )
    window = scipy.signal.get_window("hann", n_fft)
    oracle = scipy.signal.ShortTimeFFT(window, hop_length, fs=1).stft(waveform.numpy(), p0=0, p1=spectrum.shape[1])
    turn = (-1.0) ** numpy.arange(n_fft // 2 + 1)[:, None]  # scipy counts the phase from the centre of the window
    numpy.testing.assert_allclose(spectrum * turn, oracle, atol=1e-9)


def test_inverse_is_nearest_in_least_squares():
    stft, length = Stft(64, 16), 200
    spectrum = torch.complex(noise(33, 14, seed=1, dtype=torch.float64), noise(33, 14, seed=2, dtype=torch.float64))
    spectrum[[0, -1]] = spectrum[[0, -1]].real + 0j
    frames = torch.fft.irfft(spectrum, dim=0)
    window = torch.hann_window(64, dtype=torch.float64)
    upper, lower = torch.zeros(14 * 16 + 64, dtype=torch.float64), torch.zeros(14 * 16 + 64, dtype=torch.float64)
    for frame in range(14):
        upper[frame * 16 : frame * 16 + 64] += window * frames[:, frame]
        lower[frame * 16 : frame * 16 + 64] += window**2
    expected = (upper / lower.clamp(min=1e-12))[32 : 32 + length]
    torch.testing.assert_close(stft.inverse(spectrum, length), expected)


def test_gradients_flow_both_ways():
    stft = Stft(8, 3)
    waveform = noise(2, 21, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(stft.forward, waveform)
    spectrum = stft.forward(waveform).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: stft.inverse(x, 21), spectrum)
    assert torch.autograd.gradcheck(lambda x: resample(x, 3, 2), waveform)
    mask = noise(4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mel_to_linear(x, mel_bank(64, 8000, 4).double()), mask)


def test_precision_and_device_are_kept():
    stft = Stft()
    for dtype, kind in ((torch.float32, torch.complex64), (torch.float64, torch.complex128)):
        spectrum = stft.forward(noise(1000, dtype=dtype))
        assert spectrum.dtype == kind and stft.inverse(spectrum, 1000).dtype == dtype
        assert resample(noise(100, dtype=dtype), 8000, 11025).dtype == dtype
        assert level_db(noise(9, dtype=dtype)).dtype == dtype
        assert mix_at_snr(*noise(2, 9, dtype=dtype), 3.0)[0].dtype == dtype
    meta = torch.zeros(2, 1000, device="meta")
    spectrum = stft.forward(meta)
    assert spectrum.device.type == "meta" and resample(meta, 16000, 44100).device.type == "meta"
    if torch.cuda.is_available():
        waveform = noise(2, 12345)
        back = stft.inverse(stft.forward(waveform.cuda()), 12345)
        assert back.is_cuda
        torch.testing.assert_close(back.cpu(), waveform, atol=1e-5, rtol=0)
        torch.testing.assert_close(resample(waveform.cuda(), 16000, 44100).cpu(), resample(waveform, 16000, 44100))


@pytest.mark.parametrize("n_fft, hop_length", [(0, 1), (511, 128), (512, 257), (512, 0), (512, -1)])
def test_grids_that_lose_samples_are_refused(n_fft, hop_length):
    with pytest.raises(ValueError, match="must be"):
        Stft(n_fft, hop_length)


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match="at most 128 samples"):
        Stft().inverse(torch.zeros(257, 2, dtype=torch.complex64), 129)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_griffin_lim_equals_torchaudio(momentum):
    "From zero phase, the one that torchaudio can start from, with silence where it pads otherwise."
    stft, length = Stft(512, 128), 8000 // 128 * 128
    magnitude = stft.forward(noise(length, dtype=torch.float64)).abs()
    magnitude[:, :6] = magnitude[:, -6:] = 0
    options = {"n_fft": 512, "hop_length": 128, "win_length": 512, "power": 1.0, "n_iter": 5, "rand_init": False}
    window = torch.hann_window(512, dtype=torch.float64)
    theirs = torchaudio.functional.griffinlim(magnitude, window, momentum=momentum, length=length, **options)
    ours = griffin_lim(magnitude.to(torch.complex128), length, stft=stft, rounds=5, momentum=momentum)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


@settings(max_examples=20, deadline=None)
@given(stft=grids(), length=st.integers(1, 2000), seed=st.integers(0, 99))
def test_no_round_without_momentum_goes_astray(stft, length, seed):
    "Griffin & Lim 1984: the distance to the wanted magnitude never grows."
    spectra = stft.forward(noise(2, length, seed=seed, dtype=torch.float64))
    start = spectra[0].abs() * torch.sgn(spectra[1])
    sounds = [griffin_lim(start, length, stft=stft, rounds=rounds, momentum=0.0) for rounds in range(4)]
    weights = torch.full((stft.n_fft // 2 + 1, 1), 2.0, dtype=torch.float64)  # an inner row stands for two
    weights[0] = weights[-1] = 1
    distances = [(weights * (stft.forward(s).abs() - start.abs()).square()).sum() for s in sounds]
    assert all(later <= earlier * (1 + 1e-9) + 1e-12 for earlier, later in zip(distances, distances[1:]))


@pytest.mark.parametrize("shape", [(3000,), (2, 3000), (0, 3000), (2, 0)])
def test_a_spectrum_that_fits_is_left_alone(shape):
    waveform = noise(*shape)
    back = griffin_lim(Stft().forward(waveform), shape[-1], stft=Stft(), rounds=3)
    torch.testing.assert_close(back, waveform, atol=1e-5, rtol=0)


def test_frames_of_another_length_are_refused():
    with pytest.raises(ValueError, match="not those of 5000 samples"):
        griffin_lim(Stft().forward(noise(3000)), 5000, stft=Stft())


def test_axes_are_in_hertz_and_seconds():
    stft = Stft(512, 128)
    numpy.testing.assert_allclose(stft.frequencies(44100), librosa.fft_frequencies(sr=44100, n_fft=512), rtol=1e-6)
    oracle = librosa.frames_to_time(range(50), sr=44100, hop_length=128)
    numpy.testing.assert_allclose(stft.times(50, 44100), oracle, rtol=1e-6)


@given(level=st.floats(-119, 60))
def test_decibels_there_and_back(level):
    assert abs(float(to_db(torch.tensor(from_db(level), dtype=torch.float64))) - level) < 1e-9


def test_decibels_equal_librosa_and_have_a_floor():
    magnitude = noise(1000).abs()
    oracle = librosa.amplitude_to_db(magnitude.numpy(), amin=1e-6, top_db=None)
    numpy.testing.assert_allclose(to_db(magnitude), oracle, atol=1e-4)
    assert to_db(torch.zeros(3), floor_db=-60.0).tolist() == [-60.0] * 3
    assert abs(float(to_db(torch.tensor(3 + 4j))) - 20 * math.log10(5)) < 1e-5


def test_levels():
    assert level_db(torch.zeros(0)) == level_db(torch.zeros(2, 5)) == -120
    assert abs(level_db(torch.ones(3, 1000) / 2) + 6.0206) < 1e-4
    quiet = 1e-4 * noise(2, 16000)
    assert abs(level_db(quiet) - 10 * math.log10(float(quiet.double().square().mean()))) < 1e-4


@settings(max_examples=50, deadline=None)
@given(snr_db=st.floats(-60, 60), gain=st.sampled_from([1e-4, 1.0, 300.0]), channels=st.integers(1, 3))
def test_mixing_is_exact_and_leaves_the_voice(snr_db, gain, channels):
    clean, disturbance = noise(channels, 999, seed=1), gain * noise(channels, 999, seed=2)
    noisy, scaled = mix_at_snr(clean, disturbance, snr_db)
    reached = 10 * math.log10(clean.double().square().sum() / scaled.double().square().sum())
    assert abs(reached - snr_db) < 1e-4
    assert torch.equal(noisy, clean + scaled)
    torch.testing.assert_close(scaled / scaled.abs().max(), disturbance / disturbance.abs().max())


def test_mixing_refuses_silence_and_other_shapes():
    silence = torch.zeros(9)
    pairs = ((noise(9), silence), "silent"), ((silence, noise(9)), "silent"), ((noise(9), noise(8)), "differ")
    for pair, says in pairs:
        with pytest.raises(ValueError, match=says):
            mix_at_snr(*pair, 0.0)


@pytest.mark.parametrize("sample_rate", [44100, 16000, 8000, 44101])
@pytest.mark.parametrize("new_rate", [11025, 22050])
def test_resampling_equals_soxr_within_the_band(sample_rate, new_rate):
    waveform = noise(2, sample_rate, dtype=torch.float64)
    sections = scipy.signal.butter(12, 0.4 * min(sample_rate, new_rate) / 2, fs=sample_rate, output="sos")
    waveform = torch.from_numpy(scipy.signal.sosfilt(sections, waveform.numpy()))
    ours = resample(waveform, sample_rate, new_rate)
    oracle = soxr.resample(waveform.T.numpy(), sample_rate, new_rate, "VHQ").T
    assert ours.shape == (2, new_rate) == oracle.shape
    inner = slice(new_rate // 50, -new_rate // 50)
    assert level_db(ours[:, inner] - torch.from_numpy(oracle.copy())[:, inner]) < level_db(ours) - 90


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(0, 5000), sample_rate=st.integers(4000, 96000), new_rate=st.integers(4000, 96000))
def test_resampling_takes_any_length_and_rates(samples, sample_rate, new_rate):
    resampled = resample(torch.ones(2, samples), sample_rate, new_rate)
    assert resampled.shape == (2, math.ceil(samples * new_rate / sample_rate))
    assert resample(resampled, new_rate, sample_rate)[:, :samples].shape == (2, samples)
    if samples > sample_rate // 25:
        assert abs(resampled[:, resampled.shape[1] // 2] - 1).max() < 0.01


def test_resampling_is_local_and_keeps_the_end_from_the_beginning():
    click = torch.zeros(16000)
    click[-1] = 1
    resampled = resample(click, 16000, 44100)
    assert level_db(resampled[:22050]) < -110
    click[:] = 0
    click[8000] = 1
    assert to_db(resample(click, 16000, 8000)[:3800].abs().max()) < -60


def test_resampling_lets_nothing_fold_back():
    seconds = torch.arange(48000, dtype=torch.float64) / 48000
    for hertz in (8000, 8500, 12000, 20000):
        tone = resample(torch.sin(2 * torch.pi * hertz * seconds), 48000, 16000)
        assert level_db(tone[500:-500]) < -80


@pytest.mark.parametrize("n_fft, sample_rate, n_mels", [(512, 16000, 40), (1024, 44100, 80), (256, 8000, 20)])
def test_mel_bank_equals_librosa(n_fft, sample_rate, n_mels):
    oracle = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, htk=True, norm=None)
    numpy.testing.assert_allclose(mel_bank(n_fft, sample_rate, n_mels), oracle, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(n_mels=st.integers(1, 200), half=st.sampled_from([32, 128, 256]), seed=st.integers(0, 99))
def test_masks_stay_in_range_for_any_bank(n_mels, half, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more bands than rows leave some bands without a row
        bank = mel_bank(2 * half, 16000, n_mels)
    mask = torch.rand(2, n_mels, 3, generator=torch.Generator().manual_seed(seed))
    rows = mel_to_linear(mask, bank)
    assert rows.shape == (2, half + 1, 3)
    assert rows.min() >= mask.min() - 1e-6 and rows.max() <= mask.max() + 1e-6
    torch.testing.assert_close(mel_to_linear(torch.ones(n_mels, 2), bank), torch.ones(half + 1, 2))


def test_first_and_last_row_take_the_outer_bands():
    mask = torch.arange(20.0)[:, None]
    rows = mel_to_linear(mask, mel_bank(512, 16000, 20))
    assert rows[0] == 0 and rows[-1] == 19


@pytest.mark.parametrize("shape", [(0, 100), (2, 0, 100), (0, 0), (2, 0)])
def test_no_channels_and_no_samples_give_empty_results(shape):
    stft, waveform = Stft(), torch.zeros(shape)
    spectrum = stft.forward(waveform)
    assert spectrum.shape == (*shape[:-1], 257, 1 + math.ceil(shape[-1] / 128)) and spectrum.is_complex()
    assert stft.inverse(spectrum, shape[-1]).shape == shape
    assert resample(waveform, 16000, 8000).shape == (*shape[:-1], shape[-1] // 2)


@pytest.mark.parametrize("rates", [(16000, 0), (0, 16000), (16000, -1), (44100.5, 16000), (16000, math.nan)])
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(ValueError, match="whole numbers"):
        resample(torch.zeros(100), *rates)


def test_whole_rates_may_be_floats():
    waveform = noise(441)
    assert torch.equal(resample(waveform, 44100.0, 16000), resample(waveform, 44100, 16000))
