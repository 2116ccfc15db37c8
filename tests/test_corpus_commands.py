"Corpora and caches from the shell: what is printed, what is refused, and what Ctrl-C leaves behind."

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from source_tree import ROOT
from typer.testing import CliRunner

from specdehaze.audio import write_audio
from specdehaze.cache import CachedPairs
from specdehaze.cli import app
from specdehaze.corpus import Corpus

pytestmark = pytest.mark.usefixtures("plain_output")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def sums(root: Path) -> str:
    return (root / "SHA256SUMS").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A small hum corpus, from the shell."
    root = tmp_path_factory.mktemp("corpora") / "hum"
    result = run("corpus", "build", "--root", root, "--kind", "hum", "--workers", 1)
    assert result.exit_code == 0, result.output
    return root, result


def test_build_says_what_it_made(built):
    root, result = built
    assert "recorded hum 4" in result.stdout and "no pause 1" in result.stdout
    assert Corpus(root).digest[:16] in result.stdout.splitlines()[-1]


def test_sums_are_those_of_the_files(built):
    root, _ = built
    for line in sums(root).splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest


def test_building_again_changes_nothing(built):
    root, first = built
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert run("corpus", "build", "--root", root, "--kind", "hum", "--workers", 1).stdout == first.stdout
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "noise"], "choose hum or voice"),
        (["--profile", "huge"], "smoke, small, full"),
        (["--source", "nobody"], "no source is called 'nobody'"),
        (["--source", "voices"], "voices=FOLDER"),
        (["--source", "voices=nowhere"], "no such folder"),
        (["--sample-rate", "100"], "8000 to 192000"),
    ],
)
def test_what_makes_no_sense_is_refused_with_advice(tmp_path, arguments, said):
    result = run("corpus", "build", "--root", tmp_path / "c", "--workers", 1, *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output
    assert not list((tmp_path / "c").glob("**/*.flac"))


def test_sources_of_ones_own(tmp_path):
    for number, voice in enumerate(("anna", "bert", "carl")):
        (tmp_path / "takes" / voice).mkdir(parents=True)
        tone = torch.sin(2 * torch.pi * (300 + 50 * number) * torch.arange(32000) / 16000)
        bursts = 0.3 * tone * (torch.arange(32000) % 8000 < 4000) + 1e-4 * torch.randn(32000)
        write_audio(tmp_path / "takes" / voice / "a.wav", bursts + 0.01 * torch.randn(32000) * bursts, 16000)
    given = f"voices={tmp_path / 'takes'}"
    result = run("corpus", "build", "--root", tmp_path / "c", "--source", given, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert {take.voice for take in Corpus(tmp_path / "c").takes} >= {"anna", "bert", "carl"}


def test_a_cache_of_a_corpus(built, tmp_path):
    root, _ = built
    result = run("preprocess", "--corpus", root, "--cache-dir", tmp_path / "cache", "--workers", 1)
    assert result.exit_code == 0 and "40 pairs (train 16, validation 8, test 16)" in result.stdout
    crop = CachedPairs(tmp_path / "cache", "test", seconds=None)[0]
    mix = Corpus(root).load(Corpus(root).mixes("test")[0])
    assert torch.allclose(crop.clean, mix.clean[0], atol=2**-15)


def test_a_cache_of_two_folders(tmp_path):
    for folder, letter in (("noisy", "n"), ("noise", "v")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            sound = torch.randn(1, 16000, generator=torch.Generator().manual_seed(number)) * 0.1
            write_audio(tmp_path / folder / f"{letter}{number:04}.wav", sound, 16000)
    call = ["preprocess", "--noisy-dir", tmp_path / "noisy", "--noise-dir", tmp_path / "noise", "--workers", 1]
    result = run(*call, "--cache-dir", tmp_path / "cache", "--sample-rate", 16000)
    assert result.exit_code == 0 and "3 pairs" in result.stdout
    (tmp_path / "noise" / "v0002.wav").unlink()
    result = run(*call, "--cache-dir", tmp_path / "other")
    assert result.exit_code == 2 and "n0002.wav" in result.stderr and not (tmp_path / "other").exists()
    write_audio(tmp_path / "noise" / "v0002.wav", torch.randn(1, 8000), 16000)
    result = run(*call, "--cache-dir", tmp_path / "other")
    assert result.exit_code == 2 and "v0002.wav" in result.stderr and not (tmp_path / "other").exists()


@pytest.mark.parametrize("missing", ["--noisy-dir", "--noise-dir", "--corpus"])
def test_pairs_come_from_one_place(tmp_path, missing):
    given = {"--noisy-dir": [tmp_path], "--noise-dir": [tmp_path], "--corpus": [tmp_path, "--noisy-dir", tmp_path]}
    result = run("preprocess", "--cache-dir", tmp_path / "cache", missing, *given[missing])
    assert result.exit_code == 2 and "--noisy-dir and --noise-dir together" in result.stderr


def test_no_corpus_in_the_folder(tmp_path):
    result = run("preprocess", "--cache-dir", tmp_path / "cache", "--corpus", tmp_path)
    assert result.exit_code == 2 and "specdehaze corpus build" in result.stderr


def test_an_interrupted_build_is_gone_on_with(built, tmp_path):
    root, goal = tmp_path / "hum", sums(built[0])
    call = ["corpus", "build", "--root", str(root), "--kind", "hum", "--workers", "1"]
    code = f"from specdehaze.cli import app; app({call})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    end = time.monotonic() + 60
    while not list(root.glob("noisy/*.flac")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if process.returncode:  # it may have been quicker than we
        assert process.returncode == 130 and re.search("interrupted", errors), errors
    assert run("corpus", "build", "--root", root, "--kind", "hum", "--workers", 1).exit_code == 0
    assert sums(root) == goal and not list(root.rglob(".*"))
