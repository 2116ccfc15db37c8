"Boxes on a spectrogram: their mask against its definition, the file it goes to, and hands and keys in a browser."

import numpy
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from widget_page import shown, until

from specdehaze.audio import Stft
from specdehaze.mask_painter import Box, MaskPainter, mask_of, plot_boxes, save_mask

RATE, STFT = 16_000, Stft(64, 32)
PLACE = {"sample_rate": RATE, "frames": 12}


def ends(most: float) -> st.SearchStrategy:
    return st.tuples(st.floats(0, most), st.floats(0, most)).map(sorted)


BOXES = st.lists(st.tuples(ends(0.03), ends(8000)).map(lambda pair: Box(*pair[0], *pair[1])), max_size=4)


@given(BOXES)
def test_mask_is_its_definition(boxes):
    mask = mask_of(boxes, STFT, **PLACE, keep=True)
    times, frequencies = STFT.times(12, RATE).tolist(), STFT.frequencies(RATE).tolist()
    for row, hertz in enumerate(frequencies):
        for column, second in enumerate(times):
            inside = any(a <= second <= b and c <= hertz <= d for a, b, c, d in torch.tensor(boxes).tolist())
            assert mask[row, column] == inside


@given(BOXES)
def test_keep_and_remove_are_opposites_and_order_is_nothing(boxes):
    kept, removed = (mask_of(boxes, STFT, **PLACE, keep=keep) for keep in (True, False))
    assert torch.equal(kept, 1 - removed) and torch.equal(kept, mask_of(boxes[::-1], STFT, **PLACE, keep=True))
    assert set(kept.unique().tolist()) <= {0.0, 1.0}


def test_no_boxes_and_a_box_over_everything():
    whole = [(0.0, 1.0, 0.0, 8000.0)]
    assert mask_of([], STFT, **PLACE).all() and not mask_of([], STFT, **PLACE, keep=True).any()
    assert mask_of(whole, STFT, **PLACE, keep=True).all() and not mask_of(whole, STFT, **PLACE).any()


@pytest.mark.parametrize("box", [(0.2, 0.1, 0, 100), (0.1, 0.2, 200, 100), (float("nan"), 0.2, 0, 100)])
def test_a_box_that_ends_before_it_begins(box, voice):
    with pytest.raises(ValueError, match="exchange its ends"):
        mask_of([box], STFT, **PLACE)
    with pytest.raises(ValueError, match="exchange its ends"):
        MaskPainter(voice, RATE, boxes=[box])


def test_a_bad_box_leaves_the_painter_as_it_was(voice):
    painter = MaskPainter(voice, RATE, boxes=[(0, 1, 0, 1000)])
    for wrong in ([(1, 0, 0, 1000)], [(0, 1, 2)], ["box!"]):
        with pytest.raises((ValueError, TypeError, traitlets.TraitError)):
            painter.boxes = wrong
    assert painter.boxes == [[0, 1, 0, 1000]] and len(painter._past) == 1


def test_a_box_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    def write(content: float) -> None:
        save_mask(tmp_path / "mask.npz", torch.full((2, 2), content), [], stft=STFT, sample_rate=RATE)

    def fail(*_):
        raise OSError("no space left")

    write(0.0)
    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError):
        write(1.0)
    assert not numpy.load(tmp_path / "mask.npz")["mask"].any() and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match="saved as .npz"):
        save_mask(tmp_path / "mask.wav", torch.ones(2, 2), [], stft=STFT, sample_rate=RATE)


def test_channels_get_one_mask(voice):
    stereo = torch.cat([voice, 0.5 * voice])
    painter = MaskPainter(stereo, RATE, boxes=[(0, 4, 0, 2000)])
    assert painter.masked.shape == stereo.shape and torch.allclose(painter.masked[0], 2 * painter.masked[1], atol=1e-5)
    assert painter.render([]).axes[0].get_xlim()[1] == pytest.approx(4.0, abs=0.01)


def test_picture_is_pure_and_numbers_its_boxes(voice):
    boxes = [(0.5, 1, 100, 900), (2, 3, 4000, 5000)]
    figures = [plot_boxes(voice, RATE, boxes, keep=True) for _ in range(2)]
    pictures = [[numpy.asarray(image.get_array()) for image in figure.axes[0].images] for figure in figures]
    assert all((one == other).all() for one, other in zip(*pictures))
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["1", "2"]


def test_undo_goes_all_the_way_back_and_no_further(voice):
    painter = MaskPainter(voice, RATE)
    painter.undo()
    painter.boxes = [(0, 1, 0, 1000)]
    painter.boxes = [(0, 1, 0, 1000), (1, 2, 0, 1000)]
    painter.keep = True
    for _ in range(5):
        painter.undo()
    assert painter.boxes == [] and not painter.keep and torch.allclose(painter.masked, voice, atol=1e-5)


def drag(page, start, stop):
    "From one place (s, Hz) to another."
    box = page.locator(".specdehaze-painter svg").bounding_box()
    for action, (second, hertz) in (("down", start), ("up", stop)):
        x, y = box["x"] + second / 4 * box["width"], box["y"] + (1 - hertz / 8000) * box["height"]
        page.mouse.move(x, y, steps=4)
        getattr(page.mouse, action)()


def boxes_are(page, painter, *expected):
    "Whether the boxes become these, to within what a pixel is."
    def near() -> bool:
        pairs = zip(painter.boxes, expected)
        alike = (abs(a - b) < size for box, wanted in pairs for a, b, size in zip(box, wanted, (0.03, 0.03, 60, 60)))
        return len(painter.boxes) == len(expected) and all(alike)

    return until(page, near)


def test_boxes_are_drawn_moved_and_resized_by_mouse(voice):
    painter = MaskPainter(voice, RATE)
    with shown(painter) as page:
        drag(page, (2.0, 3000), (1.0, 1000))
        assert boxes_are(page, painter, (1, 2, 1000, 3000))
        drag(page, (1.5, 2000), (2.5, 4000))
        assert boxes_are(page, painter, (2, 3, 3000, 5000))
        drag(page, (3.0, 4000), (3.5, 4000))
        assert boxes_are(page, painter, (2, 3.5, 3000, 5000))
        drag(page, (2.5, 4000), (5.0, 9000))
        assert boxes_are(page, painter, (2.5, 4, 6000, 8000)), "a box stays in the picture, and keeps its size"
        drag(page, (0.5, 500), (0.5, 500))
        drag(page, (0.5, 500), (1.0, 1000))
        assert boxes_are(page, painter, (2.5, 4, 6000, 8000), (0.5, 1, 500, 1000)), "a click draws nothing"
        told = page.locator("[role=status]")
        assert until(page, lambda: "2 boxes removed" in told.inner_text()) and page.locator("audio").count() == 3


def test_everything_works_by_keys(voice):
    painter = MaskPainter(voice, RATE)
    with shown(painter) as page:
        page.get_by_role("button", name="Add a box").press("Enter")
        assert until(page, lambda: len(painter.boxes) == 1)
        start = painter.boxes[0]
        for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
            page.keyboard.press(key)
        wanted = pytest.approx([0.04, 0.06, 50, 0], abs=1e-6)
        assert until(page, lambda: [b - a for a, b in zip(start, painter.boxes[0])] == wanted)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Box 1: ")
        page.keyboard.press("Control+z")
        assert until(page, lambda: painter.boxes[0][3] == start[3] + 50)
        page.keyboard.press("Delete")
        assert until(page, lambda: painter.boxes == [])
        assert page.evaluate("document.activeElement.textContent") == "Add a box"
        page.get_by_label("Keep only").press(" ")
        assert until(page, lambda: painter.keep) and not painter.mask.any()


def test_a_key_that_is_held_makes_one_sound_and_one_step_back(voice):
    painter, heard = MaskPainter(voice, RATE, boxes=[(1, 2, 1000, 2000)]), []
    painter.observe(lambda change: heard.append(change.new), "boxes")
    with shown(painter) as page:
        page.locator(".box").focus()
        for _ in range(20):
            page.keyboard.down("ArrowRight")
        page.keyboard.up("ArrowRight")
        assert boxes_are(page, painter, (1.4, 2.4, 1000, 2000)) and len(heard) == 1
        page.get_by_role("button", name="Undo").click()
        assert boxes_are(page, painter, (1, 2, 1000, 2000))


def test_fields_are_exact_and_named(voice):
    painter = MaskPainter(voice, RATE, boxes=[(0, 1, 0, 1000), (1, 2, 3000, 4000)])
    with shown(painter) as page:
        field = page.get_by_label("Box 2 to (Hz)")
        field.fill("2500")
        field.press("Enter")
        assert until(page, lambda: painter.boxes[1] == [1, 2, 2500, 3000]), "the ends change places"
        field.fill("")
        field.press("Enter")
        page.get_by_role("button", name="Delete box 1").click()
        assert until(page, lambda: painter.boxes == [[1, 2, 2500, 3000]])
        painter.boxes = []
        page.push()
        assert not page.locator("table").is_visible() and page.locator(".box").count() == 0


def test_a_new_sound_goes_on_where_the_old_one_was(voice):
    painter = MaskPainter(voice, RATE)
    with shown(painter, "--autoplay-policy=no-user-gesture-required") as page:
        page.evaluate("document.querySelectorAll('audio')[1].play()")
        page.wait_for_function("document.querySelectorAll('audio')[1].currentTime > 0.5")
        painter.boxes = [(0, 4, 0, 1000)]
        page.push()
        page.wait_for_function("!document.querySelectorAll('audio')[1].paused")
        assert page.evaluate("document.querySelectorAll('audio')[1].currentTime") > 0.4
