"Files: what goes in comes out, whatever the container, and whatever is broken is named."

import os
import signal
import struct
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdehaze.files import AudioError, AudioInfo, audio_info, read_audio, read_blocks
from specdehaze.writing import AudioWriter, write_audio


def tone(samples: int, channels: int = 1, sample_rate: int = 16000) -> torch.Tensor:
    "A sweeping tone, a little different in each channel, at about -9 dBFS."
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    phases = torch.arange(channels, dtype=torch.float64)[:, None]
    return (0.5 * torch.sin(2 * torch.pi * (300 * time + 400 * time**2) + phases)).float()


def ratio_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    "Power of the reference over power of the difference."
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum().clamp(min=1e-20)))


def store(path: Path, waveform: torch.Tensor, sample_rate: int, container: str, encoding: str) -> AudioInfo:
    "Write by soundfile alone, so that reading and rewriting are tested against another writer."
    soundfile.write(path, waveform.T.numpy(), sample_rate, encoding, format=container)
    return audio_info(path)


@pytest.mark.parametrize(
    "container, encoding, lossless",
    [
        ("WAV", "PCM_U8", True), ("WAV", "PCM_16", True), ("WAV", "PCM_24", True), ("WAV", "PCM_32", True),
        ("WAV", "FLOAT", True),
        ("WAV", "DOUBLE", True), ("WAV", "ULAW", True), ("WAV", "ALAW", True), ("WAVEX", "PCM_24", True),
        ("RF64", "PCM_16", True),
        ("W64", "PCM_24", True), ("AIFF", "PCM_S8", True), ("AIFF", "PCM_24", True), ("AIFF", "FLOAT", True),
        ("AU", "PCM_16", True),
        ("CAF", "ALAC_24", True), ("FLAC", "PCM_S8", True), ("FLAC", "PCM_16", True), ("FLAC", "PCM_24", True),
        ("OGG", "VORBIS", False), ("MP3", "MPEG_LAYER_III", False),
    ],
)
@pytest.mark.parametrize("sample_rate, channels", [(8000, 1), (44100, 2), (48000, 6)])
def test_rewriting_keeps_everything(tmp_path, container, encoding, lossless, sample_rate, channels):
    channels = min(channels, 2) if container == "MP3" else channels
    suffix = {"WAVEX": "wav", "RF64": "wav"}.get(container, container.lower())
    source = store(tmp_path / f"a.{suffix}", tone(5001, channels, sample_rate), sample_rate, container, encoding)
    waveform, rate = read_audio(source.path)
    assert waveform.shape == (channels, source.frames) and waveform.dtype == torch.float32 and rate == sample_rate
    write_audio(tmp_path / f"b.{suffix}", waveform, rate, like=source)
    copy = audio_info(tmp_path / f"b.{suffix}")
    assert replace(copy, path=None) == replace(source, path=None)
    again, _ = read_audio(copy.path)
    assert torch.equal(again, waveform) if lossless else ratio_db(waveform[0], again[0]) > 20


@pytest.mark.parametrize(
    "suffix, encoding, sample_rate, channels, at_least_db",
    [
        *[("m4a", "AAC", rate, channels, 15) for rate in (8000, 16000, 44100, 96000) for channels in (1, 2)],
        *[("m4a", f"ALAC_{bits}", 44100, channels, 80) for bits in (16, 24) for channels in (1, 2)],
        *[("mka", f"FLAC_{bits}", 44100, channels, 80) for bits in (16, 24) for channels in (1, 2, 3, 4, 5, 6)],
        *[("webm", "OPUS", 48000, channels, 15) for channels in (1, 2)],
        ("m4b", "AAC", 22050, 2, 15),
        ("mp4", "AAC", 22050, 2, 15), ("mka", "OPUS", 48000, 2, 15), ("g722", "ADPCM_G722", 16000, 1, 15),
    ],
)
def test_ffmpeg_files_keep_length_and_place(tmp_path, suffix, encoding, sample_rate, channels, at_least_db):
    waveform = tone(2 * 12345, channels, sample_rate)
    target = tmp_path / f"a.{suffix}"
    write_audio(target, waveform, sample_rate, like=AudioInfo(None, 1, 1, 0, encoding=encoding))
    info = audio_info(target)
    assert (info.encoding, info.sample_rate) == (encoding, sample_rate)
    assert (info.channels, info.frames) == waveform.shape
    back, rate = read_audio(target)
    assert back.shape == waveform.shape and rate == sample_rate
    assert ratio_db(waveform[:, 100:], back[:, 100:]) > at_least_db
    write_audio(tmp_path / f"b.{suffix}", back, rate, like=info)
    assert replace(audio_info(tmp_path / f"b.{suffix}"), path=None) == replace(info, path=None)


@pytest.mark.parametrize("channels", [3, 4, 5, 6])
def test_channels_keep_their_order(tmp_path, channels):
    waveform = torch.zeros(channels, 48000)
    waveform += torch.linspace(0.1, 0.6, channels)[:, None] * tone(48000, 1, 48000)
    for suffix in ("wav", "flac", "ogg", "mka", "m4a"):
        write_audio(tmp_path / f"a.{suffix}", waveform, 48000, like=AudioInfo(None, 1, 1, 0, encoding="FLAC_16"))
        levels = read_audio(tmp_path / f"a.{suffix}")[0].square().mean(1).sqrt() / waveform.square().mean(1).sqrt()
        keeps = torch.ones(channels, dtype=torch.bool)
        if suffix in ("m4a", "ogg") and channels == 6:
            keeps[{"m4a": 3, "ogg": 5}[suffix]] = False  # the bass channel of 5.1, without highs
        torch.testing.assert_close(levels[keeps], torch.ones(channels)[keeps], rtol=0.15, atol=0)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 4000), suffix=st.sampled_from(["wav", "flac", "ogg", "mp3", "m4a", "mka", "aiff"]))
def test_every_length_comes_back(tmp_path_factory, samples, suffix):
    target = tmp_path_factory.mktemp("lengths") / f"a.{suffix}"
    write_audio(target, tone(samples), 16000, like=AudioInfo(None, 1, 1, 0, encoding="FLAC_16"))
    assert read_audio(target)[0].shape == (1, samples) and audio_info(target).frames == samples


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 100))
def test_g722_comes_back_in_pairs(tmp_path_factory, samples):
    target = tmp_path_factory.mktemp("pairs") / "a.g722"
    write_audio(target, tone(samples), 16000)
    assert read_audio(target)[0].shape == (1, samples + samples % 2)


@pytest.mark.parametrize("suffix", ["wav", "ogg", "aiff", "w64", "caf"])
def test_no_samples_at_all(tmp_path, suffix):
    write_audio(tmp_path / f"a.{suffix}", torch.zeros(2, 0), 44100)
    waveform, rate = read_audio(tmp_path / f"a.{suffix}")
    assert waveform.shape == (2, 0) and rate == 44100
    assert list(read_blocks(tmp_path / f"a.{suffix}", block_length=10)) == []


@pytest.mark.parametrize("suffix", ["m4a", "webm", "opus", "g722", "mp3", "flac"])
def test_containers_that_cannot_be_empty_say_so(tmp_path, suffix):
    with pytest.raises(AudioError, match="no samples"):
        write_audio(tmp_path / f"a.{suffix}", torch.zeros(1, 0), 48000 if suffix in ("webm", "opus") else 16000)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("bits, encoding", [(8, "PCM_U8"), (16, "PCM_16"), (24, "PCM_24"), (32, "PCM_32")])
def test_integers_saturate_and_keep_level(tmp_path, bits, encoding):
    step = 2.0 ** (1 - bits)
    waveform = torch.tensor([[-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]])
    write_audio(tmp_path / "a.wav", waveform, 8000, like=AudioInfo(None, 1, 1, 0, encoding=encoding))
    expected = torch.tensor([[-1.0, -1.0, -0.5, 0.0, 0.5, 1 - step, 1 - step]])
    torch.testing.assert_close(read_audio(tmp_path / "a.wav")[0], expected, rtol=0, atol=1e-7)


def test_ulaw_saturates_and_float_does_not(tmp_path):
    loud = 2 * tone(8000)
    write_audio(tmp_path / "u.wav", 2 * loud, 8000, like=AudioInfo(None, 1, 1, 0, encoding="ULAW"))
    assert ratio_db((2 * loud).clamp(-1, 1), read_audio(tmp_path / "u.wav")[0]) > 25
    write_audio(tmp_path / "f.wav", 2 * loud, 8000, like=AudioInfo(None, 1, 1, 0, encoding="FLOAT"))
    assert torch.equal(read_audio(tmp_path / "f.wav")[0], 2 * loud)


@pytest.mark.parametrize(
    "name, like, expected",
    [
        ("a.flac", "PCM_24", ("FLAC", "PCM_24")), ("a.flac", "DOUBLE", ("FLAC", "PCM_24")),
        ("a.wav", "VORBIS", ("WAV", "PCM_16")),
        ("a.WAV", "PCM_32", ("WAV", "PCM_32")), ("a.aif", "PCM_16", ("AIFF", "PCM_16")),
        ("a.opus", "PCM_16", ("OGG", "OPUS")),
        ("a.ogg", "PCM_16", ("OGG", "VORBIS")), ("a.m4a", "PCM_16", ("M4A", "AAC")),
        ("a.wav", "ALAC_24", ("WAV", "PCM_24")),
    ],
)
def test_another_suffix_keeps_depth_where_it_can(tmp_path, name, like, expected):
    write_audio(tmp_path / name, tone(4800, 1, 48000), 48000, like=AudioInfo(None, 1, 1, 0, encoding=like))
    info = audio_info(tmp_path / name)
    assert (info.container, info.encoding) == expected and info.sample_rate == 48000


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3", "m4a", "g722"])
@pytest.mark.parametrize("block_length, overlap", [(1000, 0), (4096, 1024), (70000, 100), (10**6, 7)])
def test_blocks_equal_the_whole(tmp_path, suffix, block_length, overlap):
    write_audio(tmp_path / f"a.{suffix}", tone(150000), 16000)
    whole, _ = read_audio(tmp_path / f"a.{suffix}")
    blocks = list(read_blocks(tmp_path / f"a.{suffix}", block_length=block_length, overlap=overlap))
    starts = [index * (block_length - overlap) for index in range(len(blocks))]
    assert all(torch.equal(block, whole[:, start : start + block_length]) for start, block in zip(starts, blocks))
    assert starts[-1] + blocks[-1].shape[1] == whole.shape[1]
    assert all(block.shape[1] == block_length for block in blocks[:-1])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "m4a", "g722"])
def test_a_part_equals_that_part_of_the_whole(tmp_path, suffix):
    write_audio(tmp_path / f"a.{suffix}", tone(50000), 16000)
    whole, _ = read_audio(tmp_path / f"a.{suffix}")
    for start, frames in ((0, 10), (12345, 6789), (49990, 100), (60000, 5), (20000, None)):
        part, _ = read_audio(tmp_path / f"a.{suffix}", start=start, frames=frames)
        expected = whole[:, start:][:, :frames]
        assert part.shape == expected.shape
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-4)


def test_blocks_refuse_an_overlap_that_never_advances(tmp_path):
    with pytest.raises(ValueError, match="overlap"):
        next(read_blocks(tmp_path / "a.wav", block_length=10, overlap=10))


def test_reading_at_another_rate(tmp_path):
    write_audio(tmp_path / "a.wav", tone(44100, 2, 44100), 44100)
    waveform, rate = read_audio(tmp_path / "a.wav", sample_rate=16000)
    assert waveform.shape == (2, 16000) and rate == 16000
    assert ratio_db(tone(16000, 2, 16000)[:, 200:-200], waveform[:, 200:-200]) > 60


def wav_header(frames: int, channels: int = 1, data: int | None = None) -> bytes:
    "The first 44 bytes of a 16-bit WAV file at 8 kHz."
    size = 2 * frames * channels if data is None else data
    form = struct.pack("<HHIIHH", 1, channels, 8000, 16000 * channels, 2 * channels, 16)
    riff = b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1))
    return riff + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)


def damaged(folder: Path, kind: str) -> Path:
    "A file that is broken in one way."
    suffix = kind.split("-")[1] if "-" in kind else "wav"
    path = folder / f"bad.{suffix}"
    if kind.startswith("cut"):
        write_audio(path, tone(96000, 1, 48000), 16000 if suffix == "g722" else 48000)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 6 // 10])
    elif kind.startswith("text"):
        path.write_text("Dear Sir or Madam,\n" * 300)
    elif kind.startswith("random"):
        path.write_bytes(numpy.random.default_rng(0).bytes(50000))
    elif kind.startswith("empty"):
        path.touch()
    elif kind == "channels":
        path.write_bytes(wav_header(100, 0) + bytes(200))
    elif kind in ("nan", "inf"):
        soundfile.write(path, numpy.array([0, float(kind), 0.5]), 8000, "FLOAT")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind, says",
    [
        ("missing", "no such file"), ("folder", "is a folder"), ("empty", "empty"), ("empty-m4a", "empty"),
        ("empty-g722", "empty"),
        ("text", "not readable"), ("text-flac", "no audio"), ("text-m4a", "not readable"),
        ("random-ogg", "not readable"),
        ("channels", "channel"), ("nan", "NaN"), ("inf", "NaN or infinite"), ("cut", "cut off"),
        ("cut-aiff", "cut off"),
        ("cut-w64", "cut off"), ("cut-rf64", "cut off"), ("cut-flac", "copy it again"), ("cut-mp3", "copy it again"),
        ("cut-m4a", "not readable"), ("cut-mka", "cut off"), ("cut-webm", "cut off"), ("cut-au", "cut off"),
        ("cut-ogg", "cut off"), ("cut-opus", "cut off"),
    ],
)
def test_broken_files_are_named_with_the_reason(tmp_path, kind, says):
    path = damaged(tmp_path, kind)
    with pytest.raises(AudioError, match=says) as caught:
        read_audio(path)
    assert str(caught.value).startswith(str(path)) and ";" in str(caught.value)
    with pytest.raises(AudioError, match=says):
        list(read_blocks(path, block_length=1000))


def test_a_stream_of_unknown_length_is_no_damage(tmp_path):
    for promise in (0xFFFFFFFF, 0x7FFFF000):
        (tmp_path / "a.wav").write_bytes(wav_header(0, data=promise) + bytes(2000))
        assert read_audio(tmp_path / "a.wav")[0].shape == (1, 1000)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
@pytest.mark.parametrize("fault", ["nan", "channels", "interrupt"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, suffix, fault):
    target = tmp_path / f"a.{suffix}"
    write_audio(target, tone(3000), 16000)
    before = target.read_bytes()
    wrong = {"nan": torch.full((1, 10), torch.nan), "channels": torch.zeros(2, 10), "interrupt": tone(10)}[fault]
    with pytest.raises((AudioError, KeyboardInterrupt)), AudioWriter(target, AudioInfo(None, 16000, 1, 0)) as writer:
        writer.write(tone(5000))
        writer.write(wrong)
        raise KeyboardInterrupt
    assert target.read_bytes() == before and os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("way", ["same", "spelled", "link", "hard link"])
def test_the_source_is_never_overwritten(tmp_path, monkeypatch, way):
    source = tmp_path / "a.wav"
    write_audio(source, tone(100), 16000)
    before, target = source.read_bytes(), tmp_path / "b.wav"
    monkeypatch.chdir(tmp_path)
    if way == "link":
        target.symlink_to(source)
    elif way == "hard link":
        target.hardlink_to(source)
    else:
        target = source if way == "same" else Path("a.wav")
    with pytest.raises(AudioError, match="overwrite"):
        write_audio(target, tone(100), 16000, like=audio_info(source))
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "name, shape, sample_rate, says",
    [
        ("a.txt", (1, 9), 8000, "no way to write"), ("a", (1, 9), 8000, "without a suffix"),
        ("a.raw", (1, 9), 8000, "no way"),
        ("a.wma", (1, 9), 8000, "no way"), ("no/a.wav", (1, 9), 8000, "folder"), ("a.wav", (0, 9), 8000, "channel"),
        ("a.webm", (1, 9), 44100, "48000 Hz"), ("a.g722", (2, 9), 16000, "1 channels"),
        ("a.mp3", (3, 9), 44100, "cannot be written"),
        ("a.mp3", (1, 9), 96000, "cannot be written"), ("a.m4a", (1, 9), 12345, "cannot be written"),
        ("a.wav", (1, 2, 9), 8000, "expected"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, shape, sample_rate, says):
    with pytest.raises(AudioError, match=says) as caught:
        write_audio(tmp_path / name, torch.zeros(shape), sample_rate)
    assert str(tmp_path / name) in str(caught.value) and os.listdir(tmp_path) == []


def test_the_writer_saves_block_by_block_what_a_single_write_saves(tmp_path):
    waveform = tone(30000, 2)
    for suffix in ("wav", "flac", "m4a"):
        write_audio(tmp_path / f"a.{suffix}", waveform, 16000)
        with AudioWriter(tmp_path / f"b.{suffix}", audio_info(tmp_path / f"a.{suffix}")) as writer:
            for block in waveform.split(777, dim=1):
                writer.write(block)
        assert torch.equal(read_audio(tmp_path / f"a.{suffix}")[0], read_audio(tmp_path / f"b.{suffix}")[0])


def test_the_target_gets_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_audio(tmp_path / "a.wav", tone(10), 8000)
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_two_hours_pass_in_flat_memory(tmp_path):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    minute = tone(8000 * 60, 1, 8000)
    before = most = resident()
    with AudioWriter(tmp_path / "long.wav", AudioInfo(None, 8000, 1, 0)) as writer:
        for _ in range(120):
            writer.write(minute)
            most = max(most, resident())
    with AudioWriter(tmp_path / "copy.wav", audio_info(tmp_path / "long.wav")) as writer:
        for block in read_blocks(tmp_path / "long.wav", block_length=2**18):
            writer.write(block)
            most = max(most, resident())
    assert writer.frames == 120 * minute.shape[1] == audio_info(tmp_path / "copy.wav").frames
    assert most - before < 50e6, "the samples alone are 230 MB"


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "m4a"])
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_lossy_containers_keep_the_level(tmp_path, suffix, rate):
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(2 * rate) / rate)[None]
    write_audio(tmp_path / f"tone.{suffix}", tone, rate)
    back, _ = read_audio(tmp_path / f"tone.{suffix}")
    assert float((back * tone).sum() / tone.square().sum()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.999])
def test_an_ogg_file_cut_anywhere_is_noticed(tmp_path, suffix, kept):
    write_audio(tmp_path / f"a.{suffix}", tone(240000, 1, 48000), 48000)
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"b.{suffix}").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(AudioError, match="cut off"):
        audio_info(tmp_path / f"b.{suffix}")


@pytest.mark.parametrize("wrong", [{"start": -5}, {"frames": -5}, {"sample_rate": 0}])
def test_negative_counts_are_refused_before_reading(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        read_audio(tmp_path / "missing.wav", **wrong)


def test_a_pipe_is_no_recording(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="something else"):
        read_audio(tmp_path / "a.wav")


def test_an_array_is_written_like_a_tensor(tmp_path):
    write_audio(tmp_path / "a.wav", tone(100).numpy(), 8000)
    write_audio(tmp_path / "b.wav", tone(100), 8000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_the_longest_name_is_no_longer_while_it_is_written(tmp_path):
    target = tmp_path / f"{'a' * 251}.wav"
    write_audio(target, tone(100), 8000)
    assert os.listdir(tmp_path) == [target.name]


def test_a_known_file_is_not_counted_again(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.m4a", tone(5000), 16000)
    info, (whole, _) = audio_info(tmp_path / "a.m4a"), read_audio(tmp_path / "a.m4a")
    monkeypatch.setattr("specdehaze.files.audio_info", None)
    assert torch.equal(read_audio(tmp_path / "a.m4a", info=info)[0], whole)
    assert torch.equal(torch.cat(list(read_blocks(tmp_path / "a.m4a", block_length=999, info=info)), dim=1), whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process with a limit of its own")
@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("missing", [1, 100, 3000])
def test_a_disk_that_is_full_leaves_the_old_file(tmp_path, name, missing):
    import resource

    path = tmp_path / name
    write_audio(path, tone(30000), 16000)
    before, room = path.read_bytes(), path.stat().st_size - missing
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            write_audio(path, tone(30000), 16000)
        except AudioError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [name]
