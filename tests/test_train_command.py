"Training from the shell: killed and resumed, refused with advice, stopped with Ctrl-C."

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from source_tree import ROOT
from typer.testing import CliRunner

from specdehaze.cache import build_cache
from specdehaze.checkpoints import PRESETS, load_network, read_checkpoint
from specdehaze.cli import app
from specdehaze.pairs import CacheItem, CacheSettings
from specdehaze.tables import read_table
from specdehaze.train_command import cache_of, process_number

pytestmark = pytest.mark.usefixtures("plain_output")
TOY = replace(PRESETS["unet_20"], base=2, n_fft=512)
# Started as a script, so that Lightning can start it again for a second process.
SCRIPT = """
from dataclasses import replace
from specdehaze.checkpoints import PRESETS
from specdehaze.cli import app
PRESETS["toy"] = replace(PRESETS["unet_20"], base=2, n_fft=512)
app(prog_name="specdehaze")
"""


def sounds(seed: int):
    return tuple(0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", TOY)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train_command") / "cache"
    splits = ("train",) * 4 + ("validation",) * 2
    items = [CacheItem(f"p{n}", split, str(n), lambda n=n: sounds(n)) for n, split in enumerate(splits)]
    build_cache(items, folder, CacheSettings(sample_rate=16_000))
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def call(cache: Path, run_dir: Path, *more) -> list[str]:
    common = ["--cache-dir", cache, "--preset", "toy", "--batch-size", 4, "--epochs", 2, "--device", "cpu"]
    return [*map(str, [*common, "--run-dir", run_dir, *more])]


def start(folder: Path, arguments: list[str]) -> subprocess.Popen:
    (folder / "specdehaze_script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "specdehaze_script.py"), "train", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def state(run_dir: Path, epoch: int) -> dict[str, torch.Tensor]:
    return read_checkpoint(run_dir / "checkpoints" / f"toy_epoch_{epoch:03}.ckpt")["state_dict"]


def test_two_epochs_and_what_they_leave(cache, tmp_path):
    first = run(*call(cache, tmp_path / "run"))
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert [line[:12] for line in lines[:2]] == ["epoch 1 of 2", "epoch 2 of 2"] and not first.stderr
    best = Path(lines[2].removeprefix("finished, best epoch: "))
    assert load_network(best).preset == TOY
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "checkpoints", "metrics.csv", "metrics.json", "epoch_001.png", "epoch_002.png", "curves.png",
    }
    again = run(*call(cache, tmp_path / "run"))
    assert again.exit_code == 0 and again.stdout.splitlines() == lines[2:]


def test_stopped_and_gone_on_with(cache, tmp_path):
    arguments = call(cache, tmp_path / "run", "--epoch-crops", 80)
    process = start(tmp_path, arguments)
    wait_for(tmp_path / "run/epoch_001.png", process)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors and "the same command goes on" in errors
    rest = run(*arguments)
    assert rest.exit_code == 0 and "epoch 1 of 2" not in rest.stdout, rest.output
    assert [row["epoch"] for row in read_table(tmp_path / "run/metrics.csv")] == [1, 2]
    whole = run(*call(cache, tmp_path / "whole", "--epoch-crops", 80))
    assert whole.exit_code == 0
    one, other = state(tmp_path / "run", 2), state(tmp_path / "whole", 2)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_from_the_shell(cache, tmp_path):
    process = start(tmp_path, call(cache, tmp_path / "run", "--devices", 2, "--strategy", "ddp"))
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert [line[:12] for line in out.splitlines()[:2]] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert out.count("epoch 1 of 2") == 1 and "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "toyy"], "did you mean 'toy'"),
        (["--lr", "0"], "learning_rate must be above 0"),
        (["--seconds", "-1"], "seconds must be above 0"),
        (["--normalise", "rms"], "peak or none"),
        (["--logger", "paper"], "csv, tensorboard or wandb"),
        (["--device", "abacus"], "'cpu' or 'auto'"),
        (["--corpus", "somewhere"], "one of the two"),
        (["--cache-dir", "nowhere"], "no cache here"),
        (["--strategy", "deepspeed"], "not possible here"),
        (["--strategy", "ddp_spawn"], "try ddp"),
        (["--batch-size", "3", "--devices", "2", "--strategy", "ddp"], "can not be shared by 2"),
    ],
)
def test_what_makes_no_sense_is_refused_with_advice(cache, tmp_path, arguments, said):
    result = run(*call(cache, tmp_path / "run"), *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_other_settings_in_the_same_folder(cache, tmp_path):
    assert run(*call(cache, tmp_path / "run")).exit_code == 0
    result = run(*call(cache, tmp_path / "run", "--seed", 1, "--no-augment"))
    assert result.exit_code == 2 and "augment True, not False; seed 0, not 1" in result.stderr


def test_a_damaged_checkpoint_is_named(cache, tmp_path):
    assert run(*call(cache, tmp_path / "run")).exit_code == 0
    for path in (tmp_path / "run/checkpoints").iterdir():
        path.write_bytes(b"rubble")
    result = run(*call(cache, tmp_path / "run"))
    assert result.exit_code == 2 and "toy_epoch_002.ckpt" in result.stderr and "another folder" in result.stderr


def test_lightning_is_missing(cache, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lightning"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "specdehaze.training", raising=False)
    monkeypatch.setitem(sys.modules, "lightning", None)
    result = run(*call(cache, tmp_path / "run"))
    assert result.exit_code == 1 and "pip install 'specdehaze[train]'" in result.stderr


def test_a_corpus_gets_a_cache_once(tmp_path):
    root = tmp_path / "voices"
    made = CliRunner().invoke(app, ["corpus", "build", "--root", str(root), "--workers", "1"])
    assert made.exit_code == 0
    done = run("--corpus", root, "--preset", "toy", "--epochs", 1, "--run-dir", tmp_path / "run")
    assert done.exit_code == 0, done.output
    files = [*(tmp_path / "voices-cache").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert cache_of(root) == tmp_path / "voices-cache"
    assert before == {path: path.stat().st_mtime_ns for path in files}
    lost, cut = sorted((tmp_path / "voices-cache").glob("*.pt"))[:2]
    contents = {path: path.read_bytes() for path in (lost, cut)}
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    cache_of(root)
    assert contents == {path: path.read_bytes() for path in (lost, cut)}


@pytest.mark.parametrize(
    ("names", "number"), [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"RANK": "5", "LOCAL_RANK": "1"}, 5)]
)
def test_which_process_this_is(monkeypatch, names, number):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert process_number() == number


def test_help_needs_neither_torch_nor_lightning():
    quiet = "import sys, specdehaze.cli, specdehaze.dehazer; sys.exit('lightning' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", quiet], env=environment).returncode == 0
    listed = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
    options = ("--cache-dir", "--corpus", "--preset", "--epochs", "--batch-size", "--lr", "--seed", "--devices",
               "--num-nodes", "--strategy", "--logger", "--seconds", "--run-dir", "--epoch-crops")  # fmt: skip
    assert [option for option in options if not re.search(rf"{option}\b", listed)] == []


def test_the_voice_network_is_trained_from_a_bank(tmp_path, monkeypatch):
    from specdehaze.audio import read_audio
    from specdehaze.bank import Sound, computed_streams, write_bank
    from specdehaze.recordings import resource_folder
    from specdehaze.voice_network import VoicePreset

    monkeypatch.setitem(PRESETS, "voice", VoicePreset(units=8, layers=1))
    voice = read_audio(resource_folder("data") / "speech" / "es_01.flac")[0][0]
    for name in ("bank", "bank-validation"):
        write_bank(tmp_path / name, "voices", [Sound("allison", "speech", "", voice)])
        write_bank(tmp_path / name, "noises", computed_streams(colours=1, hums=1))
    call = ["--bank", tmp_path / "bank", "--preset", "voice", "--run-dir", tmp_path / "run", "--seconds", 0.5]
    first = run(*call, "--steps", 2)
    assert first.exit_code == 0 and "step 2 of 2" in first.stdout
    assert run(*call, "--steps", 3).exit_code == 0
    assert [row["step"] for row in read_table(tmp_path / "run" / "metrics.csv")] == [2, 3]
    other = run(*call, "--steps", 3, "--lr", 0.1)
    assert other.exit_code == 2 and "choose another folder" in other.stderr
    assert load_network(tmp_path / "run" / "voice.ckpt").preset == PRESETS["voice"]


def test_a_bank_is_for_the_voice_network_alone(tmp_path):
    refused = run("--bank", tmp_path, "--preset", "toy")
    assert refused.exit_code == 2 and "--bank" in refused.stderr
    for stray in (["--source", f"voices={tmp_path}"], ["--start", "voice"]):
        refused = run("--corpus", tmp_path, "--preset", "toy", *stray)
        assert refused.exit_code == 2 and stray[0] in refused.stderr
