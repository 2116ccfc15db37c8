"A network through a recording: what it says is what it says alone, epochs are found, and each is run once."

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from specdehaze import network_explorer as module
from specdehaze.checkpoints import PRESETS, CheckpointError, build, load_network, read_card
from specdehaze.network_explorer import keep_weights, network_explorer, picture_heads, plot_head, saved_epochs
from specdehaze.spectrogram_unet import UNetPreset
from specdehaze.widgets import figure_pixels

RATE = 16_000
SHAPES = {
    "unet": UNetPreset(base=2, n_fft=256, hop_length=64),
    "hybrid": replace(PRESETS["hybrid"], base=2, mel_bands=16, levels=2, memory=0),
    "voice": replace(PRESETS["voice"], units=8, layers=1),
}


def small(kind: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build(SHAPES[kind]).eval()


@pytest.fixture
def run(tmp_path):
    "A run whose epochs 1, 2 and 4 were kept."
    for epoch in (1, 2, 4):
        keep_weights(SimpleNamespace(rows=[{"epoch": epoch}], run_dir=tmp_path, network=small("hybrid", epoch)))
    return tmp_path


@pytest.mark.parametrize("kind", SHAPES)
def test_it_says_what_the_network_says(kind, noisy):
    network = small(kind)
    said, output = picture_heads(network, noisy, RATE), network(noisy)
    assert said.heads == list(output._fields) and torch.equal(said.clean, output.clean[0].detach())
    assert torch.equal(said.pictures["mask"], output.mask[0].detach())
    if "veil" in said.heads:
        assert torch.allclose(said.pictures["veil"].square(), output.veil[0].detach(), rtol=1e-4)
    assert len({picture.shape for picture in said.pictures.values()}) == 1


def test_any_rate_and_channels(noisy):
    said = picture_heads(small("hybrid"), torch.cat([noisy, -noisy, noisy]).repeat_interleave(2, -1), 2 * RATE)
    assert said.recording.shape == (noisy.shape[-1],)
    inside = slice(1000, -1000)
    difference = (said.recording - noisy[0] / 3)[inside]
    assert difference.abs().max() < 0.3 * noisy.abs().max() and not said.recording.requires_grad


@pytest.mark.parametrize("start, seconds", [(0.0, 4.0), (1.3, 2.0), (3.5, 3.0), (0.0, 0.1)])
def test_the_picture_shows_the_piece_it_says(start, seconds, noisy):
    said = picture_heads(small("voice"), noisy, RATE)
    step, shape = 256 / RATE, said.pictures["recording"].shape
    click, ends = torch.full(shape, 1e-6), (start, min(start + seconds, 4.0))
    click[:, round((ends[0] + 0.7 * (ends[1] - ends[0])) / step)] = 1
    changed = said._replace(pictures=said.pictures | {"recording": click})
    image = figure_pixels(plot_head(changed, "veil", start=start, seconds=seconds))[150, 47:268].astype(int)
    bright = (image[:, 0] > 200).nonzero()[0]
    assert abs(bright.mean() / len(image) - 0.7) < 0.5 * step / (ends[1] - ends[0]) + 0.02
    assert len(bright) < len(image) / 3


def test_a_head_that_is_not_there(noisy):
    said = picture_heads(small("unet"), noisy, RATE)
    for head in ("gate", "recording"):
        with pytest.raises(ValueError, match="known are mask, clean"):
            plot_head(said, head)


def test_epochs_are_found_in_order_and_weights_are_preferred(run):
    (run / "checkpoints").mkdir()
    for name in ("toy_epoch_004.ckpt", "toy_epoch_010.ckpt", "toy_epoch_007.bad_1", "notes.ckpt"):
        (run / "checkpoints" / name).touch()
    found = saved_epochs(run)
    assert list(found) == [1, 2, 4, 10] and found[4].suffix == ".safetensors" and found[10].suffix == ".ckpt"
    assert read_card(found[2]) == {"epoch": 2.0}


def test_no_epochs(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match="on_epoch=keep_weights"):
            saved_epochs(folder)


def test_each_epoch_is_run_once_and_only_when_it_is_asked_for(run, noisy, monkeypatch):
    loaded = []
    monkeypatch.setattr(module, "load_network", lambda path: loaded.append(path.stem) or load_network(path))
    lab = network_explorer(saved_epochs(run), noisy, RATE)
    assert loaded == ["epoch_004"]
    for epoch in (4, 3, 2, 1, 4, 2):
        lab.render(lab.start | {"epoch": epoch}), lab.facts(lab.start | {"epoch": epoch})
    assert loaded == ["epoch_004", "epoch_002", "epoch_001"], "epoch 3 was not kept: it shows epoch 2"
    assert lab.facts(lab.start | {"epoch": 3})["weights of epoch"] == "2"


def test_a_lab_has_the_controls_that_have_a_choice(run, noisy):
    epochs = saved_epochs(run)
    labs = {
        ("head", "epoch", "start"): network_explorer(epochs, noisy, RATE),
        ("head", "epoch"): network_explorer(epochs, noisy[:, : 2 * RATE], RATE),
        ("head", "start"): network_explorer(epochs[1], noisy[0], RATE),
        ("head",): network_explorer(str(epochs[1]), noisy, RATE, seconds=5.0),
    }
    for names, lab in labs.items():
        assert tuple(control.name for control in lab.controls) == names
        assert len(lab.sounds(lab.start)["cleaned"]) <= 5 * RATE
    late = labs["head", "start"]
    part = late.sounds(late.start | {"start": 1.0})["recording"]
    assert torch.equal(part, noisy[0, RATE : 4 * RATE])


def test_it_draws_the_same_twice(run, noisy):
    lab = network_explorer(saved_epochs(run), noisy, RATE)
    first, second = (figure_pixels(lab.render(lab.start | {"head": "gate"})) for _ in range(2))
    assert (first == second).all()


def test_weights_that_are_not_there(noisy):
    with pytest.raises(CheckpointError, match="no file"):
        network_explorer("nothing", noisy, RATE)
