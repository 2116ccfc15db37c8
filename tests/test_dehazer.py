"The dehazer: what goes in comes out in kind, blocks leave no seams, and no recording is lost."

import math

import numpy
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tree import ROOT

from specdehaze.audio import AudioError, audio_info, level_db, mix_at_snr, read_audio, write_audio
from specdehaze.dehazer import Dehazer
from specdehaze.evaluation import si_sdr
from specdehaze.hum import Hum
from specdehaze.methods import (
    METHODS,
    Method,
    find_method,
    hum_in_file,
    list_methods,
    merge_hums,
    register,
    stft_for,
    survey_hum,
)

MASKS = [method.name for method in list_methods() if method.kind == "mask"]
HUMS = [method.name for method in list_methods() if method.only_hum]


def speech_in(noise: str, snr_db: float, *, seconds: int = 8, clip: str = "fr_01") -> tuple[torch.Tensor, torch.Tensor]:
    "A voice and the same voice in noise, (1, samples) at 16 kHz."
    clean, rate = read_audio(ROOT / f"data/speech/{clip}.flac", frames=16_000 * seconds)
    disturbance, _ = read_audio(ROOT / f"data/noise/{noise}.flac", sample_rate=rate)
    disturbance = disturbance.mean(0, keepdim=True).repeat(1, 1 + clean.shape[-1] // disturbance.shape[-1])
    return clean, mix_at_snr(clean, disturbance[:, : clean.shape[-1]], snr_db)[0]


def humming(seconds: float, rate: int, *, frequency: float = 50.0, level: float = 0.1) -> torch.Tensor:
    "Faint white noise with a steady hum of three harmonics, (1, samples)."
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    hum = sum(level / k * torch.sin(2 * math.pi * k * frequency * time + k) for k in (1, 2, 3))
    return (hum + 0.003 * torch.randn(time.shape)).float()[None]


def relative_db(difference: torch.Tensor, reference: torch.Tensor) -> float:
    return float(level_db(difference) - level_db(reference))


# ---- in memory


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=12)
@given(
    length=st.one_of(st.integers(0, 40), st.integers(41, 6000)),
    channels=st.sampled_from([None, 1, 2, 5]),
    rate=st.sampled_from([4000, 8000, 11_025, 44_100]),
    number=st.sampled_from(["float16", "float32", "float64", "int16", "int32"]),
    as_array=st.booleans(),
)
def test_sound_comes_back_in_kind(method, length, channels, rate, number, as_array):
    shape = (length,) if channels is None else (channels, length)
    sound = 0.1 * torch.randn(shape, dtype=torch.float64)
    dtype = getattr(torch, number)
    sound = sound.to(dtype) if dtype.is_floating_point else (sound * -torch.iinfo(dtype).min).clamp(-1e9, 1e9).to(dtype)
    given_sound = sound.numpy() if as_array else sound
    before = sound.clone()
    clean = Dehazer(method, device="cpu")(given_sound, rate)
    assert (type(clean), clean.dtype, clean.shape) == (type(given_sound), given_sound.dtype, given_sound.shape)
    assert torch.as_tensor(clean).double().isfinite().all()
    assert torch.equal(sound, before), "the input was changed"


@pytest.mark.parametrize("number", ["<i2", ">i2", ">i4", "<f4", ">f4", ">f8"])
@pytest.mark.parametrize("view", [numpy.s_[:, ::-1], numpy.s_[::-1, ::3], numpy.s_[0, ::-2], numpy.s_[:, 0:0]])
def test_arrays_of_any_layout_and_byte_order(number, view):
    plain = 0.1 * numpy.random.default_rng(0).standard_normal((2, 3000))
    plain = plain * numpy.iinfo(number).max if "i" in number else plain
    sound, native = plain.astype(number)[view], plain.astype(number[1:])[view].copy()
    clean = Dehazer("wiener")(sound, 8000)
    assert (clean.dtype, clean.shape) == (sound.dtype, sound.shape)
    numpy.testing.assert_array_equal(clean, Dehazer("wiener")(native, 8000))
    assert not clean.size or abs(clean).max() > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [torch.float32, torch.float64, torch.int32])
def test_strength_zero_is_the_recording_itself(method, number):
    sound = (torch.randn(2, 5000, dtype=torch.float64) * 1e5).to(number)
    kept = Dehazer(method, strength=0.0)(sound, 16_000)
    assert torch.equal(kept, sound) and kept.data_ptr() != sound.data_ptr()


@pytest.mark.parametrize("method", METHODS)
def test_strength_mixes_the_recording_with_the_cleaned(method):
    noisy = humming(2.0, 8000)
    full, part = (Dehazer(method, strength=strength)(noisy, 8000) for strength in (1.0, 0.3))
    torch.testing.assert_close(part, 0.7 * noisy + 0.3 * full, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", MASKS)
@pytest.mark.parametrize("gain", [1e-3, 0.5, 100.0])
def test_louder_in_is_louder_out(method, gain):
    _, noisy = speech_in("rain", 5.0, seconds=2)
    dehazer = Dehazer(method)
    clean = dehazer(noisy, 16_000)
    assert relative_db(dehazer(gain * noisy, 16_000) / gain - clean, clean) < -80


@pytest.mark.parametrize("method", MASKS)
def test_stereo_image_is_kept(method):
    _, noisy = speech_in("rain", 5.0, seconds=2)
    stereo = torch.cat([noisy, -0.3 * noisy])
    left, right = Dehazer(method)(stereo, 16_000)
    torch.testing.assert_close(right, -0.3 * left, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_channels_are_treated_alike(method):
    sound = torch.cat([humming(1.5, 8000), 0.2 * torch.randn(1, 12_000)])
    dehazer = Dehazer(method)
    near = {"atol": 5e-5 if method == "auto" else 1e-5, "rtol": 0}  # "auto" cleans what rounding left of "hum"
    torch.testing.assert_close(dehazer(sound.flip(0), 8000), dehazer(sound, 8000).flip(0), **near)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_clips(method):
    clips = torch.stack([humming(1.0, 8000), 0.1 * torch.randn(1, 8000)])
    dehazer = Dehazer(method)
    apart = torch.stack([dehazer(clip, 8000) for clip in clips])
    torch.testing.assert_close(dehazer(clips, 8000), apart, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_silence_stays_silent(method):
    assert not Dehazer(method)(torch.zeros(2, 9000), 16_000).any()


@pytest.mark.parametrize("noise", ["rain", "furnace"])
@pytest.mark.parametrize("clip", ["fr_01", "fr_04"])
def test_the_default_brings_a_voice_closer_to_the_clean_one(noise, clip):
    clean, noisy = speech_in(noise, 5.0, clip=clip)
    assert si_sdr(Dehazer()(noisy, 16_000), clean) > si_sdr(noisy, clean) + 4.0


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_spectrograms_have_the_same_durations_at_every_rate(rate):
    stft = stft_for(rate)
    assert stft.n_fft / rate == pytest.approx(0.032, rel=0.02) and stft.hop_length * 4 == stft.n_fft
    rest = stft.n_fft
    for prime in (2, 3, 5, 7, 11, 13):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1, "a large prime factor makes the transform slow"


@pytest.mark.parametrize("method", METHODS)
def test_layers_belong_together(method):
    noisy = humming(3.0, 16_000)
    layers = Dehazer(method, strength=0.5).layers(noisy[0].numpy(), 16_000)
    frames = 1 + math.ceil(48_000 / layers.hop_length)
    assert {layer.shape for layer in (layers.magnitude, layers.veil, layers.transmission)} == {(257, frames)}
    assert layers.transmission.min() >= 0 and layers.transmission.max() <= 1
    assert layers.veil.min() >= 0 and layers.veil.isfinite().all()
    torch.testing.assert_close(layers.clean, Dehazer(method, strength=0.5)(noisy, 16_000), atol=1e-6, rtol=0)
    if method in HUMS:
        assert layers.hum.present
        torch.testing.assert_close(noisy - 0.5 * layers.hum_waveform, layers.clean, atol=1e-6, rtol=0)
    elif METHODS[method].see:
        assert layers.hum is None and layers.hum_waveform is None
        spectrum = stft_for(16_000).forward(noisy) * (0.5 + 0.5 * layers.transmission)
        torch.testing.assert_close(stft_for(16_000).inverse(spectrum, 48_000), layers.clean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_layers_are_of_one_recording(method):
    with pytest.raises(AudioError, match=r"one recording.*\(3, 1, 4000\)"):
        Dehazer(method).layers(torch.randn(3, 1, 4000), 8000)


@pytest.mark.parametrize(
    "sound, reason",
    [
        (torch.tensor(1.0), "single number"),
        (numpy.array(1.0), "single number"),
        (torch.zeros(10, dtype=torch.uint8), "uint8"),
        (torch.zeros(10, dtype=torch.complex64), "complex64"),
        (torch.zeros(1000, 2), "transpose"),
        (torch.tensor([0.0, math.nan]), "NaN"),
        (torch.tensor([0.0, 1e20]), "full scale"),
        (numpy.array([0.0, math.inf]), "infinity"),
    ],
)
def test_what_is_no_sound_is_refused(sound, reason):
    with pytest.raises(AudioError, match=reason):
        Dehazer()(sound, 16_000)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="did you mean 'wiener'"):
        Dehazer("weiner")
    for strength in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="strength"):
            Dehazer(strength=strength)
    for rate in (0, -1, 16_000.5, math.nan):
        with pytest.raises(ValueError, match="sample rate"):
            Dehazer()(torch.zeros(10), rate)
    with pytest.raises(ValueError, match="'nowhere'"):
        Dehazer(device="nowhere")


def test_a_rate_may_come_as_a_float():
    noisy = torch.randn(8000)
    assert torch.equal(Dehazer()(noisy, 16_000.0), Dehazer()(noisy, 16_000))


@pytest.mark.parametrize("method", ["mmse_lsa", "voice"])
def test_cleaning_stays_exact_under_autocast(method):
    noisy = torch.randn(8000)
    with torch.autocast("cpu", torch.bfloat16):
        cleaned = Dehazer(method)(noisy, 16_000)
    assert torch.equal(cleaned, Dehazer(method)(noisy, 16_000))


def test_a_registered_method_is_found_and_used(monkeypatch):
    monkeypatch.setattr("specdehaze.methods.METHODS", dict(METHODS))
    mute = register(Method("mute", "leaves nothing", "baseline", lambda waveform, rate, state: 0 * waveform))
    assert find_method("mute") is mute and mute in list_methods()
    assert not Dehazer("mute")(torch.ones(100), 8000).any()


def test_a_survey_sees_the_whole_before_a_part_is_cleaned(tmp_path):
    def loudest(blocks, rate):
        return max(float(block.abs().max()) for block in blocks)

    normalise = Method("normalise", "", "baseline", lambda waveform, rate, peak: waveform / peak, survey=loudest)
    sound = torch.linspace(-0.1, 0.5, 20_000)[None]
    write_audio(tmp_path / "a.wav", sound, 4000)
    Dehazer(normalise, strength=0.5).dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav", block_seconds=1.0)
    torch.testing.assert_close(read_audio(tmp_path / "b.wav")[0], sound * 1.5, atol=1e-4, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("method", METHODS)
def test_gpu_and_cpu_agree(method):
    _, noisy = speech_in("rain", 5.0, seconds=3)
    noisy = noisy + humming(3.0, 16_000)
    on_cpu, on_gpu = (Dehazer(method, device=device)(noisy, 16_000) for device in ("cpu", "cuda"))
    assert on_gpu.device.type == "cpu" and relative_db(on_gpu - on_cpu, on_cpu) < -60


# ---- files


@pytest.mark.parametrize("method", MASKS)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_in_blocks_equals_the_whole(method, rate, tmp_path):
    _, noisy = speech_in("rain", 10.0, seconds=6)
    noisy = torch.cat([noisy, 0.5 * noisy.roll(4000, -1)], 0).repeat(1, 2)[:, : 12 * rate]
    info = write_float(tmp_path / "noisy.wav", noisy, rate)
    dehazer = Dehazer(method)
    done = dehazer.dehaze_file(info.path, tmp_path / "clean.wav", block_seconds=2.5)
    whole, blocks = dehazer(noisy, rate), read_audio(tmp_path / "clean.wav")[0]
    assert relative_db(blocks - whole, whole) < -60
    assert done.level_before_db == pytest.approx(float(level_db(noisy)), abs=0.01)
    assert done.level_after_db == pytest.approx(float(level_db(whole)), abs=0.01)
    assert (done.sample_rate, done.channels, done.seconds) == (rate, 2, noisy.shape[-1] / rate)


@pytest.mark.parametrize("method", METHODS)
def test_in_memory_and_from_a_file_a_recording_is_cleaned_alike(method, tmp_path):
    rate = 4000
    sound = torch.cat([humming(33.0, rate), 0.5 * humming(33.0, rate)])
    write_float(tmp_path / "a.wav", sound, rate)
    dehazer = Dehazer(method, strength=0.8)
    dehazer.dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav")
    in_memory = dehazer(sound, rate)
    torch.testing.assert_close(in_memory, read_audio(tmp_path / "b.wav")[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(dehazer.layers(sound, rate).clean, in_memory, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_long_clip_equals_what_the_method_makes_of_it_at_once(method):
    rate, known = 4000, METHODS[method]
    sound = humming(40.0, rate)
    at_once = known.clean(sound, rate, known.survey([sound], rate) if known.survey else None)
    # A hum is fitted to each block, and the levels of a U-Net, each half as fine, start anew with each block.
    nearly = -40 if method in HUMS else -30 if known.kind == "network" else -60
    assert relative_db(Dehazer(method)(sound, rate) - at_once, sound) < nearly


def test_a_long_clip_is_cleaned_in_blocks():
    longest = []

    def listen(waveform, rate, state):
        longest.append(waveform.shape[-1])
        return waveform

    sound = torch.randn(2, 8000 * 60)
    assert torch.equal(Dehazer(Method("listen", "", "mask", listen, context_seconds=1.0))(sound, 8000), sound)
    assert len(longest) == 6 and max(longest) < 8000 * 13


@pytest.mark.parametrize("rate, channels", [(44_100, 2), (48_000, 6), (96_000, 2), (96_000, 8)])
def test_a_block_takes_no_more_memory_for_more_channels(rate, channels, tmp_path):
    sizes, lengths = [], []

    def listen(waveform, rate, state):
        sizes.append(waveform.numel())
        lengths.append(waveform.shape[-1] / rate)
        return waveform

    dehazer = Dehazer(Method("listen", "", "mask", listen, context_seconds=2.0))
    sound = 0.1 * torch.randn(channels, 15 * rate)
    assert torch.equal(dehazer(sound, rate), sound)
    write_float(tmp_path / "a.wav", sound, rate)
    dehazer.dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav")
    most = max(14.0 * 88_200, 6.0 * rate * channels) + 1.5 * rate * channels  # lengths are rounded up
    assert max(sizes) < most and max(lengths) > 6


def write_float(path, sound, rate):
    "A 32-bit float wav, so that writing rounds nothing."
    soundfile.write(path, sound.T.numpy(), rate, subtype="FLOAT")
    return audio_info(path)


def test_progress_grows_to_one(tmp_path):
    write_audio(tmp_path / "a.wav", humming(4.0, 8000), 8000)
    for method in ("wiener", "hum"):
        seen = []
        Dehazer(method).dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav", block_seconds=0.4, progress=seen.append)
        assert len(seen) >= 8 and seen == sorted(seen) and 0 < seen[0] < 0.5 and seen[-1] == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("samples", [0, 1, 100])
def test_the_shortest_files(method, samples, tmp_path):
    write_audio(tmp_path / "a.wav", 0.1 * torch.randn(2, samples), 8000)
    Dehazer(method).dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert read_audio(tmp_path / "b.wav")[0].shape == (2, samples)


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf])
def test_blocks_have_a_length(seconds, tmp_path):
    write_audio(tmp_path / "a.wav", humming(1.0, 8000), 8000)
    with pytest.raises(ValueError, match="block_seconds is a positive number"):
        Dehazer().dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav", block_seconds=seconds)
    with pytest.raises(ValueError, match="block_seconds is a positive number"):
        hum_in_file(tmp_path / "a.wav", block_seconds=seconds)
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".wav"])
@pytest.mark.parametrize("method", ["wiener", "hum"])
def test_strength_zero_copies_a_file(method, suffix, tmp_path):
    source, target, seen = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", []
    write_audio(source, humming(2.0, 16_000), 16_000)
    target.write_text("older")
    done = Dehazer(method, strength=0).dehaze_file(source, target, progress=seen.append)
    assert target.read_bytes() == source.read_bytes() and seen[-1] == 1
    level = float(level_db(read_audio(source)[0]))
    assert done.level_before_db == done.level_after_db == pytest.approx(level, abs=1e-3)
    assert sorted(tmp_path.iterdir()) == [source, target]
    Dehazer(method, strength=0).dehaze_file(source, tmp_path / "c.flac")
    assert audio_info(tmp_path / "c.flac").container == "FLAC"


def test_strength_zero_copies_no_file_onto_itself_and_none_that_is_damaged(tmp_path):
    write_audio(tmp_path / "a.wav", humming(1.0, 8000), 8000)
    (tmp_path / "damaged.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-2000])
    for source, target in (("a", "a"), ("damaged", "b")):
        with pytest.raises(AudioError, match=f"{source}.wav"):
            Dehazer(strength=0).dehaze_file(tmp_path / f"{source}.wav", tmp_path / f"{target}.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "damaged.wav"]


def test_a_failing_method_leaves_no_file(tmp_path):
    def stumble(waveform, rate, state):
        raise RuntimeError("stumbled")

    write_audio(tmp_path / "a.wav", humming(1.0, 8000), 8000)
    with pytest.raises(RuntimeError, match="stumbled"):
        Dehazer(Method("stumble", "", "mask", stumble)).dehaze_file(tmp_path / "a.wav", tmp_path / "out/b.wav")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_is_not_cleaned_onto_itself(tmp_path):
    write_audio(tmp_path / "a.wav", humming(1.0, 8000), 8000)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(AudioError, match="a.wav"):
        Dehazer().dehaze_file(tmp_path / "a.wav", tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == before


# ---- hum over a recording


def hum(fundamental: float, harmonics=(1, 2), *, present=True, confidence=0.9, drift_hz=0.0) -> Hum:
    levels = tuple(-30.0 - k for k in harmonics)
    return Hum(present, fundamental, tuple(harmonics), levels, confidence, drift_hz)


def test_blocks_vote_on_the_hum():
    merged = merge_hums([hum(50.02, (1, 2, 3)), hum(49.98, (1, 3)), hum(50.0, (1, 5)), hum(60, present=False)])
    assert merged.present and merged.fundamental == 50.0 and merged.harmonics == (1, 3)
    assert merged.levels_db == (-31.0, -33.0)


def test_the_drift_spans_what_the_fundamental_did_in_the_blocks():
    one, two, other = hum(50.0, drift_hz=0.02), hum(50.05, drift_hz=0.06), hum(60.0, confidence=0.1, drift_hz=0.5)
    assert merge_hums([one, two, other]).drift_hz == pytest.approx(0.09)
    assert merge_hums([one, other]).drift_hz == 0.02 and merge_hums([one]) == one


def test_a_hum_that_sweeps_is_told_with_its_drift():
    rate, seconds = 8000, torch.arange(60 * 8000, dtype=torch.float64) / 8000
    phase = 2 * math.pi * (49.95 * seconds + 0.1 / 60 * seconds**2 / 2)  # 49.95 to 50.05 Hz
    sound = sum(0.05 / k * torch.sin(k * phase) for k in range(1, 6)).float()[None] + 0.01 * torch.randn(1, 60 * rate)
    found = survey_hum(sound.split(15 * rate, -1), rate)
    assert found.drift_hz == pytest.approx(0.1, abs=0.015) and found.fundamental == pytest.approx(50.0, abs=0.01)
    assert found.level_db == pytest.approx(10 * math.log10(sum((0.05 / k) ** 2 / 2 for k in range(1, 6))), abs=0.2)


def test_a_block_that_hears_another_hum_is_outvoted_by_confidence():
    merged = merge_hums([hum(50, confidence=0.9), hum(60, confidence=0.4), hum(50.1, confidence=0.8)])
    assert merged.fundamental == pytest.approx(50.05)


def test_no_block_hums_no_hum():
    assert not merge_hums([hum(50, present=False), hum(60, present=False)]).present


def test_hum_is_found_in_a_recording_that_hums_in_most_blocks():
    rate = 8000
    blocks = [humming(4.0, rate, frequency=50.03), 0.1 * torch.randn(1, 4 * rate), humming(4.0, rate, frequency=50.03)]
    found = survey_hum([*blocks, torch.randn(1, 100)], rate)
    assert found.present and found.fundamental == pytest.approx(50.03, abs=0.02)


def test_hum_is_taken_out_of_a_file(tmp_path):
    rate = 8000
    sound = humming(12.0, rate)
    write_audio(tmp_path / "a.wav", sound, rate)
    assert hum_in_file(tmp_path / "a.wav", block_seconds=4.0).fundamental == pytest.approx(50.0, abs=0.02)
    done = Dehazer("hum").dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav", block_seconds=4.0)
    assert done.level_after_db < done.level_before_db - 20
    blocks, whole = read_audio(tmp_path / "b.wav")[0], Dehazer("hum")(read_audio(tmp_path / "a.wav")[0], rate)
    assert relative_db(blocks - whole, sound) < -40


@pytest.mark.parametrize("method", HUMS)
@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_a_file_without_hum_is_copied(tmp_path, method, suffix):
    write_audio(tmp_path / f"a{suffix}", 0.05 * torch.randn(1, 3 * 16_000), 16_000)
    done = Dehazer(method).dehaze_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert not done.finding.present and done.target.read_bytes() == done.source.read_bytes()
    assert done.untouched and done.level_after_db == done.level_before_db


def test_a_file_without_hum_is_cleaned_all_the_same_where_hum_is_not_all(tmp_path):
    write_audio(tmp_path / "a.wav", 0.05 * torch.randn(1, 3 * 16_000), 16_000)
    done = Dehazer("auto").dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert not done.finding.present and not done.untouched
    assert done.level_after_db < done.level_before_db - 10


def test_a_cleaned_file_tells_what_was_found(tmp_path):
    write_audio(tmp_path / "a.wav", humming(6.0, 8000), 8000)
    found = Dehazer("hum").dehaze_file(tmp_path / "a.wav", tmp_path / "b.wav").finding
    assert found == survey_hum([read_audio(tmp_path / "a.wav")[0]], 8000)
    assert Dehazer("wiener").dehaze_file(tmp_path / "a.wav", tmp_path / "c.wav").finding is None
    assert Dehazer("hum", strength=0).dehaze_file(tmp_path / "a.wav", tmp_path / "d.wav").finding is None
