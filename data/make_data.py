"""Make the recordings of this folder again from unpacked Debian packages.

    apt-get download PACKAGE && dpkg-deb -x PACKAGE_*.deb SOURCES/PACKAGE   # for each package in README.md
    python data/make_data.py SOURCES   # writes data/*/*.flac and data/recordings.csv

Needs specdehaze's own requirements and, for music/, the program fluidsynth.
"""

import csv
import gzip
import struct
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr

DATA = Path(__file__).resolve().parent
ASTERISK = "usr/share/asterisk/sounds"
TUXPAINT = "usr/share/tuxpaint/stamps"
CONTENT = "Sound.ocg"  # inside openclonk-data


@dataclass
class Row:
    name: str
    file: str
    kind: str
    voice: str
    language: str
    sample_rate: int
    seconds: float
    pair: str
    licence: str
    author: str
    package: str
    note: str


rows: list[Row] = []


def keep(folder, name, waveform, sample_rate, *, gain=1.0, voice, language, licence, author, package, note):
    "Remove DC from a (samples, channels) waveform, write it as 16-bit FLAC and list it."
    waveform = np.asarray(waveform, dtype=np.float64).reshape(len(waveform), -1)
    codes = np.round((waveform - waveform.mean(axis=0)) * gain * 32768)
    if np.abs(codes).max() > 32767:
        raise ValueError(f"{folder}/{name} would clip")
    path = DATA / folder / f"{name}.flac"
    path.parent.mkdir(exist_ok=True)
    sf.write(path, codes.astype(np.int16), sample_rate, subtype="PCM_16")
    seconds = round(len(codes) / sample_rate, 4)
    kind = folder
    title = name if folder == "speech" else f"{folder}_{name}"
    file = f"{folder}/{name}.flac"
    rows.append(Row(title, file, kind, voice, language, sample_rate, seconds, "", licence, author, package, note))


def read_g722(path):
    "Decode headerless G.722 (16 kHz mono)."
    with av.open(str(path), format="g722") as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]) / 32768


def speech(sources):
    "The longest prompts of at most 10 s of each voice, no digits, letters or silence; numbered by name."
    voices = {
        "fr": (6, "june", "CC-BY-SA-3.0", "June Wallack"),
        "es": (2, "allison", "CC-BY-SA-3.0", "Allison Smith"),
        "it": (16, "carlo", "CC-BY-3.0", "Carlo Flora"),
        "ru": (16, "ivrvoice", "CC-BY-3.0", "Maxim Topal, ivrvoice.ru"),
    }
    leave_out = {"silence", "digits", "letters", "phonetic"}
    for language, (count, voice, licence, author) in voices.items():
        package = f"asterisk-core-sounds-{language}-g722"
        root = next((sources / package / ASTERISK).iterdir())
        found = []
        for path in root.rglob("*.g722"):
            seconds = path.stat().st_size * 2 / 16000
            if seconds <= 10 and path.relative_to(root).parts[0] not in leave_out:
                found.append((-seconds, str(path.relative_to(root))))
        chosen = sorted(name for _, name in sorted(found)[:count])
        for number, name in enumerate(chosen, 1):
            keep(
                "speech", f"{language}_{number:02d}", read_g722(root / name), 16000, voice=voice, language=language,
                licence=licence, author=author, package=package, note=f"{name} decoded",
            )


def hum_phase(waveform, sample_rate, fundamental):
    "Phase in cycles at the first and last sample of the line near `fundamental`, searched within 0.15 Hz."
    time = np.arange(len(waveform)) / sample_rate
    window = np.hanning(len(waveform))
    grid = fundamental + np.linspace(-0.15, 0.15, 31)
    lines = np.array([np.sum(waveform * window * np.exp(-2j * np.pi * f * time)) for f in grid])
    best = np.abs(lines).argmax()
    phase = np.angle(lines[best]) / (2 * np.pi)
    return phase, phase + grid[best] * time[-1]


def join(paths, fundamental, *, fade=0.005):
    "Join takes; each drops less than one hum period at its start, so that the hum goes on without a jump."
    whole = None
    for path in paths:
        take, sample_rate = sf.read(path, always_2d=True)
        take = take - take.mean(axis=0)
        if whole is None:
            whole, last = take, take
            continue
        overlap = round(fade * sample_rate)
        _, end = hum_phase(last[:, -1], sample_rate, fundamental)
        start, _ = hum_phase(take[:, -1], sample_rate, fundamental)
        cycles = (end - overlap / sample_rate * fundamental - start) % 1.0
        take = take[round(cycles * sample_rate / fundamental) :]
        ramp = np.linspace(0, 1, overlap)[:, None]
        middle = whole[-overlap:] * (1 - ramp) + take[:overlap] * ramp
        whole, last = np.concatenate([whole[:-overlap], middle, take[overlap:]]), take
    return whole, sample_rate


def unclipped(path):
    return np.abs(sf.read(path)[0]).max() < 1.0


def longest(paths, count):
    "The `count` longest of the unclipped files, one per size (left-right twins are the same file), in order of name."
    by_size = {path.stat().st_size: path for path in sorted(paths, reverse=True) if unclipped(path)}
    ordered = sorted(by_size.values(), key=lambda path: (-sf.info(path).frames, path.name))
    return sorted(ordered[:count], key=lambda path: path.name)


def hummy(sources):
    tuxpaint, klettres = sources / "tuxpaint-stamps-default", sources / "klettres-data"
    gpl = "GPL-2.0-or-later"
    french = {
        "voice": "tuxpaint-fr", "language": "fr", "licence": gpl, "package": tuxpaint.name,
        "author": "Tux Paint contributors (French: PaulK, Jacques Chion)",
    }
    pawn = next(tuxpaint.rglob("w_6_pawn_desc_fr.ogg"))
    keep("hummy", "fr_01", *sf.read(pawn), note=f"{pawn.name} decoded; left channel silent in the original", **french)
    stone = next(tuxpaint.rglob("inukshuk-photo_desc_fr.ogg"))
    waveform, rate = sf.read(stone)
    keep("hummy", "fr_02", waveform[:, 1], rate, note=f"{stone.name}, right channel (left is silent)", **french)

    def joined(name, paths, fundamental, **about):
        files = ", ".join(path.name for path in paths)
        keep("hummy", name, *join(paths, fundamental), note=f"{files} joined at the hum's phase", **about)

    joined(
        "be_01", longest(tuxpaint.rglob("*_desc_be.ogg"), 3), 50.0, voice="tuxpaint-be", language="be", licence=gpl,
        author="Kseniya Buraya (Tux Paint)", package=tuxpaint.name,
    )
    words = [path for path in sorted((klettres / "usr/share/klettres/hu/syllab").glob("*.ogg")) if unclipped(path)]
    hungarian = {
        "voice": "klettres-hu", "language": "hu", "licence": gpl, "author": "KLettres contributors",
        "package": klettres.name,
    }
    joined("hu_01", words[:4], 50.0, **hungarian)
    joined("hu_02", words[4:8], 50.0, **hungarian)
    words = [path for path in sorted((klettres / "usr/share/klettres/en/syllab").glob("*.ogg")) if unclipped(path)]
    joined(
        "en_01", words[:4], 60.0, voice="klettres-en", language="en", licence=gpl, author="Robert Wadley (KLettres)",
        package=klettres.name,
    )
    galician = sources / "ktuberling-data"
    joined(
        "gl_01", longest((galician / "usr/share/ktuberling/sounds/gl").glob("*.ogg"), 8), 50.0, voice="ktuberling-gl",
        language="gl", licence=gpl, author="KTuberling contributors", package=galician.name,
    )


def noisy(sources):
    fish = sources / "fillets-ng-data-cs"
    sound = fish / "usr/share/games/fillets-ng/sound"
    author = "ALTAR interactive, Fish Fillets NG contributors"
    for name, file, voice in (
        ("cs_01", "hanoi/cs/m-rekurzivni.ogg", "fillets-small-fish"),
        ("cs_02", "viking2/cs/dr-4-magazin.ogg", "fillets-viking"),
        ("cs_03", "experiments/cs/bank-m-tvorove.ogg", "fillets-small-fish"),
    ):
        keep(
            "noisy", name, *sf.read(sound / file), voice=voice, language="cs", licence="GPL-2.0-only", author=author,
            package=fish.name, note=f"{file} decoded",
        )
    stamps = sources / "tuxpaint-stamps-default"
    for name, file in (("ro_01", "Roast_turkey_desc_ro.ogg"), ("ro_02", "200toonie_desc_ro.ogg")):
        keep(
            "noisy", name, *sf.read(next((stamps / TUXPAINT).rglob(file))), voice="tuxpaint-ro", language="ro",
            licence="GPL-2.0-or-later", author="Tabbytha (Tux Paint)", package=stamps.name, note=f"{file} decoded",
        )


def clonk_entry(data, parts):
    "Bytes of one file in a Clonk group: scrambled header of 204 bytes, 316 bytes an entry, then the contents."
    header = bytearray(data[:204])
    for i in range(0, 202, 3):
        header[i], header[i + 2] = header[i + 2], header[i]
    entries = struct.unpack_from("<i", bytes(b ^ 237 for b in header), 36)[0]
    for i in range(entries):
        at = 204 + 316 * i
        name = data[at : at + 260].split(b"\0")[0].decode("latin1")
        _, _, size, _, offset = struct.unpack_from("<5i", data, at + 260)
        if name == parts[0]:
            start = 204 + 316 * entries + offset
            content = data[start : start + size]
            return clonk_entry(content, parts[1:]) if parts[1:] else content
    raise FileNotFoundError("/".join(parts))


def noise(sources):
    package = sources / "openclonk-data"
    packed = (package / "usr/share/games/openclonk" / CONTENT).read_bytes()
    group = gzip.decompress(b"\x1f\x8b" + packed[2:])  # Clonk writes its own two magic bytes
    by, zero = "CC-BY-3.0", "CC0-1.0"
    for name, file, start, stop, gain, licence, author in (
        ("birds", "Environment.ocg/BirdsLoop.ogg", 5, 15, 1.0, by, "dobroide (freesound 54746)"),
        ("fire", "Fire.ocg/Fire.ogg", 0, None, 0.5, by, "dobroide (freesound 4211)"),
        ("furnace", "Structures.ocg/Furnace.ocg/Loop.ogg", 0, 10, 1.0, zero, "tc630 (freesound 47835)"),
        ("pump", "Structures.ocg/Pumpjack.ogg", 0, None, 1.0, zero, "felix.blume (freesound 203990)"),
        ("rain", "Liquids.ocg/StereoRain.ogg", 10, 20, 1.0, by, "OpenClonk Team and contributors"),
        ("wind", "Environment.ocg/WindLoop.ogg", 10, 20, 1.0, by, "ERH (freesound 34338)"),
    ):
        with tempfile.NamedTemporaryFile(suffix=".ogg") as temporary:
            temporary.write(clonk_entry(group, file.split("/")))
            temporary.flush()
            waveform, rate = sf.read(temporary.name, always_2d=True)
        part = waveform[start * rate : stop * rate if stop else None, 0]
        note = f"{CONTENT}/{file}, first channel, {start} s to {f'{stop} s' if stop else 'the end'}, soxr to 16 kHz"
        keep(
            "noise", name, soxr.resample(part, rate, 16000, "VHQ"), 16000, gain=gain, voice="", language="",
            licence=licence, author=author, package=package.name, note=note + (", halved" if gain == 0.5 else ""),
        )


def midi(program, notes):
    "A one-track MIDI file: `notes` are (key, seconds), 480 ticks a second."

    def ticks(value):
        coded = [value & 127]
        while value := value >> 7:
            coded.insert(0, value & 127 | 128)
        return bytes(coded)

    track = b"\0\xff\x51\3" + (500_000).to_bytes(3, "big") + b"\0" + bytes([0xC0, program])
    for key, seconds in notes:
        track += b"\0" + bytes([0x90, key, 90]) + ticks(round(seconds * 480)) + bytes([0x80, key, 0])
    track += b"\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 240) + b"MTrk" + struct.pack(">I", len(track)) + track


def music(sources):
    "Phrases of 5 s rendered without reverb and chorus; G2 (98 Hz) and F4 (349 Hz) lie beside harmonics of 50 Hz."
    package = sources / "fluid-soundfont-gm"
    font = package / "usr/share/sounds/sf2/FluidR3_GM.sf2"
    for name, program, notes in (
        ("cello", 42, [(43, 1.5), (50, 1.0), (47, 0.5), (43, 1.8)]),
        ("clarinet", 71, [(67, 0.75), (64, 0.75), (60, 3.3)]),
        ("saxophone", 65, [(57, 0.5), (60, 0.5), (64, 1.5), (62, 0.5), (57, 1.8)]),
        ("choir", 52, [(65, 1.3), (60, 0.7), (62, 1.0), (53, 1.8)]),
        ("singer", 85, [(60, 0.6), (62, 0.6), (65, 1.9), (64, 0.5), (62, 1.2)]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            score, wave = Path(folder, "score.mid"), Path(folder, "wave.wav")
            score.write_bytes(midi(program, notes))
            render = ["fluidsynth", "-niq", "-g", "1.0", "-R", "0", "-C", "0", "-r", "44100", "-F", wave, font, score]
            subprocess.run(list(map(str, render)), check=True)
            waveform, rate = sf.read(wave, always_2d=True)
        keys = ", ".join(f"{key} for {seconds} s" for key, seconds in notes)
        keep(
            "music", name, waveform[: 5 * rate].mean(axis=1), rate, voice=name, language="", licence="MIT",
            author="Frank Wen and contributors (Fluid R3)", package=package.name,
            note=f"fluidsynth, gain 1, program {program}, MIDI keys {keys}; mean of both channels",
        )


def main(sources):
    for part in (speech, hummy, noisy, noise, music):
        part(sources)
    with open(DATA / "recordings.csv", "w", newline="", encoding="utf-8") as handle:
        table = csv.DictWriter(handle, fieldnames=list(asdict(rows[0])), lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
