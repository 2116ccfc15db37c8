"The labs draw what their functions compute, for every position of their sliders, and say what they cannot do."

from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from specdehaze.evaluation import si_sdr
from specdehaze.haze import minimum_statistics
from specdehaze.haze_lab import HazeScene, haze_lab, haze_layers
from specdehaze.hum_lab import add_and_subtract, hum_lab, line_spectrum
from specdehaze.lab_parts import example_mix, one_channel, page_figure, plot_panels, remember_last
from specdehaze.retinex_lab import illuminate, retinex_lab
from specdehaze.veil import multi_scale_retinex
from specdehaze.widgets import LIVE_DPI, low_middle_high

MAKERS = haze_lab, retinex_lab, hum_lab
LABS = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
GRID = {"frame_rate": 125.0, "bin_hertz": 31.25}


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@LABS
def test_each_control_moves_the_picture_or_the_numbers(make):
    lab = make()
    for control in lab.controls:
        seen = set()
        for value in low_middle_high(control):
            parameters = lab.start | {control.name: value}
            seen.add((pixels(lab.render(parameters)).tobytes(), tuple(lab.facts(parameters).items())))
        assert len(seen) > 1, control.name


@LABS
def test_the_same_parameters_give_the_same_picture(make):
    lab = make()
    first = pixels(lab.render(lab.start))
    name = lab.controls[0].name
    lab.render(lab.start | {name: low_middle_high(lab.controls[0])[0]})
    assert np.array_equal(pixels(lab.render(lab.start)), first)


@LABS
def test_sounds_are_as_long_as_what_came_in_and_can_be_heard(make):
    lab = make()
    for sound in lab.sounds(lab.start).values():
        assert sound.shape == (48_000,) and sound.isfinite().all()


@LABS
def test_a_live_lab_and_its_strips(make):
    lab = make()
    live = lab.show()
    assert list(live.lab_controls) == [control.name for control in lab.controls]
    assert "<img" in live.picture.value and live.players.value.count("<audio") == len(lab.sounds(lab.start))
    figure = lab.strip(lab.controls[1].name)
    assert len(figure.axes) == 3


@LABS
def test_own_sound_of_any_rate_and_number_of_channels(make):
    sound = 0.1 * torch.randn(2, 66_150, generator=torch.Generator().manual_seed(0))
    lab = make(sound.numpy(), 44_100)
    assert lab.sample_rate == 44_100
    assert all(len(heard) == 66_150 for heard in lab.sounds(lab.start).values())
    pixels(lab.render(lab.start))


@LABS
def test_unusable_sound_is_refused_at_once(make):
    broken = torch.full((16_000,), torch.nan)
    for sound, words in ((torch.ones(8000), "a second"), (torch.zeros(16_000), "silent"), (broken, "no numbers")):
        with pytest.raises(ValueError, match=words):
            make(sound, 16_000)


@pytest.mark.parametrize("make", [haze_lab, retinex_lab], ids=lambda make: make.__name__)
def test_a_clean_sound_of_another_length_is_refused(make):
    mix = example_mix()
    with pytest.raises(ValueError, match="samples"):
        make(mix.noisy, clean=mix.clean[:30_000])


@given(over=st.floats(0, 8), airlight=st.floats(-12, 12), floor=st.floats(-40, 0))
@settings(max_examples=20, deadline=None)
def test_transmission_is_the_equation(over, airlight, floor):
    power = torch.rand(9, 130, generator=torch.Generator().manual_seed(0)) + 0.01
    choice = {"airlight_db": airlight, "over_subtraction": over, "floor_db": floor}
    veil, gain = haze_layers(power, **GRID, **choice, window_seconds=0.5)
    darkest = minimum_statistics(power, frame_rate=125.0, window_seconds=0.5)
    torch.testing.assert_close(veil, darkest * 10 ** (airlight / 10))
    expected = torch.clamp(1 - over * veil / power, 10 ** (floor / 20), 1)
    torch.testing.assert_close(gain, expected, atol=1e-5, rtol=1e-4)


def test_digital_silence_in_a_recording_stays_silent():
    sound = torch.cat([torch.zeros(16_000), example_mix().noisy[:16_000]])
    scene = HazeScene(sound, 16_000)
    clean = scene.dehaze({"airlight_db": 0, "over_subtraction": 2, "window_seconds": 1.5, "floor_db": -20}).clean
    assert clean.isfinite().all() and clean[:15_000].abs().max() < 1e-6
    for make in (haze_lab, retinex_lab):
        lab = make(sound, 16_000)
        assert not any("nan" in fact for fact in lab.facts(lab.start).values())


def test_illumination_is_the_retinex_of_three_widths():
    power = torch.rand(65, 200, generator=torch.Generator().manual_seed(0)) + 0.1
    light, refined = illuminate(power, power, **GRID, seconds=0.3, hertz=90.0)
    scales = {"scales_seconds": (0.1, 0.3, 0.9), "scales_hertz": (30.0, 90.0, 270.0)}
    torch.testing.assert_close(light, multi_scale_retinex(power, **GRID, **scales))
    assert refined.shape == power.shape and (refined > 0).all()


def test_no_hum_is_found_where_there_is_next_to_none():
    voice = example_mix().clean
    hummed = add_and_subtract(voice, 16_000, snr_db=90.0)
    assert not hummed.found.present and torch.equal(hummed.subtracted, hummed.noisy)
    lab = hum_lab()
    assert lab.facts(lab.start | {"snr_db": 90})["Found"] == "no hum"


@pytest.mark.parametrize("fundamental", [45, 57.5, 60, 65])
def test_hum_comes_off_at_any_fundamental(fundamental):
    voice = example_mix().clean
    hummed = add_and_subtract(voice, 16_000, fundamental=fundamental, harmonics=5)
    assert si_sdr(hummed.subtracted, voice) > 30


def test_spectrum_of_a_sine():
    sine = 0.1 * torch.sin(2 * torch.pi * 60 * torch.arange(24_000) / 8000)
    for seconds in (0.5, 10.0):  # a window is never longer than the sound
        frequencies, levels = line_spectrum(sine, 8000, seconds=seconds, low=40, high=80)
        assert frequencies[0] >= 40 and frequencies[-1] <= 80
        assert frequencies[levels.argmax()] == pytest.approx(60, abs=0.1)
        assert float(levels.max()) == pytest.approx(-20, abs=0.05)


def test_panels_need_something_to_show():
    with pytest.raises(ValueError, match="no panels"):
        plot_panels({}, sample_rate=16_000, hop_length=128)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_panels(count):
    panels = {f"panel {k}": torch.rand(33, 20) for k in range(count)}
    place = {"sample_rate": 8000, "hop_length": 64}
    image = pixels(plot_panels(panels, masks=["panel 0"], **place))
    assert image.shape == (376, 570, 4)
    panels["the last"] = panels.pop(f"panel {count - 1}")
    masks = ["the last" if count == 1 else "panel 0"]
    other = pixels(plot_panels(panels, masks=masks, **place))
    rows, columns = (image != other).any(-1).nonzero()
    assert 0 < rows.max() - rows.min() < 20  # a line of writing


def test_a_page_stays_under_what_is_drawn_on_it_when_it_is_saved():
    page = np.full((40, 90, 3), 255, np.uint8)
    page[10:20, 30:60] = 0
    target = BytesIO()
    page_figure(page).savefig(target, format="png", dpi=LIVE_DPI, bbox_inches="tight", pad_inches=0)
    assert np.array_equal(np.asarray(Image.open(target))[::-1, :, :3], page)


def test_colours_of_a_panel_are_those_of_its_power():
    quiet, loud = torch.full((17, 30), 1e-9), torch.full((17, 30), 1.0)
    image = pixels(plot_panels({"loud": loud, "quiet": quiet}, sample_rate=8000, hop_length=64))[..., :3].astype(int)
    left, right = image[150, 150], image[150, 400]
    assert left[0] > 240 and left[1] > 220 and right[2] > right[0] + 50  # cividis ends in yellow and begins in blue


def test_masks_are_black_and_white():
    panels = {"shut": torch.zeros(9, 9), "open": torch.ones(9, 9)}
    image = pixels(plot_panels(panels, sample_rate=8000, hop_length=64, masks=list(panels)))
    assert (image[150, 150, :3] == 0).all() and (image[150, 400, :3] == 255).all()


def test_memory_holds_one_result_and_takes_parameters_in_any_order():
    asked = []
    remembered = remember_last(lambda parameters: asked.append(dict(parameters)) or len(asked))
    assert remembered({"a": 1, "b": 2}) == remembered({"b": 2, "a": 1}) == 1
    assert remembered({"a": 2, "b": 2}) == 2 and remembered({"a": 1, "b": 2}) == 3


def test_one_channel_is_the_mean():
    sound = torch.randn(3, 16_000)
    torch.testing.assert_close(one_channel(sound, 16_000), sound.mean(0))


def test_examples_name_their_noises():
    with pytest.raises(ValueError, match="choose one of birds"):
        example_mix(noise="traffic")
