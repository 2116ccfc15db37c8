"Made voices, noises and hums, and a small catalogue of them on disk: every kind of source in every split."

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from specdehaze.audio import write_audio
from specdehaze.disturbances import coloured_noise
from specdehaze.hum import synthesize_hum
from specdehaze.sources import SPLITS, Source, Take, assess_takes, find_takes

RATE = 16000
NOISES = ("ambience", "machine", "keyboard", "music")


def made_voice(seconds: float, seed: int, rate: int = RATE) -> Tensor:
    "Syllables of 0.2 s and pauses of 0.2 s, 60 dB apart, every fifth pause 0.6 s long."
    time = torch.arange(int(seconds * rate)) / rate
    said = ((time % 0.4) < 0.2) & ((time % 2.0) < 1.6)
    spectrum = torch.fft.rfft(coloured_noise(len(time), rate, slope_db=-3, seed=seed))
    spectrum[: int(100 * seconds)] = 0  # nobody speaks below 100 Hz
    return 0.1 * torch.fft.irfft(spectrum, n=len(time)) * torch.where(said, 1.0, 0.001)


def made_hum(seconds: float, seed: int, rate: int = RATE) -> Tensor:
    "A made voice over mains hum."
    hum, _ = synthesize_hum(int(seconds * rate), rate, fundamental=50.02, law="inverse", seed=seed)
    return made_voice(seconds, seed, rate) + 0.01 * hum


def made_key(seed: int, rate: int = RATE) -> Tensor:
    "A click of 40 ms."
    noise = torch.randn(rate // 25, generator=torch.Generator().manual_seed(seed))
    return 0.2 * noise * torch.exp(-torch.arange(len(noise)) / (rate / 500))


def made_source(**given: str) -> Source:
    "A source of a folder; what is not given is empty."
    return Source(**dict.fromkeys((field.name for field in fields(Source)), "") | {"how": "folder"} | given)


@dataclass
class Catalogue:
    sources: list[Source]
    folders: dict[str, Path]
    takes: list[Take]


def make_catalogue(root: Path, *, hum: bool = True) -> Catalogue:
    "Four voices, two instruments, two noises of each kind, twelve keys and a recorded hum in each split."
    sources = []
    for number, split in enumerate(SPLITS):
        for kind in ("speech", "instrument", "babble", *NOISES, *["hum"] * hum):
            name = f"{kind}-{split}"
            whose = "voice" if kind in ("speech", "instrument", "babble", "hum") else "sound"
            pattern = rf"^(?P<{whose}>\w+)/\d+\.wav$" if whose == "voice" else r"^(?P<sound>\w+)\.wav$"
            voice = f"{split}-{{voice}}" if whose == "voice" else ""
            papers = {"voice": voice, "licence": "CC0-1.0", "files": pattern}
            sources.append(made_source(name=name, kind=kind, split=split, **papers))
            _write_kind(root / name, kind, 100 * number)
    folders = {source.name: root / source.name for source in sources}
    found = [take for source in sources for take in find_takes(source, folders[source.name])]
    return Catalogue(sources, folders, assess_takes(found, folders))


def _write_kind(folder: Path, kind: str, seed: int) -> None:
    "The files of a source."
    salt = seed + 1000 * sum(kind.encode())
    sounds = {}
    if kind in ("speech", "babble"):
        sounds = {f"{kind}{v}/{i}": made_voice(1.5 + 0.3 * i, salt + 7 * v + i) for v in range(4) for i in range(2)}
    elif kind == "instrument":
        for voice in range(2):
            tone, _ = synthesize_hum(2 * RATE, RATE, fundamental=200.0 + salt % 97 + 31 * voice, seed=salt + voice)
            sounds[f"{kind}{voice}/0"] = 0.1 * tone
    elif kind == "hum":
        sounds = {f"{kind}0/{i}": made_hum(4.0, salt + i) for i in range(2)}
    elif kind == "keyboard":
        sounds = {f"key{i}": made_key(salt + i) for i in range(12)}
    else:
        for number, seconds in enumerate((3, 7)):  # shorter and longer than a clip
            sounds[f"{kind}{number}"] = 0.1 * coloured_noise(seconds * RATE, RATE, slope_db=-3, seed=salt + number)
    for name, sound in sounds.items():
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, sound, RATE)
