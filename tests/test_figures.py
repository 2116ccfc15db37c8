"Every picture in figures/ is drawn from the table beside it, and shows what the table says."

import re
from statistics import fmean

import pytest
import torch
from source_tree import ROOT

from specdehaze.figures import (
    FIGURES,
    HUM_PANELS,
    LOOKS,
    SCORE_LABELS,
    Cleaned,
    draw_figure,
    plot_cleaned,
    plot_hum_table,
    plot_voice_table,
    save_figures,
    whose,
)
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


def test_dots_of_the_hum_table_are_means_over_the_rows_of_their_panel():
    axes = draw_figure("hum_table", FOLDER).axes
    shown = [row for row in table("hum_table") if row["si_sdr"] != ""]
    kinds = {title: kind for title, (kind, _) in HUM_PANELS.items() if any(row["hum"] == kind for row in shown)}
    assert [ax.get_title(loc="left") for ax in axes] == [*kinds] and len(axes) >= 2
    for ax, (title, kind) in zip(axes, kinds.items()):
        mine = [row for row in shown if row["hum"] == kind]
        if "music" not in title:
            mine = [row for row in mine if row["clip"][:3] in ("it_", "ru_")]
        assert dots(ax).keys() == {row["method"] for row in mine}
        for method, drawn in dots(ax).items():
            assert drawn == pytest.approx(fmean(row["si_sdr"] for row in mine if row["method"] == method))


def test_methods_stand_in_the_same_line_of_each_panel():
    axes = draw_figure("hum_table", FOLDER).axes
    order = [name.get_text() for name in axes[0].get_yticklabels()]
    for ax in axes:
        for line in ax.lines:
            if not line.get_label().startswith("_"):
                assert order[int(line.get_ydata()[0])] == line.get_label().replace("_", " ")


def test_dots_of_the_voice_table_are_means_over_its_rows():
    axes = draw_figure("voice_table", FOLDER).axes
    shown = [row for row in table("voice_table") if row["si_sdr"] != ""]
    scores = [score for score in SCORE_LABELS if score in shown[0]]
    for ax, score in zip(axes, scores, strict=True):
        assert dots(ax).keys() == {row["method"] for row in shown}
        for method, drawn in dots(ax).items():
            mine = [row[score] for row in shown if row["method"] == method and row[score] != ""]
            assert drawn == pytest.approx(fmean(mine))


def test_voices_are_sorted_by_the_first_judge():
    figure = draw_figure("voice_table", FOLDER)
    means = dots(figure.axes[0])
    names = [name.get_text() for name in figure.axes[0].get_yticklabels()]
    assert names == [name.replace("_", " ") for name in sorted(means, key=means.get, reverse=True)]


def benchmark_rows() -> list[dict]:
    "Three methods on two clips, one of which has no PESQ; a peer that fails on one, and one that is not installed."
    scores = {"noisy": (5.0, 1.0), "hybrid": (10.0, 2.0), "rnnoise": (8.0, ""), "oracle_ratio_mask": (20.0, 4.0)}
    rows = []
    for method, (si_sdr, pesq) in scores.items():
        for number, clip in enumerate(("it_01", "ru_01")):
            row = {"method": method, "si_sdr": si_sdr + number, "pesq_wb": pesq, "stoi": 0.5, "dnsmos_overall": ""}
            rows.append(row | {"status": "", "clip": clip})
    nothing = dict.fromkeys(("si_sdr", "pesq_wb", "stoi", "dnsmos_overall"), "")
    rows.append({"method": "hybrid", "status": "failed: ValueError: no", "clip": "it_02"} | nothing)
    return [*rows, {"method": "gtcrn", "status": "not installed", "clip": ""} | nothing]


def test_what_has_no_score_has_no_dot():
    si_sdr, pesq, stoi = plot_voice_table(benchmark_rows()).axes  # nobody has DNSMOS, so it has no panel
    assert dots(si_sdr) == {"oracle_ratio_mask": 20.5, "hybrid": 10.5, "rnnoise": 8.5, "noisy": 5.5}
    assert dots(pesq) == {"oracle_ratio_mask": 4, "hybrid": 2, "noisy": 1} and dots(stoi).keys() == dots(si_sdr).keys()
    assert [name.get_text() for name in si_sdr.get_yticklabels()] == ["oracle ratio mask", "hybrid", "rnnoise", "noisy"]


def test_intervals_of_methods_are_over_clips_and_not_over_ratios():
    rows = [row | {"si_sdr": row["si_sdr"] + ratio} for row in benchmark_rows()[:8] for ratio in (-100.0, 100.0)]
    ax = plot_voice_table(rows).axes[0]
    assert [*next(line.get_xdata() for line in ax.lines if line.get_label() == "_interval")] == [5.0, 6.0]


def test_hums_of_voices_and_of_music_are_kept_apart():
    rows = [
        {"method": method, "hum": hum, "clip": clip, "si_sdr": score}
        for method, hum, clip, score in (
            ("noisy", "60 Hz", "it_01", 7.0), ("noisy", "60 Hz", "harp", 99.0), ("noisy", "high lines", "harp", 8.0),
            ("hum", "60 Hz", "it_01", 40.0), ("hum", "high lines", "harp", ""), ("sox", "60 Hz", "it_01", ""),
        )
    ]
    voices, music = plot_hum_table(rows).axes
    assert dots(voices) == {"noisy": 7, "hum": 40} and dots(music) == {"noisy": 8}
    assert [ax.get_title(loc="left") for ax in (voices, music)] == ["60 Hz", "high lines, music"]


@pytest.mark.parametrize(
    ("number", "methods"),
    [
        (0, ("hybrid", "hum_unet", "hum", "wiener")),
        (1, ("rnnoise", "sox_bandreject", "comb", "notch at 60 Hz", "least squares")),
        (2, ("noisy", "oracle_ratio_mask", "oracle ratio mask, 128 ms", "smoother, every frame")),
    ],
)
def test_whose_method_it_is(number, methods):
    assert {whose(method) for method in methods} == {[*LOOKS][number]}


def test_bars_of_the_cache_are_its_rows():
    (ax,) = draw_figure("cache_speed", FOLDER).axes
    drawn = dict(zip((label.get_text() for label in ax.get_yticklabels()), (bar.get_width() for bar in ax.patches)))
    assert drawn == {row["way"]: row["samples_per_second"] for row in table("cache_speed")}


def test_speed_of_hum_is_drawn_for_every_method_of_its_table():
    (ax,) = draw_figure("hum_speed", FOLDER).axes
    rows = [row for row in table("hum_speed") if row["channels"] == 1]
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn.keys() == {row["method"] for row in rows}
    for method, factors in drawn.items():
        assert factors == [row["real_time_factor"] for row in rows if row["method"] == method]


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


def test_pictures_without_a_table_or_a_name(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'hum_table'"):
        draw_figure("hum_tables", FOLDER)
    with pytest.raises(ValueError, match=r"corpus_levels.csv is missing: run the report"):
        save_figures(tmp_path, ["corpus"])
    assert [*tmp_path.iterdir()] == []
