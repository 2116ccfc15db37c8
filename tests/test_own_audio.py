"One's own recording: read from bytes as from a file, in pieces, within limits, and with a microphone or without one."

import io
from pathlib import Path

import numpy
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from source_tree import ROOT
from widget_page import shown

from specdehaze.audio import AudioError, read_audio
from specdehaze.own_audio import OwnAudio, read_bytes

SPEECH = ROOT / "data/speech/fr_01.flac"


def wav(samples: numpy.ndarray, rate: int = 16_000) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format="WAV", subtype="FLOAT")
    return target.getvalue()


@pytest.fixture
def own() -> OwnAudio:
    return OwnAudio(SPEECH, max_seconds=2.0, max_megabytes=3.0)


def send(own: OwnAudio, name: str, content: bytes, size: int = 1000, processed: bool = False) -> None:
    pieces = [content[k : k + size] for k in range(0, len(content), size)] or [b""]
    for number, piece in enumerate(pieces):
        note = {"name": name, "piece": number, "count": len(pieces), "processed": processed}
        own._handle_custom_msg(note, [memoryview(piece)])


def test_bytes_are_read_as_the_file_is():
    whole, rate = read_audio(SPEECH)
    read = read_bytes(SPEECH.read_bytes(), "any name.FLAC")
    assert torch.equal(read.waveform, whole) and read.sample_rate == rate
    part = read_bytes(SPEECH.read_bytes(), "x", max_seconds=0.5)
    assert torch.equal(part.waveform, whole[:, : rate // 2]) and part.seconds == pytest.approx(whole.shape[-1] / rate)


@given(st.text(max_size=30))
def test_a_name_is_only_a_name(name):
    content = wav(numpy.zeros((100, 1)))
    try:
        read = read_bytes(content, name)
    except AudioError:
        assert name.lower().endswith(".g722")
    else:
        assert read.waveform.shape == (1, 100)


UNREADABLE = {"nothing": b"", "words": b"words", "half": SPEECH.read_bytes()[:5000]}
UNREADABLE |= {"no sample": wav(numpy.zeros((0, 1)))}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)  # a WAV says when it was made
def test_what_cannot_be_read_is_told_by_its_name(own, content):
    before = own.waveform
    with pytest.raises(AudioError, match=r"^my file\.wav: "):
        own.take("my file.wav", content)
    send(own, "my file.wav", content)
    assert own._failed and own._told.startswith("my file.wav: ") and own.waveform is before and own.name == "fr_01.flac"
    assert "<img" in own._shown, "the picture of the last good one stays"


def test_pieces_come_together(own):
    content = wav(numpy.random.default_rng(0).normal(size=(20_000, 2)) / 10, 22_050)
    send(own, "noise.wav", content)
    assert own.name == "noise.wav" and own.sample_rate == 22_050 and own.waveform.shape == (2, 20_000)
    assert not own._failed and own._told == "noise.wav: 0.9 s, 22050 Hz, 2 channels."
    note = {"name": "left.wav", "piece": 0, "count": 9, "processed": False}
    own._handle_custom_msg(note, [memoryview(content[:1000])])
    send(own, "after.wav", content)
    assert own.name == "after.wav", "a file that was broken off is forgotten"


def test_limits(own):
    send(own, "long.wav", wav(numpy.zeros((80_000, 1)) + 0.1), size=10**6)
    assert own.waveform.shape == (1, 32_000) and "it is 5.0 s long, and this is its beginning" in own._told
    send(own, "large.wav", bytes(3_100_000), size=10**6)
    assert own._failed and "3.10 MB, and at most 3.00 MB" in own._told and own._pieces == []


def test_same_failure_twice_is_told_twice(own):
    turns = []
    own.observe(lambda change: turns.append(change.new), "_turn")
    for _ in range(2):
        send(own, "words.wav", b"words")
    assert len(turns) == 2


def test_names_and_words_cannot_become_html(own):
    own.take("<b>$x$_^.wav", wav(numpy.zeros((8000, 3)) + 0.1))
    bundle, _ = own._repr_mimebundle_()
    assert "<b>" not in own._shown and "<b>" not in bundle["text/html"] and own.waveform.shape == (3, 8000)


def test_it_begins_with_a_recording_of_the_package():
    own = OwnAudio()
    assert own.waveform.abs().max() > 0.1 and Path(own.name).suffix == ".flac"


def told(page):
    return page.locator("[role=status]")


def wait_for(page, words: str) -> None:
    page.wait_for_function("words => document.querySelector('[role=status]').textContent.startsWith(words)", arg=words)


def test_a_file_is_chosen_dropped_and_refused(own, tmp_path):
    chosen, large = tmp_path / "chosen.wav", tmp_path / "large.wav"
    chosen.write_bytes(wav(numpy.full((16_000, 1), 0.1)))
    large.write_bytes(bytes(3_500_000))
    with shown(own) as page:
        page.get_by_label("Choose a recording").set_input_files(chosen)
        wait_for(page, "chosen.wav: 1.0 s")
        assert own.name == "chosen.wav" and page.locator("audio").count() == 1
        page.get_by_label("Choose a recording").set_input_files(large)
        page.wait_for_function("document.querySelector('.failed')")
        assert "large.wav has 4 MB, and at most 3 MB are read" in told(page).inner_text() and own.name == "chosen.wav"
        dropped = page.evaluate_handle("""() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(500)], "dropped.ogg"));
          return transfer;
        }""")
        page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
        wait_for(page, "dropped.ogg: not readable")


FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def test_the_microphone_gives_the_samples_as_they_are(own):
    with shown(own, *FAKE, permissions=["microphone"]) as page:
        page.get_by_role("button", name="Record", exact=True).click()
        wait_for(page, "Recording.")
        page.wait_for_timeout(1200)
        page.keyboard.press("Enter")
        wait_for(page, "take_1.wav: ")
        assert own.name == "take_1.wav" and len(own.waveform) == 1 and own.sample_rate >= 16_000
        assert own.waveform.shape[-1] > 0.5 * own.sample_rate and own.waveform.abs().max() > 0.1  # it beeps
        page.get_by_role("button", name="Record", exact=True).click()
        wait_for(page, "take_2.wav: ")
        assert 1.9 * own.sample_rate < own.waveform.shape[-1] <= 2.0 * own.sample_rate, "it stops where the limit is"


NO_MEDIA = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });"
CASES = {
    "insecure": ((), NO_MEDIA, "https:// and localhost only"),
    "none": ((), "", "There is no microphone"),
    "denied": ((FAKE[0], "--deny-permission-prompts"), "", "did not allow the microphone"),
}


@pytest.mark.parametrize("case", CASES)
def test_no_microphone_is_told(own, case):
    options, script, words = CASES[case]
    with shown(own, *options, script=script) as page:
        page.get_by_role("button", name="Record", exact=True).click()
        page.locator(".failed").wait_for()
        assert words in told(page).inner_text() and own.name == "fr_01.flac"
        assert page.get_by_role("button", name="Record", exact=True).is_enabled()


def test_a_browser_that_cleans_is_told(own):
    send(own, "take_1.wav", wav(numpy.full((8000, 1), 0.1)), processed=True)
    assert own._told.endswith("; this browser has already cleaned it, and cannot be kept from that.")
