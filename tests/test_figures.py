"Every picture in figures/ is drawn from the table beside it, and shows what the table says."

import re
from statistics import fmean

import pytest
import torch
from source_tree import ROOT

from specdehaze.evaluation import mean_interval
from specdehaze.figures import FIGURES, Cleaned, clip_means, draw_figure, plot_cleaned, save_figures
from specdehaze.tables import read_table

FOLDER = ROOT / "figures"
AFTER_AN_EPOCH = re.compile(r"\w+_epoch_\d{3}")  # drawn by a training while it runs


def table(name: str) -> list[dict]:
    return read_table(FOLDER / f"{name}.csv")


def dots(ax) -> dict[str, float]:
    "What a panel of intervals says of each name."
    return {line.get_label(): line.get_xdata()[0] for line in ax.lines if not line.get_label().startswith("_")}


def test_every_picture_has_a_maker_and_every_maker_its_picture():
    pictures = {path.stem for path in FOLDER.glob("*.png")}
    assert {name for name in pictures if not AFTER_AN_EPOCH.fullmatch(name)} == FIGURES.keys()


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert {name: size for name, size in sizes.items() if size > 300_000} == {}


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_has_a_table_with_its_settings(name):
    path = FOLDER / f"{FIGURES[name].table}.csv"
    assert path.exists() and path.with_suffix(".json").exists()


def test_a_curve_of_the_hum_table_is_the_mean_of_its_rows():
    rows, (ax,) = table("hum_table"), draw_figure("hum_table", FOLDER).axes
    moving = [row for row in rows if row["hum"] == "50 Hz, moving"]
    methods = {row["method"].replace("_", " "): row["method"] for row in moving if row["method"] != "noisy"}
    assert {line.get_label() for line in ax.lines} == methods.keys()
    for line in ax.lines:
        for snr_db, drawn in zip(*line.get_data()):
            case = (methods[line.get_label()], snr_db)
            scores = [row["si_sdr"] for row in moving if (row["method"], row["snr_db"]) == case]
            assert drawn == pytest.approx(fmean(scores)) and len(scores) == 32


def test_dots_of_the_voice_table_are_means_over_its_rows():
    rows, axes = table("voice_table"), draw_figure("voice_table", FOLDER).axes
    for ax, score in zip(axes, ("si_sdr", "pesq_wb", "stoi"), strict=True):
        for method, drawn in dots(ax).items():
            assert drawn == pytest.approx(fmean(row[score] for row in rows if row["method"] == method))


def test_dots_of_the_loss_study_are_differences_to_the_plain_loss():
    rows, axes = table("loss_study"), draw_figure("loss_study", FOLDER).axes
    for ax, score in zip(axes, ("si_sdr_rise", "pesq_wb", "stoi"), strict=True):
        drawn = dots(ax)
        assert "plain" not in drawn and len(drawn) == len({row["loss"] for row in rows}) - 1
        means = {loss: fmean(row[score] for row in rows if row["loss"] == loss) for loss in ["plain", *drawn]}
        for loss, gain in drawn.items():
            assert gain == pytest.approx(means[loss] - means["plain"])


def test_intervals_of_the_loss_study_are_over_clips():
    rows = [row for row in table("loss_study") if row["loss"] in ("plain", "+ noise")]
    clips = sorted({row["clip"] for row in rows})
    scores = {(row["loss"], row["clip"]): row["stoi"] for row in rows}
    _, low, high = mean_interval([scores["+ noise", clip] - scores["plain", clip] for clip in clips])
    stoi = draw_figure("loss_study", FOLDER).axes[2]
    assert stoi.lines[0].get_xdata() == pytest.approx([low, high])


def test_dots_and_intervals_of_the_augmentation_study_are_its_rows():
    rows, axes = table("augmentation_study"), draw_figure("augmentation_study", FOLDER).axes
    for ax, which in zip(axes, ("plain", "worn"), strict=True):
        assert dots(ax) == {row["augmentation"]: row[which] for row in rows}
        intervals = [tuple(line.get_xdata()) for line in ax.lines if line.get_label() == "_interval"]
        assert intervals == [(row[f"{which}_low"], row[f"{which}_high"]) for row in rows]


def test_bars_of_the_cache_are_its_rows():
    (ax,) = draw_figure("cache_speed", FOLDER).axes
    drawn = dict(zip((label.get_text() for label in ax.get_yticklabels()), (bar.get_width() for bar in ax.patches)))
    assert drawn == {row["way"]: row["samples_per_second"] for row in table("cache_speed")}


def test_the_corpus_has_every_recording_in_its_picture():
    axes = draw_figure("corpus", FOLDER).axes
    for ax in axes:
        shares = [sum(patch.get_xy()[1::2, 1][:-1]) for patch in ax.patches]
        assert shares == pytest.approx([100, 100, 100], abs=0.5)
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["train", "validation", "test"]


def test_the_recordings_that_changed_most_are_shown():
    rows = table("clean_recordings_real")
    titles = [title for ax in draw_figure("clean_recordings", FOLDER).axes if (title := ax.get_title(loc="left"))]
    for kind, title in zip(("hummy", "noisy"), titles[::3], strict=True):
        mine = [row for row in rows if row["kind"] == kind]
        falls = {row["recording"]: row["pause_level_before"] - row["pause_level_after"] for row in mine}
        assert title == f"{max(falls, key=falls.get)}, as it was"


def test_what_was_taken_off_and_what_is_left_are_the_recording():
    recording = torch.randn(1, 16_000)
    figure = plot_cleaned([Cleaned("noise", "wiener", recording, torch.zeros(1, 16_000), 16_000)])
    before, removed, left = (ax.images[0].get_array() for ax in figure.axes if ax.get_title(loc="left"))
    assert (before == removed).all() and (left == -70).all()


def test_means_of_clips_know_no_order():
    rows = [{"clip": clip, "score": score} for clip, score in (("a", 1), ("b", 5), ("a", 3))]
    assert clip_means(rows, "score") == [2, 5]


def test_pictures_without_a_table_or_a_name(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'hum_table'"):
        draw_figure("hum_tables", FOLDER)
    with pytest.raises(ValueError, match=r"corpus_levels.csv is missing: run the report"):
        save_figures(tmp_path, ["corpus"])
    assert [*tmp_path.iterdir()] == []
