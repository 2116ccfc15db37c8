"The voice network hears no future, knows no level, and says block by block what it says of the whole."


import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.augmentation import Pairs
from specdehaze.haze import minimum_statistics
from specdehaze.inference import clean_by_voice
from specdehaze.networks import count_parameters
from specdehaze.voice_network import (
    GatedMemory,
    VoiceNetwork,
    VoicePreset,
    VoiceStream,
    hear_any,
    recent_minimum,
    voice_rows,
)

SHAPES = {
    "small": VoicePreset(units=16, layers=2),
    "plain": VoicePreset(units=16, layers=1, veil_shown=False, veil_corrected=False, gated=False),
    "no filter": VoicePreset(units=16, layers=1, taps=0),
    "gain": VoicePreset(units=16, layers=1, taps=1),
}


def made(shape: str) -> VoiceNetwork:
    torch.manual_seed(0)
    network = VoiceNetwork(SHAPES[shape]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


def sound(samples: int = 16000, channels: int = 1):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_a_stream_says_what_the_network_says_of_the_whole(shape, cuts):
    network, noisy = made(shape), sound(4000, 2)
    edges = [0, *sorted(cuts), 4000]
    stream = VoiceStream(network, channels=2)
    parts = [stream(noisy[:, start:stop]) for start, stop in zip(edges, edges[1:])]
    streamed = torch.cat([*parts, stream.finish()], -1)[:, 256 : 256 + 4000]
    with torch.no_grad():
        assert torch.allclose(streamed, network(noisy).clean, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_stream_of_any_rate_says_what_is_said_of_the_whole(rate):
    network, noisy = made("small"), sound(rate // 4)
    stream = VoiceStream(network, rate)
    parts = [stream(block) for block in noisy.split([1, 700, rate // 4 - 701], -1)]
    streamed = torch.cat([*parts, stream.finish()], -1)[:, stream.stft.hop_length :][:, : noisy.shape[-1]]
    assert torch.allclose(streamed, clean_by_voice(noisy, rate, network), atol=1e-5)
    assert stream.latency == pytest.approx(0.032, rel=2e-3)


def test_a_stream_is_no_later_than_40_ms():
    stream, heard = VoiceStream(made("small")), 0
    for block in sound(2560).split(256, -1):
        heard += stream(block).shape[-1]
    assert heard == 2560 and stream.latency <= 0.04  # the first hop of what comes out lies before the recording


@pytest.mark.parametrize("shape", SHAPES)
def test_what_comes_later_changes_nothing(shape):
    network, noisy = made(shape), sound()
    later = noisy.clone()
    later[:, 9000:] *= -5
    with torch.no_grad():
        before, after = network(noisy).clean, network(later).clean
    assert torch.equal(before[:, : 9000 - 512], after[:, : 9000 - 512]) and not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gain", [0.001, 100.0])
def test_the_same_at_every_level(shape, gain):
    network, noisy = made(shape), sound()
    with torch.no_grad():
        louder, as_it_is = network(gain * noisy), network(noisy)
    assert torch.allclose(louder.clean / gain, as_it_is.clean, atol=1e-4)
    assert torch.allclose(louder.mask, as_it_is.mask, atol=1e-3)
    assert torch.allclose((louder.veil / gain**2).log(), as_it_is.veil.log(), atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_has_a_gradient_from_the_clean_sound_and_the_veil(shape):
    network = made(shape)
    output = network(sound(8000, 2))
    (output.clean.square().sum() + output.veil.log().mean()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_it_is_small():
    assert count_parameters(VoiceNetwork()) < 1e6


def test_silence_stays_silence():
    with torch.no_grad():
        output = made("small")(torch.zeros(1, 8000))
    assert not output.clean.any() and output.veil.isfinite().all()


def test_shapes_of_what_it_says():
    output = made("small")(sound(5000, 3))
    frames = 1 + -(-5000 // 256)
    assert output.clean.shape == (3, 5000)
    assert output.mask.shape == output.veil.shape == output.gate.shape == (3, 257, frames)
    assert output.mask.min() >= 0 and output.mask.max() <= 1 + 1e-6


def test_clips_of_a_batch_do_not_hear_each_other():
    network, noisy = made("small"), sound(8000, 2)
    with torch.no_grad():
        assert torch.allclose(network(noisy).clean[:1], network(noisy[:1]).clean, atol=1e-6)


def test_too_many_bands_are_refused():
    with pytest.raises(ValueError, match="too many"):
        voice_rows(VoicePreset(single=200, bands=200))


def test_rows_and_bins_are_means_of_each_other():
    network = made("small")
    flat = torch.ones(1, 257)
    assert torch.allclose(flat @ network.merge @ network.spread, flat)


def test_a_memory_with_open_gates_is_a_running_mean():
    layer = GatedMemory(4, reach=1)
    frames = torch.randn(6, 2, 4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.recent.fill_(1), layer.norm.weight.fill_(1)
        layer.enter.weight[4:8], layer.leave.weight[:] = torch.eye(4), torch.eye(4)
        layer.enter.bias[8:] = 20.0  # the output gate, silu(20) = 20
        out, _ = layer(frames, layer.start(frames[0]))
    memory, normed = torch.zeros(2, 4), layer.norm(frames)
    for place, frame in enumerate(normed):
        memory = (memory + frame) / 2
        assert torch.allclose(out[place], frames[place] + 20 * memory, atol=1e-4)


def test_the_veil_is_the_minimum_of_the_past():
    power = torch.rand(200, 1, 3)
    ours, _ = recent_minimum(power, None, smoothing=6, window=62, overlap=0.5)
    both_sides = minimum_statistics(
        power.permute(1, 2, 0), frame_rate=62.5, window_seconds=62 / 62.5, smoothing_seconds=6 / 62.5, overlap=0.5
    ).permute(2, 0, 1)
    assert torch.allclose(ours[66:], both_sides[33 : 33 + 134], rtol=1e-4)


def test_training_sees_gradients_that_are_finite_in_silence():
    from specdehaze.voice_training import WEIGHTS, voice_loss

    network = made("small").train()
    still = torch.zeros(2, 8000)
    parts = voice_loss(network, Pairs(still, torch.cat([still[:1], sound(8000)])), WEIGHTS)
    parts["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_without_a_gate_the_mask_is_trusted():
    with torch.no_grad():
        output = made("plain")(sound(4000))
    assert torch.allclose(output.gate, torch.ones(()))


def test_bins_beyond_its_hearing_get_the_mean_gain_of_the_highest():
    network = made("small")
    spectrum = torch.randn(5, 1, 400, dtype=torch.cfloat)
    with torch.no_grad():
        voice, _ = hear_any(network, spectrum)
        said, _ = network.step(spectrum[..., :257])
        narrow, _ = hear_any(network, spectrum[..., :100])
    assert torch.allclose(voice[..., :257], said.spectrum) and narrow.shape[-1] == 100
    assert torch.allclose(voice[..., 257:], spectrum[..., 257:] * said.mask[..., -65:].mean(-1, keepdim=True))
