"The masking U-Net is level-free, leaves what it does not see, and takes any length."

import pytest
import torch

from specdehaze.audio import Stft
from specdehaze.networks import count_parameters
from specdehaze.spectrogram_unet import SpectrogramUNet, UNetPreset


def small(**settings) -> SpectrogramUNet:
    torch.manual_seed(0)
    return SpectrogramUNet(UNetPreset(base=2, **settings)).eval()


def test_the_published_sizes():
    assert count_parameters(SpectrogramUNet()) == 1_687_761
    assert count_parameters(SpectrogramUNet(UNetPreset(base=32))) == 4_317_825


@pytest.mark.parametrize("compression", [1.0, 0.3])
@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_the_same_mask_at_every_level(gain, compression):
    network, noise = small(compression=compression), torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.allclose(network(gain * noise).mask, network(noise).mask, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 255, 256, 1000, 16001])
def test_any_length(samples):
    with torch.no_grad():
        output = small()(torch.randn(1, samples))
    assert output.clean.shape == (1, samples) and output.clean.isfinite().all()


def test_clean_is_the_mask_times_the_noisy_spectrum():
    network, noise = small(), torch.randn(1, 8192)
    with torch.no_grad():
        output = network(noise)
    stft = Stft(1024, 256)
    assert torch.equal(output.clean, stft.inverse(stft.forward(noise) * output.mask, 8192))
    assert output.mask.min() >= 0 and output.mask.max() <= 1


def test_what_lies_above_the_highest_frequency_is_let_through():
    network, noise = small(highest=2000.0), torch.randn(1, 8000)
    with torch.no_grad():
        mask = network(noise).mask
    assert (mask[:, 128:] == 1).all() and (mask[:, :128] < 1).all()


def test_silence_stays_silence():
    with torch.no_grad():
        assert not small()(torch.zeros(1, 4000)).clean.any()


@pytest.mark.parametrize("compression", [0.0, -1.0])
def test_a_compression_that_cannot_be(compression):
    with pytest.raises(ValueError, match="compression"):
        SpectrogramUNet(UNetPreset(compression=compression))
