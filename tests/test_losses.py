"Each term is what its definition says, finite where there is nothing, and as blind to the gain as it claims."

import json
import math
from importlib.machinery import ModuleSpec
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.models import wav2vec2_model
from torchaudio.pipelines import WAV2VEC2_BASE
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from specdehaze import losses
from specdehaze.audio import Stft
from specdehaze.augmentation import Pairs
from specdehaze.evaluation import si_sdr
from specdehaze.losses import (
    TERMS,
    Loss,
    Spectra,
    at_level,
    consistency_loss,
    feature_loss,
    filterbank_encoder,
    gradient_loss,
    guided_variation,
    magnitude_loss,
    noise_loss,
    power_floor,
    si_sdr_loss,
    silero_encoder,
    smooth_power,
    sparsity_loss,
    spectral_loss,
    total_variation,
    veil_loss,
    wav2vec2_encoder,
    waveform_loss,
)

STFT = Stft(256, 64)
SAMPLES = 4000
GROWING = {"magnitude", "waveform", "noise"}


class HybridOutput(NamedTuple):
    clean: Tensor
    mask: Tensor
    veil: Tensor


class PlainOutput(NamedTuple):
    clean: Tensor
    mask: Tensor


def random(*shape, seed=0, dtype=torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def example(items=2, *, dtype=torch.float64, gain=1.0) -> tuple[HybridOutput, Pairs]:
    "Noise that swells over other noise, a mask that is not too bad, and a veil that is."
    swell = torch.linspace(0, 1, SAMPLES, dtype=dtype).sin().square()
    pairs = Pairs(*(gain * 0.1 * random(items, SAMPLES, seed=seed, dtype=dtype) for seed in (1, 2)))
    pairs = Pairs(pairs.clean * swell, pairs.noise * 0.3)
    noisy = STFT.forward(pairs.noisy)
    mask = torch.sigmoid(random(*noisy.shape, seed=3, dtype=dtype))
    veil = noisy.abs().square() * torch.rand(noisy.shape, generator=torch.Generator().manual_seed(4), dtype=dtype)
    return HybridOutput(STFT.inverse(mask * noisy, SAMPLES), mask, veil), pairs


def value_of(name, output, pairs) -> float:
    return float(Loss({name: 1.0}, STFT)(output, pairs)[name])


def steps_by_loops(picture, price=lambda a, b: 1.0) -> float:
    rows, columns = picture.shape
    total = 0.0
    for i in range(rows):
        for j in range(columns):
            for k, l in ((i + 1, j), (i, j + 1)):
                if k < rows and l < columns:
                    total += abs(float(picture[k, l] - picture[i, j])) * price((i, j), (k, l))
    return total / (rows * columns)


def test_plain_distances_are_means():
    a, b = random(2, 5, 7), random(2, 5, 7, seed=1)
    assert float(waveform_loss(a, b)) == pytest.approx(float((a - b).abs().sum()) / 70)
    assert float(magnitude_loss(a, -a)) == 0
    spectrum = torch.polar(a.abs(), b)
    assert float(magnitude_loss(spectrum, a)) == pytest.approx(0, abs=1e-6)


def test_noise_is_what_was_taken():
    voice, noise = (STFT.forward(random(2, SAMPLES, seed=seed)) for seed in (0, 1))
    assert float(noise_loss(voice + noise, voice, noise)) < 1e-5
    assert float(noise_loss(voice + noise, voice + noise, noise)) == pytest.approx(float(noise.abs().mean()))


@given(st.integers(0, 99), st.floats(0.05, 3), st.floats(0.1, 10))
def test_si_sdr_is_the_score(seed, distortion, gain):
    clean = random(1, 500, seed=seed, dtype=torch.float64)
    estimate = gain * (clean + distortion * random(1, 500, seed=seed + 100, dtype=torch.float64))
    score = si_sdr(estimate, clean)
    assert float(si_sdr_loss(estimate, clean)) == pytest.approx(-score, abs=0.02)
    assert float(si_sdr_loss(estimate, clean * 7)) == pytest.approx(-score, abs=0.2)


def test_si_sdr_agrees_with_torchmetrics():
    clean = random(3, 4000)
    estimate = clean + 0.3 * random(3, 4000, seed=1)
    theirs = scale_invariant_signal_distortion_ratio(estimate, clean, zero_mean=False).mean()
    assert float(si_sdr_loss(estimate, clean)) == pytest.approx(-float(theirs), abs=1e-3)


def test_si_sdr_at_the_edges():
    clean = random(1, 1000)
    assert float(si_sdr_loss(clean, clean)) == pytest.approx(-80, abs=0.1)
    assert float(si_sdr_loss(0 * clean, clean)) == pytest.approx(0, abs=1e-3)
    assert float(si_sdr_loss(0 * clean, 0 * clean)) == 0
    louder = [float(si_sdr_loss(gain * clean, 0 * clean)) for gain in (1e-4, 1e-2, 1.0)]
    assert 0 < louder[0] < louder[1] < louder[2] == pytest.approx(80, abs=0.5)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_total_variation_by_loops(rows, columns, seed):
    mask = random(rows, columns, seed=seed).sigmoid()
    assert float(total_variation(mask)) == pytest.approx(steps_by_loops(mask), abs=1e-6)
    guide = 10 * random(rows, columns, seed=seed + 100)
    by_loops = steps_by_loops(mask, lambda a, b: math.exp(-abs(float(guide[a] - guide[b])) / 6))
    assert float(guided_variation(mask, guide)) == pytest.approx(by_loops, abs=1e-6)
    assert float(guided_variation(mask, 0 * guide)) == pytest.approx(float(total_variation(mask)), abs=1e-6)
    assert float(gradient_loss(guide + mask, guide)) == pytest.approx(steps_by_loops(mask), abs=1e-5)
    assert float(gradient_loss(guide + 3, guide)) == pytest.approx(0, abs=1e-5)


def test_a_batch_counts_as_the_mean_of_its_items():
    output, pairs = example(3)
    for name in TERMS:
        whole = value_of(name, output, pairs)
        if name != "features":  # a share of the mean over the batch
            items = [
                value_of(name, *(type(x)(*(part[k, None] for part in x)) for x in (output, pairs))) for k in range(3)
            ]
            assert whole == pytest.approx(sum(items) / 3, rel=1e-6), name


def test_smoothing_is_a_mean_over_a_box():
    power = random(2, 6, 15).square()
    smooth = smooth_power(power)
    for i, j in ((0, 0), (3, 7), (5, 14)):
        box = power[1, max(i - 1, 0) : i + 2, max(j - 4, 0) : j + 5]
        assert float(smooth[1, i, j]) == pytest.approx(float(box.mean()), rel=1e-5)
    assert smooth_power(power[:, :1, :1]).shape == (2, 1, 1)


def test_veil_and_consistency_know_the_truth():
    noise = STFT.forward(random(2, SAMPLES)).abs().square()
    floor = power_floor(noise)
    assert float(veil_loss(smooth_power(noise), noise, floor=floor)) == 0
    assert float(veil_loss(10 * smooth_power(noise), noise, floor=floor)) == pytest.approx(1, abs=1e-3)
    assert float(consistency_loss(0.3 * noise, 0.7 * noise, noise)) == pytest.approx(0, abs=1e-6)
    assert float(consistency_loss(5 * noise, 5 * noise, noise)) == pytest.approx(1, abs=1e-3)


def test_sparsity_is_the_mean_and_is_paid_for_by_level():
    assert float(sparsity_loss(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))) == 0.5
    magnitude = torch.tensor([[0.1, 0.29, 0.31, 2.0]])  # all of it voice
    logits = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(100):
        mask = logits.sigmoid()
        optimizer.zero_grad()
        (magnitude_loss(mask * magnitude, magnitude) + 0.3 * sparsity_loss(mask)).backward()
        optimizer.step()
    assert (logits.sigmoid() > 0.5).tolist() == [[False, False, True, True]]


def test_the_compressed_distance_by_definition():
    clean, estimate = (0.1 * random(1, 1000, seed=seed, dtype=torch.float64) for seed in (0, 1))
    clean = clean / clean.square().mean().sqrt() * 0.1
    a, b = STFT.forward(estimate), STFT.forward(clean)
    sizes = (a.abs() ** 0.3 - b.abs() ** 0.3).square()
    full = (torch.polar(a.abs() ** 0.3, a.angle()) - torch.polar(b.abs() ** 0.3, b.angle())).abs().square()
    expected = float((0.7 * sizes + 0.3 * full).mean())
    assert float(spectral_loss(estimate, clean, resolutions=(STFT,))) == pytest.approx(expected, rel=1e-3)
    assert float(spectral_loss(-clean, clean, phase=0.0)) < 1e-12 < float(spectral_loss(-clean, clean))


def test_one_level_for_all_but_silence():
    clean = torch.stack([random(1000), 0.01 * random(1000), torch.zeros(1000)])
    estimate, reference = at_level(clean + 1, clean)
    torch.testing.assert_close(reference.square().mean(1).sqrt(), torch.tensor([0.1, 0.1, 0.0]))
    torch.testing.assert_close(estimate[2], torch.ones(1000))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_gain(name, gain):
    before = value_of(name, *example())
    output, pairs = example(gain=gain)
    after = value_of(name, output, pairs)
    assert after == pytest.approx(before * (gain if name in GROWING else 1), rel=1e-4)


def leaves(output) -> HybridOutput:
    return HybridOutput(*(part.detach().clone().requires_grad_() for part in output))


def silent_target(output, pairs):
    return output, Pairs(torch.zeros_like(pairs.clean), pairs.noise)


def silent_noise(output, pairs):
    return output, Pairs(pairs.clean, torch.zeros_like(pairs.noise))


def silent_everything(output, pairs):
    nothing = Pairs(torch.zeros_like(pairs.clean), torch.zeros_like(pairs.noise))
    return HybridOutput(*(torch.zeros_like(part) for part in output)), nothing


def perfect_estimate(output, pairs):
    return output._replace(clean=pairs.clean, veil=smooth_power(STFT.forward(pairs.noise).abs().square())), pairs


@pytest.mark.parametrize("corner", [silent_target, silent_noise, silent_everything, perfect_estimate])
@pytest.mark.parametrize("name", TERMS)
def test_slopes_are_finite(name, corner):
    output, pairs = corner(*example(dtype=torch.float32))
    output = leaves(output)
    parts = Loss({name: 1.0}, STFT)(output, pairs)
    parts["loss"].backward()
    assert parts["loss"].isfinite()
    slopes = [part.grad for part in output if part.grad is not None]
    assert slopes and all(slope.isfinite().all() and slope.abs().max() < 1e6 for slope in slopes)


@pytest.mark.parametrize("name", ["magnitude", "waveform", "noise", "gradient", "spectral", "features"])
def test_distances_are_zero_for_the_truth_alone(name):
    output, pairs = example()
    assert value_of(name, output._replace(clean=pairs.clean), pairs) < 1e-6 < value_of(name, output, pairs)


def test_the_sum_is_weighted_and_the_parts_are_not():
    output, pairs = example()
    weights = dict(zip(TERMS, torch.rand(len(TERMS)).tolist()))
    parts = Loss(weights, STFT)(output, pairs)
    assert set(parts) == {"loss", *TERMS}
    assert float(parts["loss"]) == pytest.approx(sum(weights[name] * float(parts[name]) for name in TERMS))
    assert set(Loss({"magnitude": 1, "veil": 0}, STFT)(output, pairs)) == {"loss", "magnitude"}


def test_spectra_are_computed_once(monkeypatch):
    output, pairs = example()
    calls = []
    forward = Stft.forward
    monkeypatch.setattr(Stft, "forward", lambda self, sound: calls.append(self) or forward(self, sound))
    Loss(dict.fromkeys(set(TERMS) - {"spectral", "features"}, 1.0), STFT)(output, pairs)
    assert len(calls) == 3
    torch.testing.assert_close(Spectra(output, pairs, STFT).noisy, STFT.forward(pairs.noisy))


def test_terms_that_need_a_veil_say_so():
    output, pairs = example()
    plain = PlainOutput(output.clean, output.mask)
    for name in ("veil", "consistency"):
        with pytest.raises(ValueError, match="HybridUNet"):
            Loss({name: 1.0}, STFT)(plain, pairs)
    Loss(dict.fromkeys(set(TERMS) - {"veil", "consistency"}, 1.0), STFT)(plain, pairs)


@pytest.mark.parametrize(
    "weights, message",
    [
        ({"sisdr": 1.0}, "si_sdr"),
        ({"xyzzy": 1.0}, "magnitude, waveform"),
        ({"magnitude": -1.0}, "finite number"),
        ({"magnitude": math.inf}, "finite number"),
        ({"magnitude": math.nan}, "finite number"),
        ({"magnitude": 0.0}, "above 0"),
        ({}, "above 0"),
    ],
)
def test_weights_that_can_not_be(weights, message):
    with pytest.raises(ValueError, match=message):
        Loss(weights, STFT)


def test_lengths_that_differ():
    output, pairs = example()
    with pytest.raises(ValueError, match="one length"):
        Loss({"waveform": 1.0}, STFT)(output._replace(clean=output.clean[:, 1:]), pairs)


def small_wav2vec2():
    layers = [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2]
    return wav2vec2_model("group_norm", layers, False, 16, 0.0, 3, 1, 1, 1, 0.0, 16, 0.0, 0.0, False, 0.0, None)


def random_silero() -> dict[str, Tensor]:
    shapes = {"conv1": (128, 129, 3), "conv2": (64, 128, 3), "conv3": (64, 64, 3), "conv4": (128, 64, 3)}
    weights = {f"{name}.weight": random(*shape) / 20 for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    return weights | {"stft_conv.weight": random(258, 1, 256) / 16}


ENCODERS = {
    "filterbank": filterbank_encoder,
    "silero": lambda rate: silero_encoder(rate, weights=random_silero()),
    "wav2vec2": lambda rate: wav2vec2_encoder(rate, model=small_wav2vec2()),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_encoders_hear_a_difference_and_pass_its_slope_on(name, rate):
    encoder = ENCODERS[name](rate)
    clean = 0.1 * random(2, rate // 4)
    near, far = (clean + size * random(2, rate // 4, seed=1) for size in (0.01, 0.1))
    near.requires_grad_()
    value = feature_loss(near, clean, encoder=encoder)
    value.backward()
    assert 0 < value.item() < float(feature_loss(far, clean, encoder=encoder))
    assert near.grad.isfinite().all() and near.grad.any()
    assert float(feature_loss(clean, clean, encoder=encoder)) == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_every_band_of_the_filterbank_hears_something(rate):
    layers = filterbank_encoder(rate)(0.1 * random(1, rate))
    assert [layer.shape[1] for layer in layers] == [40, 80]
    assert all((layer.mean((0, 2)) > 1).all() for layer in layers)


def test_the_level_of_the_filterbank_is_in_bel():
    quiet, loud = (filterbank_encoder(16000)(level * random(1, 16000)) for level in (0.01, 0.1))
    for low, high in zip(quiet, loud):
        assert float((high - low).mean()) == pytest.approx(2, abs=0.01)


def test_a_loss_takes_any_encoder_at_its_rate():
    output, pairs = example(dtype=torch.float32)
    loss = Loss({"features": 1.0}, STFT, encoder=lambda sound: sound)
    estimate, clean = at_level(output.clean, pairs.clean)
    expected = float((estimate - clean).abs().mean() / clean.abs().mean())
    assert float(loss(output, pairs)["features"]) == pytest.approx(expected, rel=1e-5)
    values = [float(Loss({"features": 1.0}, STFT, sample_rate=rate)(output, pairs)["loss"]) for rate in (8000, 16000)]
    assert values[0] != values[1]


def test_wav2vec2_is_frozen_and_frames_are_20_ms():
    model = small_wav2vec2()
    encoder = wav2vec2_encoder(8000, model=model)
    sound = random(1, 8000).requires_grad_()
    features = encoder(sound)
    assert features.shape == (1, 49, 8)
    features.sum().backward()
    assert all(p.grad is None for p in model.parameters()) and sound.grad.any()
    assert wav2vec2_encoder(16000, model=model)(random(1, 400)).shape == (1, 1, 8)


def test_wav2vec2_is_fetched_when_no_model_is_given(monkeypatch):
    monkeypatch.setattr(type(WAV2VEC2_BASE), "get_model", lambda self: small_wav2vec2())
    assert wav2vec2_encoder(16000)(random(2, 16000)).shape == (2, 49, 8)


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setattr(losses, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'silero-vad"):
        silero_encoder(16000)


def test_the_weights_in_the_wheel_fit():
    try:
        encoder = silero_encoder(16000)
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    layers = encoder(0.1 * random(2, 1000))
    assert [layer.shape for layer in layers] == [(4, 128, 4), (4, 64, 2), (4, 64, 1), (4, 128, 1)]
    assert all(layer.isfinite().all() and layer.any() for layer in layers)


def test_safetensors_are_read_as_they_are_written(tmp_path, monkeypatch):
    values = random(3, 4)
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "lstm_cell.bias_hh": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "conv1.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [4, 52]},
        }
    ).encode()
    (tmp_path / "data").mkdir()
    content = len(header).to_bytes(8, "little") + header + bytes(4) + values.numpy().tobytes()
    (tmp_path / "data" / "silero_vad_16k.safetensors").write_bytes(content)
    spec = ModuleSpec("silero_vad", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(losses, "find_spec", lambda name: spec)
    weights = losses._silero_weights()
    assert list(weights) == ["conv1.weight"] and torch.equal(weights["conv1.weight"], values)
