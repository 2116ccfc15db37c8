"The demo in a browser: a noisy recording goes in, a cleaner one comes out, and nothing else goes anywhere."

from pathlib import Path
from types import SimpleNamespace

import pytest

from specdehaze.audio import AudioInfo, audio_info, read_audio, write_audio
from specdehaze.demo import free_port, serving
from specdehaze.evaluation import si_sdr
from specdehaze.recordings import noisy_pairs

from .waiting import wait_for

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.filterwarnings("ignore:.*:Warning:gradio"),  # of Gradio about its own use of other libraries
]


@pytest.fixture(scope="module")
def served(browser):
    "The demo: where its page is, and the folder of its files."
    with serving(port=free_port()) as (url, folder):
        yield SimpleNamespace(url=url, folder=folder)


@pytest.fixture
def demo(served, page):
    "The page; it complains of nothing, and the visit leaves nothing behind."
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(served.url)
    page.get_by_role("button", name="Clean", exact=True).wait_for()
    yield page
    page.close()
    wait_for(lambda: not any(served.folder.iterdir()))
    assert complaints == []


def choose(page, name: str) -> None:
    "Choose a method by keys."
    method = page.get_by_label("Method")
    method.fill(name)
    method.press("Enter")
    assert method.input_value() == name


def clean(page) -> None:
    "Ask for it, and wait for the answer."
    page.get_by_role("button", name="Clean", exact=True).click()
    page.locator("#answer audio").nth(1).wait_for()


def download(page, folder: Path) -> Path:
    "The cleaned file, under the name that the page gives it."
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the cleaned file").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def broken_parts(page) -> list[str]:
    "Players without a length or that do not play, pictures that did not load, and controls without a name."
    return page.evaluate("""async () => {
        const faults = [], wait = () => new Promise(done => setTimeout(done, 50));
        for (const player of document.querySelectorAll("#answer audio")) {
            for (let n = 0; n < 200 && !player.readyState; n++) await wait();
            if (!(player.duration > 0.1)) { faults.push(`${player.ariaLabel}: no length`); continue; }
            player.muted = true;
            await player.play();
            for (let n = 0; n < 200 && !player.currentTime; n++) await wait();
            if (!player.currentTime) faults.push(`${player.ariaLabel}: does not play`);
            player.pause();
        }
        for (const image of document.querySelectorAll("#answer img"))
            if (!image.naturalWidth || !image.alt) faults.push("a picture is missing, or what it shows");
        for (const one of document.querySelectorAll("button, input, select, textarea, audio, a[href]"))
            if (one.checkVisibility() && !(one.ariaLabel || one.innerText || one.title || one.labels?.length))
                faults.push(`no name: ${one.outerHTML}`);
        return faults;
    }""")


@pytest.fixture(scope="module")
def mix():
    "A French voice in noise, 5 dB above it."
    return next(noisy_pairs(5.0, language="fr"))


def test_a_noisy_recording_comes_back_cleaner(demo, served, mix, tmp_path, keep_screen):
    path = tmp_path / "street.wav"
    form = AudioInfo(None, mix.sample_rate, 1, mix.noisy.shape[-1], "WAV", "PCM_24")
    write_audio(path, mix.noisy, mix.sample_rate, like=form)
    keep_screen(demo, "demo_before")
    demo.get_by_test_id("file-upload").set_input_files(path)
    demo.get_by_text("street", exact=False).first.wait_for()
    choose(demo, "voice")
    clean(demo)
    assert broken_parts(demo) == []
    assert "no mains hum" in demo.locator("#answer").inner_text()
    keep_screen(demo, "demo_after")
    result = download(demo, tmp_path)
    before, after = audio_info(path), audio_info(result)
    assert result.name == "street_clean.wav"
    assert (after.sample_rate, after.frames, after.encoding) == (mix.sample_rate, before.frames, "PCM_24")
    gained = si_sdr(read_audio(result)[0], mix.clean) - si_sdr(mix.noisy, mix.clean)
    print(f"SI-SDR {si_sdr(mix.noisy, mix.clean):.1f} dB, {gained:.1f} dB gained")
    assert gained > 4


def test_an_example_tells_its_hum(demo, keep_screen):
    demo.emulate_media(color_scheme="dark")
    demo.reload()
    demo.get_by_role("button", name="Galician voice, strong hum").click()
    demo.get_by_text("gl_01").first.wait_for()
    choose(demo, "hum")
    demo.get_by_label("range slider for Strength").press("ArrowLeft")
    clean(demo)
    told = demo.locator("#answer").inner_text()
    assert "Fundamental" in told and "Hz" in told and "The loudest harmonics" in told
    keep_screen(demo, "demo_dark")


def test_a_file_that_is_no_sound_is_explained_and_the_next_one_is_cleaned(demo, mix, tmp_path, keep_screen):
    bad, good = tmp_path / "notes.wav", tmp_path / "good.flac"
    bad.write_text("buy more microphones")
    write_audio(good, mix.noisy[:, :32_000], mix.sample_rate)
    demo.get_by_role("button", name="Clean", exact=True).click()
    demo.get_by_test_id("toast-body").filter(has_text="nothing to clean yet").wait_for()
    demo.get_by_test_id("file-upload").set_input_files(bad)
    demo.get_by_text("notes", exact=False).first.wait_for()
    demo.get_by_role("button", name="Clean", exact=True).click()
    demo.get_by_test_id("toast-body").filter(has_text="notes.wav: not readable as audio").wait_for()
    keep_screen(demo, "demo_complains")
    demo.get_by_role("tabpanel").get_by_role("button", name="Clear").click()
    demo.get_by_test_id("file-upload").set_input_files(good)
    demo.get_by_text("good", exact=False).first.wait_for()
    clean(demo)
    assert audio_info(download(demo, tmp_path)).frames == 32_000


def test_the_microphone_makes_a_file(demo, tmp_path, keep_screen):
    demo.get_by_role("tab", name="The microphone").click()
    demo.get_by_role("button", name="Record").click()
    demo.wait_for_timeout(1500)  # of sound
    keep_screen(demo, "demo_recording")
    demo.get_by_role("button", name="Stop").click()
    demo.get_by_text("audio", exact=False).first.wait_for()
    clean(demo)
    assert audio_info(download(demo, tmp_path)).frames > 8000
