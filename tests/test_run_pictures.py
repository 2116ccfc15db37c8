"Pictures of a run show the numbers they are drawn from, on one scale."

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from specdehaze.augmentation import Pairs
from specdehaze.checkpoints import PRESETS, build
from specdehaze.run_pictures import LiveCurves, plot_clips, plot_curves, save_pictures
from specdehaze.training import EpochReport

ROWS = [
    {"epoch": n, "train_loss": 1 / n, "val_loss": 2 / n, "val_si_sdr_improvement": gain}
    for n, gain in enumerate((-1.0, 2.5, 1.5), start=1)
]


def network(name: str):
    smaller = {"mel_bands": 32, "memory": 0} if name == "hybrid" else {"n_fft": 512, "hop_length": 256}
    return build(replace(PRESETS[name], base=2, **smaller)).eval()


def clips(count: int, samples: int = 16_000) -> list[Pairs]:
    return [Pairs(0.1 * torch.randn(1, samples), 0.1 * torch.randn(1, samples)) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "titles"),
    [("hybrid", ["noisy", "mask", "veil", "cleaned", "clean"]), ("hum_unet", ["noisy", "mask", "cleaned", "clean"])],
)
def test_a_row_for_each_clip(name, titles):
    figure = plot_clips(network(name), clips(2), title="Epoch 3")
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in panels[: len(titles)]] == titles and len(panels) == 2 * len(titles)
    assert figure.get_suptitle() == "Epoch 3"


def test_levels_share_one_scale_and_the_mask_has_its_own():
    loud, quiet = clips(1)[0], clips(1)[0]
    quiet = Pairs(0.01 * quiet.clean, 0.01 * quiet.noise)
    figure = plot_clips(network("hum_unet"), [loud, quiet], normalise="none")
    panels = [ax for ax in figure.axes if ax.images]
    limits = [panel.images[0].get_clim() for panel in panels]
    assert limits == [(-70, 0), (0, 1), (-70, 0), (-70, 0)] * 2
    assert panels[0].images[0].get_array().max() == 0 and panels[4].images[0].get_array().max() < -30
    alike = plot_clips(network("hum_unet"), [loud, quiet], normalise="peak")
    assert alike.axes[4].images[0].get_array().max() > -6


def test_only_the_beginning_of_long_clips():
    figure = plot_clips(network("hum_unet"), clips(1, 160_000), seconds=2.0)
    assert figure.axes[0].get_xlim()[1] == pytest.approx(2.0, abs=0.02)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="no clips"):
        plot_clips(network("hum_unet"), [])
    with pytest.raises(ValueError, match="no epochs"):
        plot_curves([])


def test_curves_are_the_rows():
    losses, gains = plot_curves(ROWS).axes
    drawn = [line.get_ydata().tolist() for line in losses.lines]
    assert drawn == [[row[name] for row in ROWS] for name in ("train_loss", "val_loss")]
    assert gains.lines[0].get_ydata().tolist() == [-1.0, 2.5, 1.5] and gains.lines[1].get_xdata() == [2]
    assert gains.get_title(loc="left") == "best: 2.50 dB, epoch 2"


def test_curves_without_any_si_sdr():
    rows = [row | {"val_si_sdr_improvement": float("nan")} for row in ROWS]
    assert len(plot_curves(rows).axes) == 2


@pytest.mark.parametrize(("count", "drawn"), [(1, 1), (2, 2), (3, 3), (4, 3), (7, 3), (9, 3)])
def test_pictures_after_an_epoch(tmp_path, monkeypatch, count, drawn):
    seen = []
    monkeypatch.setattr("specdehaze.run_pictures.plot_clips", lambda net, some, **how: seen.append(some) or plot(how))

    def plot(how):
        assert how["title"] == f"Epoch 2 of 9: SI-SDR +2.50 dB, mean of {count} clips"
        return plt.Figure()

    save_pictures(EpochReport(ROWS[:2], tmp_path, 9, None, clips(count, 10), "peak"))
    assert {path.name for path in Path(tmp_path).iterdir()} == {"epoch_002.png", "curves.png"}
    assert len(seen[0]) == drawn


def test_live_curves_are_drawn_in_one_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", figure))

    monkeypatch.setattr(
        "IPython.display.display", lambda figure, display_id: shown.append(("new", figure)) or Handle()
    )
    live = LiveCurves()
    for last in (1, 2, 3):
        live(EpochReport(ROWS[:last], Path(), 3, None, [], "peak"))
    assert [kind for kind, _ in shown] == ["new", "update", "update"]
