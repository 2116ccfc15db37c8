"What the figures hold: the data drawn, the scales shared, the sizes kept."

import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from specdehaze.audio import Stft
from specdehaze.plots import (
    STYLE,
    draw_mask,
    draw_spectrogram,
    plot_beside_hum,
    plot_hum_lines,
    plot_layers,
    plot_scores,
    plot_spectrograms,
    save_figure,
    styled_figure,
)

RATE = 16000


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.5) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)


def images(figure) -> list:
    return [ax.images[0] for ax in figure.axes if ax.images and ax.get_label() != "<colorbar>"]


def drawn_spectrogram(magnitude, **options):
    with styled_figure() as (_, ax):
        image = draw_spectrogram(ax, magnitude, **{"sample_rate": RATE, "hop_length": 128} | options)
    return ax, image


@given(st.floats(1e-6, 1e6), st.floats(20, 90))
@settings(max_examples=10, deadline=None)
def test_spectrogram_is_in_db_below_its_loudest_point(gain, range_db):
    magnitude = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) + 1e-5
    _, image = drawn_spectrogram(gain * magnitude, range_db=range_db)
    expected = 20 * np.log10(magnitude.numpy() / magnitude.max().item())
    np.testing.assert_allclose(image.get_array(), np.maximum(expected, -range_db), atol=1e-4)
    assert image.get_clim() == (-range_db, 0)


def test_reference_moves_the_top_of_the_scale():
    _, image = drawn_spectrogram(torch.full((5, 4), 0.1), reference=1.0)
    np.testing.assert_allclose(image.get_array(), -20, atol=1e-6)


def test_silence_and_emptiness_can_be_drawn():
    _, image = drawn_spectrogram(torch.zeros(5, 4))
    assert (np.asarray(image.get_array()) == -70).all()
    drawn_spectrogram(torch.zeros(5, 1))


def test_a_tone_stands_where_it_sounds():
    waveform = torch.cat([torch.zeros(RATE // 2), tone(1000, 0.5)])
    stft = Stft(512, 128)
    ax, image = drawn_spectrogram(stft.forward(waveform))
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    picture = np.asarray(image.get_array())
    row = picture[:, int(columns * 0.75)].argmax()
    assert bottom + (row + 0.5) * (top - bottom) / rows == pytest.approx(1000, abs=1)
    first = (picture[row] > -3).argmax()
    assert left + (first + 0.5) * (right - left) / columns == pytest.approx(0.5, abs=0.02)
    assert ax.get_ylim() == (0, RATE / 2) and ax.get_xlim() == pytest.approx((0, 1))


@pytest.mark.parametrize(("top", "label", "tick"), [(None, "Frequency (kHz)", "4"), (500.0, "Frequency (Hz)", "200")])
def test_labels_follow_the_height_of_the_picture(top, label, tick):
    ax, _ = drawn_spectrogram(torch.ones(257, 10), max_frequency=top)
    assert ax.get_ylabel() == label and ax.get_xlabel() == "Time (s)"
    assert tick in [text.get_text() for text in ax.get_yticklabels()]
    assert ax.get_ylim() == (0, top or RATE / 2)


def test_mask_keeps_its_scale():
    with styled_figure() as (_, ax):
        image = draw_mask(ax, torch.full((5, 4), 0.25), sample_rate=RATE, hop_length=128)
    assert image.get_clim() == (0, 1) and (np.asarray(image.get_array()) == 0.25).all()


def test_figures_are_closed_and_leave_no_style_behind():
    before = dict(plt.rcParams)
    with styled_figure() as (figure, _):
        assert plt.rcParams["axes.titlesize"] == STYLE["axes.titlesize"]
    assert not plt.fignum_exists(figure.number)
    with pytest.raises(RuntimeError), styled_figure():
        raise RuntimeError("in the middle")
    assert plt.get_fignums() == [] and dict(plt.rcParams) == before


def test_panels_share_one_scale():
    loud, quiet = tone(1000), tone(1000, amplitude=0.05)
    figure = plot_spectrograms({"loud": loud, "quiet": quiet, "channels": torch.stack([loud, loud])}, sample_rate=RATE)
    peaks = [float(image.get_array().max()) for image in images(figure)]
    assert peaks == pytest.approx([0, -20, 0], abs=0.01)
    assert {image.get_clim() for image in images(figure)} == {(-70, 0)}
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.images]
    assert titles == ["loud", "quiet", "channels"]


def test_magnitudes_are_drawn_as_they_are():
    waveform = tone(440)
    magnitude = Stft(512, 128).forward(waveform).abs()
    figure = plot_spectrograms({"waveform": waveform, "magnitude": magnitude}, sample_rate=RATE)
    ours, theirs = (np.asarray(image.get_array()) for image in images(figure))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_panels_of_different_length_keep_their_own_time():
    figure = plot_spectrograms({"short": tone(440, 0.5), "long": tone(440, 1.0)}, sample_rate=RATE)
    assert [ax.get_xlim()[1] for ax in figure.axes[:2]] == pytest.approx([0.504, 1.0], abs=0.01)


def test_nothing_to_plot_is_an_error():
    with pytest.raises(ValueError, match="no spectrograms"):
        plot_spectrograms({}, sample_rate=RATE)
    with pytest.raises(ValueError, match="no scores"):
        plot_scores([], "si_sdr")


def layers(with_hum: bool) -> SimpleNamespace:
    clean, hum = tone(1000)[None], tone(50, amplitude=0.1)[None]
    spectra = Stft(512, 128).forward(torch.cat([clean + hum, hum])).abs()
    found = SimpleNamespace(present=with_hum, fundamental=50.0, harmonics=(1, 2, 5) if with_hum else ())
    parts = {"magnitude": spectra[0], "veil": spectra[1], "transmission": torch.full_like(spectra[0], 0.5)}
    return SimpleNamespace(sample_rate=RATE, hop_length=128, **parts, hum=found, hum_waveform=hum, clean=clean)


def test_layers_of_a_mask():
    shown = layers(with_hum=False)
    recording, veil, transmission, clean = images(plot_layers(shown))
    assert float(recording.get_array().max()) == 0 and float(clean.get_array().max()) == pytest.approx(0, abs=0.2)
    expected = 20 * torch.log10(shown.veil.max() / shown.magnitude.max())
    assert float(veil.get_array().max()) == pytest.approx(float(expected), abs=1e-3)
    assert transmission.get_clim() == (0, 1) and (np.asarray(transmission.get_array()) == 0.5).all()


def test_layers_of_hum_show_the_hum_closely():
    figure = plot_layers(layers(with_hum=True))
    *_, closely, _ = images(figure)
    ax = closely.axes
    assert ax.get_title(loc="left") == "hum, seen closely" and ax.get_ylim() == (0, 300)
    picture = np.asarray(closely.get_array())
    assert picture.max() == pytest.approx(-14, abs=0.5)  # a fifth of the recording's amplitude
    bottom, top = closely.get_extent()[2:]
    row = picture[:, picture.shape[1] // 2].argmax()
    assert bottom + (row + 0.5) * (top - bottom) / len(picture) == pytest.approx(50, abs=2)


def test_hum_lines_are_drawn_at_their_level():
    noise = 1e-3 * torch.randn(3 * RATE)
    hum = tone(50, 3.0, 0.1) + tone(150, 3.0, 0.01)
    lines = {"sample_rate": RATE, "fundamental": 50.0, "harmonics": (1, 3)}
    (ax,) = plot_hum_lines(noise + hum, noise, **lines, max_frequency=400.0).axes
    before, after = ax.get_lines()
    frequency, level = before.get_data()
    assert frequency[level.argmax()] == pytest.approx(50) and frequency.max() <= 400
    assert level.max() == pytest.approx(-23 - 1.76, abs=0.3)  # on its bin a sine shows two thirds of its power
    assert list(frequency[before.get_markevery()]) == pytest.approx([50, 150])
    assert after.get_ydata().max() < -60
    assert "lines at \N{MINUS SIGN}23 dB" in before.get_label()


def test_what_has_changed_between_the_lines_of_a_hum_is_drawn():
    noise = 1e-3 * torch.randn(3 * RATE)
    levels, change = plot_beside_hum(noise + tone(50, 3.0, 0.1), noise / 2, sample_rate=RATE, fundamental=50.0).axes
    before, after = levels.get_lines()
    assert before.get_ydata() - after.get_ydata() == pytest.approx(6.02, abs=0.01)
    assert change.get_lines()[0].get_ydata() == pytest.approx(-6.02, abs=0.01)
    assert change.get_ylim()[0] < -6.02 and list(before.get_xdata()) == sorted(before.get_xdata())


def test_scores_are_means_in_order():
    rows = [{"method": "a_b", "snr_db": snr, "si_sdr": snr + part} for snr in (10, 0) for part in (1, 3)]
    rows += [{"method": "oracle", "snr_db": snr, "si_sdr": 30} for snr in (0, 10)]
    figure = plot_scores(rows, "si_sdr", bounds=("oracle",))
    method, bound = figure.axes[0].get_lines()
    assert list(method.get_xdata()) == [0, 10] and list(method.get_ydata()) == [2, 12]
    assert method.get_label() == "a b" and method.get_marker() == "o" and method.get_linestyle() == "-"
    assert bound.get_linestyle() == "--" and bound.get_marker() == "None"
    assert list(figure.axes[0].get_xticks()) == [0, 10]


@pytest.mark.parametrize("limit", [300_000, 150_000])
def test_saved_figures_are_small_and_look_the_same(tmp_path, limit):
    noise = {name: torch.randn(2 * RATE) for name in "abcdef"}
    figure = plot_spectrograms(noise, sample_rate=RATE)
    whole = save_figure(figure, tmp_path / "large.png", max_bytes=10**8)
    small = save_figure(figure, tmp_path / "new" / "small.png", max_bytes=limit)
    assert small.stat().st_size <= limit < whole.stat().st_size
    one, other = (np.asarray(Image.open(path).convert("RGB"), float) for path in (whole, small))
    assert one.shape == other.shape and np.abs(one - other).mean() < 6
    assert (other[0, 0] == 255).all()


def test_a_figure_too_large_is_not_saved(tmp_path):
    figure = plot_spectrograms({"noise": torch.randn(RATE)}, sample_rate=RATE)
    with pytest.raises(ValueError, match="more than 1000"):
        save_figure(figure, tmp_path / "a.png", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []
