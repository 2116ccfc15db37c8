"Pictures of studies show what their tables say."

from statistics import fmean

import pytest
from source_tree import ROOT

from specdehaze.evaluation import mean_interval
from specdehaze.figures import draw_figure
from specdehaze.study_figures import (
    LOSS_SCORES,
    PHASE_SCORES,
    VEIL_LOOKS,
    VEIL_SCORES,
    VOICE_SCORES,
    clip_means,
    gains_over,
    plot_detail_study,
)
from specdehaze.tables import read_settings, read_table

FOLDER = ROOT / "figures"
MARKED = [method for method, look in VEIL_LOOKS.items() if "marker" in look]


def table(name: str) -> list[dict]:
    return read_table(FOLDER / f"{name}.csv")


def named(ax) -> dict:
    "The lines of a panel that have names."
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def dots(ax) -> dict[str, float]:
    "What a panel of intervals says of each name."
    return {name: line.get_xdata()[0] for name, line in named(ax).items()}


def mean(rows: list[dict], score: str, **wanted) -> float:
    "Mean over the rows that have these values."
    return fmean(row[score] for row in rows if all(row[key] == value for key, value in wanted.items()))


def test_dots_of_the_loss_study_are_differences_to_the_plain_loss():
    rows, axes = table("loss_study"), draw_figure("loss_study", FOLDER).axes
    for ax, score in zip(axes, ("si_sdr_rise", "pesq_wb", "stoi"), strict=True):
        drawn = dots(ax)
        assert "plain" not in drawn and len(drawn) == len({row["loss"] for row in rows}) - 1
        means = {loss: fmean(row[score] for row in rows if row["loss"] == loss) for loss in ["plain", *drawn]}
        for loss, gain in drawn.items():
            assert gain == pytest.approx(means[loss] - means["plain"])


def test_intervals_of_the_loss_study_are_over_clips():
    rows = table("loss_study")
    clips = sorted({row["clip"] for row in rows})
    plain, noise = ([mean(rows, "stoi", loss=loss, clip=clip) for clip in clips] for loss in ("plain", "+ noise"))
    _, low, high = mean_interval([new - old for new, old in zip(noise, plain)])
    lines = list(draw_figure("loss_study", FOLDER).axes[2].lines)
    (dot,) = [number for number, line in enumerate(lines) if line.get_label() == "+ noise"]
    assert lines[dot - 1].get_xdata() == pytest.approx([low, high])


def test_dots_and_intervals_of_the_augmentation_study_are_its_rows():
    rows, axes = table("augmentation_study"), draw_figure("augmentation_study", FOLDER).axes
    for ax, which in zip(axes, ("plain", "worn"), strict=True):
        assert dots(ax) == {row["augmentation"]: row[which] for row in rows}
        intervals = [tuple(line.get_xdata()) for line in ax.lines if line.get_label() == "_interval"]
        assert intervals == [(row[f"{which}_low"], row[f"{which}_high"]) for row in rows]


def test_dots_of_the_voice_study_are_differences_to_all_of_it():
    rows, axes = table("voice_study"), draw_figure("voice_study", FOLDER).axes
    for ax, score in zip(axes, VOICE_SCORES, strict=True):
        drawn = dots(ax)
        assert ["all of it", *drawn] == [*dict.fromkeys(row["variant"] for row in rows)]
        for variant, gain in drawn.items():
            expected = mean(rows, score, variant=variant) - mean(rows, score, variant="all of it")
            assert gain == pytest.approx(expected, abs=1e-9)


def test_the_voice_study_is_of_a_full_run_and_every_variant_met_every_clip():
    rows, sizes, settings = table("voice_study"), table("voice_study_runs"), read_settings(FOLDER / "voice_study.csv")
    assert settings["profile"] == "full" and settings["steps"] >= 500
    clips = {variant: [row["clip"] for row in rows if row["variant"] == variant] for variant in settings["variants"]}
    assert len({tuple(of) for of in clips.values()}) == 1 and [row["variant"] for row in sizes] == [*clips]
    assert sum(map(len, clips.values())) == len(rows)


def test_gains_are_those_of_the_same_clip_in_any_order():
    rows = [{"cup": cup, "clip": clip, "score": score}
            for cup, clip, score in (("a", 0, 1), ("a", 1, 50), ("b", 1, 52), ("b", 0, 3))]
    assert gains_over(rows, "cup", "a", "score") == {"b": [2, 2]}


def test_means_of_clips_know_no_order():
    rows = [{"clip": clip, "score": score} for clip, score in (("a", 1), ("b", 5), ("a", 3))]
    assert clip_means(rows, "score") == [2, 5]


def test_gains_of_the_detail_study_are_those_over_no_detail():
    rows, axes = table("detail_study"), draw_figure("detail_study", FOLDER).axes
    for ax, score in zip(axes, LOSS_SCORES, strict=True):
        details, gains = named(ax)[score].get_data()
        assert [*details] == sorted({row["detail"] for row in rows})
        for detail, gain in zip(details, gains):
            expected = mean(rows, score, detail=detail) - mean(rows, score, detail=0)
            assert gain == pytest.approx(expected, abs=1e-9)


def test_clips_of_the_detail_study_are_held_against_themselves():
    scores = {(0.0, 0): 1.0, (0.0, 1): 50.0, (1.0, 1): 52.0, (1.0, 0): 3.0}  # 2 more, whatever the clip
    rows = [{"detail": d, "clip": clip} | dict.fromkeys(LOSS_SCORES, value) for (d, clip), value in scores.items()]
    for ax in plot_detail_study(rows).axes:
        ends = [tuple(line.get_ydata()) for line in ax.lines if line.get_label() == "_interval"]
        assert ends == [(0, 0), (2, 2)]


@pytest.fixture(scope="module")
def veils():
    "The rows of the veil study that are drawn, and its panels: those of the windows, and the wide one."
    rows = [row for row in table("veil_study") if row["rows"] == "all" and row["ruler"] == "0.3 s x 100 Hz"]
    *below, top = draw_figure("veil_study", FOLDER).axes
    return rows, below, top


@pytest.mark.parametrize("method", MARKED)
def test_marks_of_the_veil_study_are_means_in_each_noise(veils, method):
    rows, _, top = veils
    grid = "32 ms, the network's" if method == "hybrid" else "32 ms"
    noises = [label.get_text() for label in top.get_xticklabels()]
    expected = [mean(rows, "error_db", method=method, grid=grid, noise=noise) for noise in noises]
    assert named(top)[method].get_ydata() == pytest.approx(expected) and len(noises) == 10


def test_lines_of_the_veil_study_are_the_bounds_in_each_noise(veils):
    rows, _, top = veils
    noises = [label.get_text() for label in top.get_xticklabels()]
    drawn = {lines.get_label(): [y for (_, y), _ in lines.get_segments()] for lines in top.collections}
    assert drawn.keys() == VEIL_LOOKS.keys() - set(MARKED)
    for method, heights in drawn.items():
        expected = [mean(rows, "error_db", method=method, grid="32 ms", noise=noise) for noise in noises]
        assert heights == pytest.approx(expected)


def test_windows_of_the_veil_study(veils):
    rows, below, _ = veils
    for ax, score in zip(below, VEIL_SCORES, strict=True):
        windows = [f"{label.get_text()} ms" for label in ax.get_xticklabels()]
        assert named(ax).keys() == VEIL_LOOKS.keys() - {"hybrid"} and len(windows) == 4
        for method, line in named(ax).items():
            expected = [mean(rows, score, method=method, grid=window) for window in windows]
            assert line.get_ydata() == pytest.approx(expected)


def test_marks_of_the_phase_study_are_means_of_its_rows():
    rows, axes = table("phase_study"), draw_figure("phase_study", FOLDER).axes
    for ax, score in zip(axes, PHASE_SCORES, strict=True):
        lines = named(ax)
        assert lines.pop("not cleaned").get_xdata()[0] == pytest.approx(mean(rows, score, magnitude="noisy"))
        magnitudes = list(dict.fromkeys(row["magnitude"] for row in rows))[1:]
        for phase, line in lines.items():
            shown = magnitudes[: 4 if (score, phase) == ("si_sdr", "clean phase") else 5]
            expected = [mean(rows, score, magnitude=magnitude, phase=phase) for magnitude in shown]
            assert line.get_xdata() == pytest.approx(expected)
            assert [round(y) for y in line.get_ydata()] == [*range(len(shown))]
