"A network's gain finds its place on the spectrogram of any rate."

import pytest
import torch

from specdehaze.audio import Stft, matching_stft, resample
from specdehaze.checkpoints import build
from specdehaze.hybrid_unet import HybridPreset
from specdehaze.inference import clean_by_network, clean_by_voice, regrid
from specdehaze.spectrogram_unet import UNetPreset
from specdehaze.voice_network import VoiceNetwork, VoicePreset

NETWORKS = {"unet": UNetPreset(base=2), "hybrid": HybridPreset(base=2, mel_bands=40, memory=4)}


def made(kind: str):
    torch.manual_seed(0)
    return build(NETWORKS[kind]).eval()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("kind", NETWORKS)
def test_any_rate_keeps_the_shape(rate, kind):
    sound = torch.randn(3, rate // 2 + 17)
    clean = clean_by_network(sound, rate, made(kind))
    assert clean.shape == sound.shape and clean.isfinite().all()


def test_windows_last_equally_long():
    for rate in (8000, 32000, 44100, 192000):
        grid = matching_stft(Stft(512, 256), 16000, rate)
        assert grid.n_fft == 2 * grid.hop_length and grid.hop_length / rate == pytest.approx(0.016, abs=0.5 / rate)


def test_a_gain_of_one_everywhere_stays_one():
    old, new = Stft(512, 128), matching_stft(Stft(512, 128), 16000, 44100)
    moved = regrid(torch.ones(2, 257, 30), old, 16000, new_stft=new, new_rate=44100, frames=31)
    assert torch.allclose(moved, torch.ones(2, new.n_fft // 2 + 1, 31))


def test_interpolation_against_scipy():
    from scipy.interpolate import RegularGridInterpolator

    old, new = Stft(512, 256), matching_stft(Stft(512, 256), 16000, 11025)
    gain = torch.rand(257, 40)
    moved = regrid(gain, old, 16000, new_stft=new, new_rate=11025, frames=38)
    there = RegularGridInterpolator((old.frequencies(16000), old.times(40, 16000)), gain.numpy())
    grid = torch.meshgrid(new.frequencies(11025), new.times(38, 11025), indexing="ij")
    assert torch.allclose(moved, torch.from_numpy(there(torch.stack(grid, -1))).float(), atol=1e-4)


def test_a_single_frame_and_a_single_sample():
    assert clean_by_network(torch.randn(1, 1), 44100, made("hybrid")).shape == (1, 1)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_rate_hardly_matters(kind):
    sound = resample(torch.randn(1, 4000), 4000, 16000)
    direct = clean_by_network(sound, 16000, made(kind))
    around = resample(clean_by_network(resample(sound, 16000, 48000), 48000, made(kind)), 48000, 16000)
    assert (direct - around).square().mean() < 0.01 * direct.square().mean()


def test_channels_share_their_gain():
    sound = torch.randn(1, 16000)
    clean = clean_by_network(torch.cat([sound, -0.25 * sound]), 16000, made("unet"))
    assert torch.allclose(clean[0], -4 * clean[1], atol=1e-5)


def live() -> VoiceNetwork:
    torch.manual_seed(0)
    return VoiceNetwork(VoicePreset(units=8, layers=1)).eval()


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (2, 4001)])
def test_a_network_without_a_gain_keeps_rate_length_and_channels(rate, channels, samples):
    assert clean_by_voice(torch.randn(channels, samples), rate, live()).shape == (channels, samples)


def test_a_network_without_a_gain_is_itself_at_its_own_rate():
    network, noisy = live(), torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.allclose(clean_by_voice(noisy, 16000, network), network(noisy).clean)


def test_what_lies_above_its_hearing_gets_the_gain_of_its_highest_rows():
    network = live()
    with torch.no_grad():
        network.heads.weight.zero_(), network.heads.bias.zero_()
        said = dict(zip(network.said, network.heads.bias.chunk(len(network.said))))
        said["mask"].fill_(-1.0), said["gate"].fill_(20.0)  # 0.5, and the gate trusts it
    whistle = torch.sin(2 * torch.pi * 14000 * torch.arange(48000) / 48000)[None]
    cleaned = clean_by_voice(whistle, 48000, network)
    assert torch.allclose(cleaned[:, 5000:-5000], 0.5 * whistle[:, 5000:-5000], atol=0.01)
