"The hybrid is level-free, uses every parameter, and mixes mask and veil as its gate says."

from dataclasses import replace

import pytest
import torch

from specdehaze.audio import Stft
from specdehaze.augmentation import Pairs
from specdehaze.haze import mmse_lsa_gain
from specdehaze.hybrid_unet import HybridPreset, HybridUNet, Memory
from specdehaze.losses import Loss
from specdehaze.veil import estimate_veil

SHAPES = {
    "linear": HybridPreset(base=2),
    "mel": HybridPreset(base=2, mel_bands=40),
    "memory": HybridPreset(base=2, mel_bands=64, memory=8),
    "detail": HybridPreset(base=2, mel_bands=64, detail=0.3),
}


def made(shape: str) -> HybridUNet:
    torch.manual_seed(0)
    return HybridUNet(SHAPES[shape])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_has_a_gradient_from_the_clean_sound_alone(shape):
    network = made(shape)
    network(torch.randn(2, 16000)).clean.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_the_same_ratio_at_every_level(shape, gain):
    network, noise = made(shape).eval(), torch.randn(1, 16000)
    with torch.no_grad():
        louder, as_it_is = network(gain * noise), network(noise)
    assert torch.allclose(louder.clean / gain, as_it_is.clean, atol=1e-4)
    assert torch.allclose(louder.mask, as_it_is.mask, atol=1e-4)
    assert torch.allclose(louder.veil / gain**2, as_it_is.veil, rtol=1e-2)


def test_the_gate_mixes_mask_and_transmission():
    network, noise = made("linear").eval(), torch.randn(1, 16000)
    with torch.no_grad():
        output = network(noise)
    stft = Stft(512, 256)
    spectrum = stft.forward(noise)
    transmission = (1 - output.veil / spectrum.abs().square()).clamp_min(0)
    gain = output.gate * output.mask + (1 - output.gate) * transmission
    assert torch.allclose(output.clean, stft.inverse(spectrum * gain, 16000), atol=1e-3)


def test_an_open_gate_is_the_mask_and_a_shut_one_subtracts_the_veil():
    network, power = made("mel").eval(), Stft(512, 256).forward(torch.randn(1, 16000)).abs().square()
    with torch.no_grad():
        network.head.bias[2] = 60.0
        open_gate = network.look(power)
        network.head.bias[2] = -60.0
        shut_gate = network.look(power)
    assert torch.allclose(open_gate.gain, open_gate.heads["mask"])
    assert not torch.allclose(shut_gate.gain, shut_gate.heads["mask"], atol=0.01)


def test_detail_is_a_geometric_mean_with_the_classical_gain_in_use_and_nothing_in_training():
    power = Stft(512, 256).forward(torch.randn(1, 16000)).abs().square()
    bare = made("memory")
    fine = HybridUNet(replace(bare.preset, detail=0.3))
    fine.load_state_dict(bare.state_dict())
    with torch.no_grad():
        assert torch.equal(bare.train().look(power).gain, fine.train().look(power).gain)
        coarse, seen = bare.eval().look(power), fine.eval().look(power)
    classical = mmse_lsa_gain(power, coarse.heads["veil"])
    torch.testing.assert_close(seen.gain, coarse.gain**0.7 * classical**0.3)
    with pytest.raises(ValueError, match="detail"):
        HybridUNet(HybridPreset(base=2, detail=1.5))


def test_the_illumination_is_the_classical_veil_in_the_rows_it_sees():
    network, power = made("mel"), torch.rand(1, 257, 63)
    veil = estimate_veil(power, frame_rate=62.5, bin_hertz=31.25)
    assert torch.equal(network.illumination(power), network.bands.merge(veil))


def test_the_result_does_not_teach_the_veil():
    network = made("mel")
    output = network(torch.randn(2, 16000))
    output.clean.square().sum().backward(retain_graph=True)
    assert not network.head.weight.grad[1].any() and network.head.weight.grad[[0, 2]].any((1, 2, 3)).all()
    output.veil.log().sum().backward()
    assert network.head.weight.grad[1].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 256, 5000, 16001])
def test_any_length(shape, samples):
    with torch.no_grad():
        output = made(shape).eval()(torch.randn(1, samples))
    assert output.clean.shape == (1, samples) and all(part.isfinite().all() for part in output)


@pytest.mark.parametrize("shape", SHAPES)
def test_silence_stays_silence(shape):
    with torch.no_grad():
        output = made(shape).eval()(torch.zeros(1, 8000))
    assert not output.clean.any() and all(part.isfinite().all() for part in output)


def test_a_memory_reaches_both_ways():
    memory, picture = Memory(4, 2, 8), torch.randn(1, 4, 2, 20)
    changed = picture.clone()
    changed[..., 10] += 1
    with torch.no_grad():
        assert (memory(changed) - memory(picture)).abs().amax((0, 1, 2)).min() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_with_fewer_digits_it_learns_and_says_nearly_the_same(shape):
    network, pairs = made(shape), Pairs(torch.randn(2, 16000), 0.3 * torch.randn(2, 16000))
    power = network.stft.forward(pairs.noisy).abs().square()
    with torch.no_grad():
        exact, light = network(pairs.noisy), network.illumination(power)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(pairs.noisy)
        assert torch.equal(network.illumination(power), light)
        Loss({"spectral": 1.0, "si_sdr": 0.01, "veil": 0.1}, network.stft)(output, pairs)["loss"].backward()
    assert all(part.dtype == torch.float32 for part in output)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all((getattr(output, head) - getattr(exact, head)).abs().mean() < 0.01 for head in ("mask", "gate"))


@pytest.mark.parametrize("shape", SHAPES)
def test_with_more_digits_it_says_the_same(shape):
    network, noise = made(shape).eval(), torch.randn(1, 16000)
    with torch.no_grad():
        single = network(noise)
        double = network.double()(noise.double())
    assert double.clean.dtype == torch.float64 and torch.allclose(double.clean.float(), single.clean, atol=1e-3)


@pytest.mark.parametrize("levels", [-1, 0, 6])
def test_levels_that_no_network_has(levels):
    with pytest.raises(ValueError, match="from 1 to 5 levels"):
        HybridUNet(HybridPreset(base=2, levels=levels))
