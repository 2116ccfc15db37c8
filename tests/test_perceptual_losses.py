"The two losses hear what STOI and PESQ hear, forgive what they forgive, and can be trained by."

import pytest
import torch

from specdehaze.audio import Stft, read_audio
from specdehaze.evaluation import pesq_wb, stoi
from specdehaze.perceptual_losses import bark_bands, disturbance, envelope_distance, third_octaves

STFT, RATE = Stft(512, 256, exponent=0.5), 16000
OCTAVES, BARKS = third_octaves(512, RATE), bark_bands(512, RATE)


@pytest.fixture(scope="module")
def voice() -> torch.Tensor:  # (samples)
    return read_audio("data/speech/fr_02.flac")[0][0, : 3 * RATE]


def frames(*sounds: torch.Tensor) -> torch.Tensor:  # (frames, batch, freq)
    return STFT.forward(torch.stack(sounds)).permute(2, 0, 1)


def hiss(voice: torch.Tensor, level: float) -> torch.Tensor:
    return level * voice.std() * torch.randn(len(voice), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "distance",
    [
        lambda estimate, clean: envelope_distance(estimate, clean, OCTAVES),
        lambda estimate, clean: disturbance(estimate, clean, BARKS).mean(),
    ],
    ids=["envelopes", "disturbance"],
)
def test_more_noise_is_further_away_and_gain_is_forgiven(voice, distance):
    clean = frames(voice)
    apart = [float(distance(frames(voice + hiss(voice, level)), clean)) for level in (0.0, 0.03, 0.1, 0.3, 1.0)]
    assert apart[0] < 1e-3 and apart == sorted(apart) and apart[-1] > 2 * apart[1]
    noisy = frames(voice + hiss(voice, 0.1))
    assert float(distance(10 * noisy, clean)) == pytest.approx(float(distance(noisy, clean)), rel=1e-2)


def test_they_rank_distortions_as_the_scores_do(voice):
    lowpass = frames(voice).clone()
    lowpass[..., 90:] = 0
    sounds = [voice + hiss(voice, level) for level in (0.05, 0.2, 0.8)]
    sounds += [STFT.inverse(lowpass.permute(1, 2, 0), len(voice))[0], voice.clamp(-voice.std(), voice.std())]
    clean = frames(*[voice] * len(sounds))
    heard = disturbance(frames(*sounds), clean, BARKS)
    scores = torch.tensor([pesq_wb(sound, voice, RATE) for sound in sounds])
    assert heard.argsort().tolist() == scores.argsort(descending=True).tolist()
    apart = torch.stack([envelope_distance(frames(sound), frames(voice), OCTAVES) for sound in sounds[:3]])
    scores = torch.tensor([stoi(sound, voice, RATE) for sound in sounds[:3]])
    assert apart.argsort().tolist() == scores.argsort(descending=True).tolist()


def test_a_band_that_is_too_soft_throughout_is_forgiven_up_to_a_limit(voice):
    clean, muffled = frames(voice), torch.ones(257)
    muffled[128:] = 0.3  # 10 dB too soft above 4 kHz
    free, tight = (float(disturbance(clean * muffled, clean, BARKS, forgiven_db=db)) for db in (20.0, 3.0))
    assert free < 0.05 and tight > 5 * free
    slightly = torch.where(muffled < 1, 0.8, 1.0)
    assert float(disturbance(clean * slightly, clean, BARKS, forgiven_db=3.0)) < 0.05


def test_disturbance_forgives_a_line_and_a_clip_does_not_hear_its_neighbours(voice):
    clean, line = frames(voice, voice), torch.linspace(0.5, 2, 257)
    assert disturbance(clean * line, clean, BARKS).max() < 0.1
    noisy = frames(voice + hiss(voice, 0.1), voice + hiss(voice, 1.0))
    alone = torch.cat([disturbance(noisy[:, [row]], clean[:, [row]], BARKS) for row in (0, 1)])
    torch.testing.assert_close(disturbance(noisy, clean, BARKS), alone)


@pytest.mark.parametrize("loud", [0.0, 1.0])
def test_gradients_are_numbers_even_in_silence(voice, loud):
    clean = frames(loud * voice)
    estimate = (clean + 1e-3 * torch.randn(clean.shape, dtype=torch.cfloat)).requires_grad_()
    (disturbance(estimate, clean, BARKS).sum() + envelope_distance(estimate, clean, OCTAVES)).backward()
    assert estimate.grad.isfinite().all()


def test_bands_are_as_wide_for_the_ear_at_any_window():
    for n_fft, rate in ((512, 16000), (1024, 16000), (1536, 48000)):
        bands = bark_bands(n_fft, rate)
        assert (bands.sum(1)[1:] == 1).all() and (bands.sum(0) > 0).all() and not bands[0].any()
        assert (bands.argmax(1)[1:].diff() >= 0).all()
