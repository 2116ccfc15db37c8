"A training that was stopped goes on as if it had not been, and says what is wrong."

from dataclasses import replace

import pytest
import torch

from specdehaze.audio import read_audio
from specdehaze.augmentation import Pairs
from specdehaze.bank import RATE, Sound, computed_streams, write_bank
from specdehaze.batches import TrainingError
from specdehaze.checkpoints import PRESETS, build, load_network
from specdehaze.mixing import MixingSettings
from specdehaze.recordings import resource_folder
from specdehaze.tables import read_table
from specdehaze.voice_network import VoicePreset
from specdehaze.voice_training import (
    WEIGHTS,
    VoiceSettings,
    VoiceTraining,
    compress,
    judge,
    rate_at,
    train_voice,
    voice_loss,
)

TINY = VoiceSettings(preset="tiny", mixing=MixingSettings(batch_size=2, seconds=0.5))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", VoicePreset(units=8, layers=1))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    voice = read_audio(resource_folder("data") / "speech" / "es_01.flac")[0][0]
    write_bank(folder, "voices", [Sound("allison", "speech", "", voice)])
    write_bank(folder, "noises", computed_streams(colours=2, hums=1))
    return folder


def test_it_goes_on_where_it_was_stopped(bank, tmp_path):
    common = {"judge_every": 2, "clips": 1}
    once = train_voice(bank, bank, tmp_path / "once", TINY, steps=4, **common)
    train_voice(bank, bank, tmp_path / "twice", TINY, steps=2, **common)
    twice = train_voice(bank, bank, tmp_path / "twice", TINY, steps=4, **common)
    one, two = load_network(once).state_dict(), load_network(twice).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [row["step"] for row in read_table(tmp_path / "twice" / "metrics.csv")] == [2, 4]


def test_it_begins_with_weights_that_are_there(bank, tmp_path):
    common = {"steps": 1, "judge_every": 1, "clips": 1}
    first = train_voice(bank, bank, tmp_path / "first", TINY, **common)
    slow = replace(TINY, learning_rate=1e-9)
    second = train_voice(bank, bank, tmp_path / "second", slow, start=first, **common)
    went_on = train_voice(bank, bank, tmp_path / "second", slow, start="none", **common)
    assert went_on == second, "what is begun needs no start"
    one, two = load_network(first).state_dict(), load_network(second).state_dict()
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_weights_of_another_shape_are_refused(bank, tmp_path):
    wide = replace(TINY, preset=VoicePreset(units=16, layers=1))
    other = train_voice(bank, bank, tmp_path / "wide", wide, steps=1, judge_every=1, clips=1)
    with pytest.raises(TrainingError, match="do not fit"):
        train_voice(bank, bank, tmp_path / "tiny", TINY, steps=1, start=other)


def test_a_finished_training_is_left_as_it_is(bank, tmp_path):
    path = train_voice(bank, bank, tmp_path, TINY, steps=1, judge_every=1, clips=1)
    before = path.stat().st_mtime_ns
    assert train_voice(bank, bank, tmp_path, TINY, steps=1) == path and path.stat().st_mtime_ns == before


def test_another_training_is_refused(tmp_path):
    VoiceTraining(TINY, tmp_path / "a.ckpt").save()
    with pytest.raises(TrainingError, match="choose another folder"):
        VoiceTraining(VoiceSettings(preset="tiny", learning_rate=1e-4), tmp_path / "a.ckpt")


def test_a_preset_needs_no_name(bank, tmp_path):
    plain = VoicePreset(units=8, layers=1, gated=False)
    settings = VoiceSettings(preset=plain, mixing=TINY.mixing)
    for steps in (1, 2):
        path = train_voice(bank, bank, tmp_path, settings, steps=steps, clips=2)
    steps = [row["step"] for row in read_table(tmp_path / "metrics.csv")]
    assert load_network(path).preset == plain and steps == [1, 2]
    with pytest.raises(TrainingError, match="choose another folder"):
        VoiceTraining(replace(settings, preset=replace(plain, gated=True)), path)


def test_a_mean_of_no_clips_is_refused():
    silence = torch.zeros(1, RATE)
    with pytest.raises(ValueError, match="nobody speaks"):
        judge(build("tiny").eval(), Pairs(silence, silence))


def test_a_damaged_checkpoint_says_so(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="damaged"):
        VoiceTraining(TINY, tmp_path / "a.ckpt")


def test_a_loss_that_is_no_number_stops_it(tmp_path):
    training = VoiceTraining(TINY, tmp_path / "a.ckpt")
    with pytest.raises(TrainingError, match="no number"):
        training.learn(Pairs(torch.full((1, 8000), torch.inf), torch.zeros(1, 8000)), 1.0)


def test_the_mean_follows_the_weights(tmp_path):
    training, sound = VoiceTraining(TINY, tmp_path / "a.ckpt"), 0.1 * torch.randn(2, RATE)
    for _ in range(3):
        training.learn(Pairs(sound, 0.1 * torch.randn(2, RATE)), 1.0)
    mean, last = training.averaged().state_dict(), training.network.state_dict()
    assert any(not torch.equal(mean[name], last[name]) for name in mean)
    assert all((mean[name] - last[name]).abs().max() < 0.02 for name in mean)


@pytest.mark.parametrize(
    ("field", "value"), [("learning_rate", 0.0), ("clip", -1.0), ("average", 1.0), ("weights", {"veil": 1.0})]
)
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(TrainingError, match=field):
        VoiceSettings(**{field: value})


def test_the_rate_goes_up_along_and_down():
    rates = [rate_at(step, warmup=10, stop=100, fall=20) for step in range(101)]
    assert rates[0] == 0.1 and rates[9:80] == [1.0] * 71 and rates[90] == 0.5 and rates[100] == 0


def test_compression_keeps_the_phase():
    spectrum = torch.randn(50, dtype=torch.cfloat)
    size, full = compress(spectrum)
    assert torch.allclose(full.abs(), size, rtol=1e-3) and torch.allclose(size, spectrum.abs() ** 0.3, rtol=1e-2)
    assert torch.allclose(torch.sgn(full), torch.sgn(spectrum), atol=1e-3)


def test_less_noise_is_a_lower_loss(tmp_path):
    network, voice = VoiceTraining(TINY, tmp_path / "a.ckpt").network, 0.1 * torch.randn(2, RATE)
    noise = 0.1 * torch.randn(2, RATE)
    losses = [voice_loss(network, Pairs(voice, gain * noise), WEIGHTS)["complex"].item() for gain in (0.0, 0.1, 1.0)]
    assert losses == sorted(losses)
