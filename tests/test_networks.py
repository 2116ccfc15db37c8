"The trunk keeps every shape and every level, and bands carry gains back to rows."

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.audio import mel_bank
from specdehaze.networks import Bands, DoubleConv, SpectralNetwork, UNet, count_macs, count_parameters


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 70), frames=st.integers(1, 70), inputs=st.integers(1, 3))
def test_unet_keeps_the_size_of_any_picture(rows, frames, inputs):
    trunk = UNet(inputs, 2).eval()
    with torch.no_grad():
        assert trunk(torch.randn(2, inputs, rows, frames)).shape == (2, 2, rows, frames)


@pytest.mark.parametrize(("base", "millions"), [(20, 1.688), (32, 4.318)])
def test_unet_has_the_size_that_is_claimed(base, millions):
    assert count_parameters(UNet(1, base)) / 1e6 == pytest.approx(millions, abs=0.001)


def test_every_level_reaches_the_output():
    trunk = UNet(2, 4, deepest=DoubleConv(32, 32))
    trunk(torch.randn(2, 2, 50, 40)).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in trunk.parameters())


def test_fewer_levels_are_a_smaller_network():
    assert len(UNet(1, 4, levels=3).up) == 2
    assert UNet(1, 4, levels=3)(torch.randn(1, 1, 9, 9)).shape == (1, 4, 9, 9)


def test_work_of_a_convolution_by_definition():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert count_macs(layer, torch.randn(2, 3, 7, 11)) == 2 * 5 * 3 * 9 * 7 * 11


def test_counting_leaves_a_network_as_it_was():
    trunk = UNet(1, 2).train()
    before = {name: buffer.clone() for name, buffer in trunk.named_buffers()}
    count_macs(trunk, torch.randn(2, 1, 16, 16))
    assert trunk.training and all(torch.equal(before[name], buffer) for name, buffer in trunk.named_buffers())


def test_frozen_parameters_are_not_counted():
    layer = torch.nn.Linear(3, 4).requires_grad_(False)
    assert count_parameters(layer) == 0


def test_a_band_is_the_weighted_mean_of_its_rows():
    power, bank = torch.rand(2, 257, 5), mel_bank(512, 16000, 40)
    expected = torch.stack([(power * w[:, None]).sum(1) / w.sum() for w in bank], 1)
    assert torch.allclose(Bands(512, 16000, mel_bands=40).merge(power), expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_gains_of_bands_stay_within_their_range_on_rows(seed):
    gains = torch.rand(1, 64, 3, generator=torch.Generator().manual_seed(seed))
    rows = Bands(512, 16000, mel_bands=64).spread(gains, torch.zeros(1, 257, 3))
    assert rows.shape == (1, 257, 3) and rows.min() >= gains.min() - 1e-6 and rows.max() <= gains.max() + 1e-6


def test_rows_that_are_not_shown_are_filled_from_above():
    bands, power = Bands(1024, 16000, highest=4000), torch.rand(1, 513, 4)
    assert bands.rows == 256 and bands.merge(power).shape == (1, 256, 4)
    spread = bands.spread(torch.zeros(1, 256, 4), power)
    assert not spread[:, :256].any() and torch.equal(spread[:, 256:], power[:, 256:])


@pytest.mark.parametrize(("mel_bands", "highest"), [(40, 100.0), (0, 9000.0), (0, -1.0), (300, 0.0)])
def test_bands_that_cannot_be(mel_bands, highest):
    with pytest.raises(ValueError, match="rows are either"):
        Bands(512, 16000, mel_bands=mel_bands, highest=highest)


def test_a_cut_below_the_first_row():
    with pytest.raises(ValueError, match="no row lies below 5.0 Hz: rows are 31.25 Hz apart"):
        Bands(512, 16000, highest=5.0)


@pytest.mark.parametrize(("base", "levels"), [(0, 5), (-1, 5), (2, 0), (2, 6)])
def test_a_u_net_that_cannot_be(base, levels):
    with pytest.raises(ValueError, match="a base of at least 1 and from 1 to 5 levels"):
        UNet(1, base, levels=levels)


def test_bands_that_fall_between_two_rows():
    with pytest.raises(ValueError, match="too many for a window of 512"):
        Bands(512, 16000, mel_bands=128)


def test_a_network_has_to_say_how_it_looks():
    class Blind(SpectralNetwork):
        pass

    preset = type("Preset", (), {"n_fft": 64, "hop_length": 16})
    with pytest.raises(NotImplementedError, match="Blind"):
        Blind(preset)(torch.randn(1, 500))
