"Whatever stops a training, the same call goes on with it; and what is broken or foreign is refused and left alone."

import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from source_tree import ROOT

from specdehaze import training
from specdehaze.augmentation import Pairs
from specdehaze.batches import TrainingError, TrainingSettings, hold_folder
from specdehaze.cache import CacheError, build_cache
from specdehaze.checkpoints import PRESETS, load_network, read_checkpoint
from specdehaze.evaluation import si_sdr
from specdehaze.pairs import CacheItem, CacheSettings
from specdehaze.tables import read_table
from specdehaze.training import si_sdr_rise, train

TOY = replace(PRESETS["unet_20"], base=2, n_fft=512)
SETTINGS = TrainingSettings("toy", epochs=4, batch_size=4, learning_rate=3e-3, warmup_steps=2)
BEGIN = """
from dataclasses import replace
from specdehaze.batches import TrainingSettings
from specdehaze.checkpoints import PRESETS
from specdehaze import training
PRESETS["toy"] = replace(PRESETS["unet_20"], base=2, n_fft=512)
settings = TrainingSettings("toy", epochs=4, batch_size=4, learning_rate=3e-3, warmup_steps=2)
"""


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", TOY)


def sounds(seed: int):
    generator = torch.Generator().manual_seed(seed)
    tone = 0.3 * torch.sin(2 * math.pi * (200 + 100 * seed) * torch.arange(32_000) / 16_000)
    noise = 0.1 * torch.randn(32_000, generator=generator)
    return tone + noise, noise


def make_cache(folder: Path, splits=("train",) * 5 + ("validation",) * 3, sample_rate: int = 16_000) -> Path:
    items = [CacheItem(f"p{n}", split, str(n), lambda n=n: sounds(n)) for n, split in enumerate(splits)]
    build_cache(items, folder, CacheSettings(sample_rate=sample_rate))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    "Ten crops, three clips."
    return make_cache(tmp_path_factory.mktemp("training") / "cache")


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    "A run that nothing has stopped."
    folder = tmp_path_factory.mktemp("whole")
    PRESETS["toy"] = TOY
    train(SETTINGS, cache, folder)
    del PRESETS["toy"]
    return folder


def weights(folder: Path, epoch: int = 4) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / f"toy_epoch_{epoch:03}.ckpt")["state_dict"]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_at(*place: int):
    def on_batch(epoch: int, batch: int, batches: int) -> None:
        if (epoch, batch) == place:
            raise RuntimeError("no power")

    return on_batch


def stopped(cache: Path, folder: Path, *place: int) -> Path:
    "A run that was stopped in the middle of an epoch."
    with pytest.raises(RuntimeError, match="no power"):
        train(SETTINGS, cache, folder, on_batch=stop_at(*place))
    return folder


@pytest.mark.parametrize("places", [[(1, 1)], [(2, 1)], [(2, 3), (3, 3)], [(4, 2)], [(1, 2), (2, 2), (3, 1), (4, 3)]])
def test_interrupted_and_uninterrupted_runs_end_alike(cache, whole, tmp_path, places):
    for place in places:
        stopped(cache, tmp_path, *place)
    train(SETTINGS, cache, tmp_path)
    assert_same_weights(whole, tmp_path)
    curves = [[row | {"seconds": 0} for row in read_table(folder / "metrics.csv")] for folder in (whole, tmp_path)]
    assert curves[0] == curves[1] and [row["epoch"] for row in curves[0]] == [1, 2, 3, 4]


def test_killed_in_the_middle_of_an_epoch(cache, whole, tmp_path):
    code = f"{BEGIN}\nimport time\ntraining.train(settings, {str(cache)!r}, {str(tmp_path)!r}, "
    code += "on_batch=lambda epoch, batch, batches: time.sleep(60 * (epoch == 3)))"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    end = time.monotonic() + 90
    while not (tmp_path / "checkpoints/toy_epoch_002.ckpt").exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "checkpoints/toy_epoch_002.ckpt").exists()
    train(SETTINGS, cache, tmp_path)
    assert_same_weights(whole, tmp_path)


def test_best_and_last_are_kept_and_nothing_else(whole):
    rows = read_table(whole / "metrics.csv")
    best = max(rows, key=lambda row: row["val_si_sdr"])["epoch"]
    names = {f"toy_epoch_{int(epoch):03}.ckpt" for epoch in (best, 4)}
    assert {path.name for path in (whole / "checkpoints").iterdir()} == names
    assert {path.name for path in whole.iterdir()} == {"checkpoints", "metrics.csv", "metrics.json"}


def test_a_checkpoint_is_a_network(whole):
    network = load_network(whole / "checkpoints/toy_epoch_004.ckpt")
    assert network.preset == TOY and network(torch.randn(1, 8000)).clean.shape == (1, 8000)


def test_a_finished_run_is_left_as_it_is(cache, whole):
    before = snapshot(whole)
    best = train(SETTINGS, cache, whole, on_epoch=lambda report: pytest.fail("an epoch too many"))
    assert snapshot(whole) == before and best.is_file()


def test_it_is_quiet(cache, tmp_path, capfd, recwarn):
    train(replace(SETTINGS, epochs=1), cache, tmp_path / "run")
    assert capfd.readouterr() == ("", "") and not recwarn.list
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_global_random_state_is_left_alone(cache, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train(replace(SETTINGS, epochs=1), cache, tmp_path)
    assert torch.equal(torch.rand(1), expected)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_damaged_checkpoint_is_said_and_kept_and_an_older_one_serves(cache, whole, tmp_path, damage):
    stopped(cache, tmp_path, 2, 1)
    older = (tmp_path / "checkpoints/toy_epoch_001.ckpt").read_bytes()
    stopped(cache, tmp_path, 3, 1)
    newest = tmp_path / "checkpoints/toy_epoch_002.ckpt"
    (tmp_path / "checkpoints/toy_epoch_001.ckpt").write_bytes(older)
    damage(newest)
    rubble, said = newest.read_bytes(), []
    train(SETTINGS, cache, tmp_path, say=said.append)
    assert_same_weights(whole, tmp_path)
    assert len(said) == 1 and "toy_epoch_002.ckpt" in said[0]
    kept = [path for path in (tmp_path / "checkpoints").iterdir() if path.read_bytes() == rubble]
    good = {path.name for path in (tmp_path / "checkpoints").iterdir()} - {path.name for path in kept}
    assert len(kept) == 1 and good == {path.name for path in (whole / "checkpoints").iterdir()}


def test_the_best_of_what_is_there(cache, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    last = tmp_path / "run/checkpoints/toy_epoch_004.ckpt"
    content = read_checkpoint(last)
    content["specdehaze"]["rows"][0]["val_si_sdr"] = 99.0  # the first was best, and somebody has deleted it
    torch.save(content, last)
    assert train(SETTINGS, cache, tmp_path / "run") == last


@pytest.mark.parametrize("place", ["run", "run/checkpoints"])
def test_a_folder_that_is_none_is_refused_before_anything_is_learnt(cache, tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    with pytest.raises(TrainingError, match="can not be written to.*choose another folder"):
        train(SETTINGS, cache, tmp_path / "run", on_batch=lambda *place: pytest.fail("learnt for nothing"))
    assert (tmp_path / place).read_text() == "mine"


def test_a_second_training_in_the_same_folder_is_refused(cache, tmp_path):
    stopped(cache, tmp_path, 2, 1)
    before = snapshot(tmp_path)
    with hold_folder(tmp_path / "checkpoints"), pytest.raises(TrainingError, match="another training is at work"):
        train(SETTINGS, cache, tmp_path)
    assert snapshot(tmp_path) == before


def test_a_disk_that_is_full_when_a_checkpoint_is_written(cache, whole, tmp_path):
    before, limits = {}, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(epoch, batch, batches):
        if (epoch, batch) == (2, 3):
            before.update(snapshot(tmp_path))
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))

    try:
        with pytest.raises(TrainingError, match="toy_epoch_002.ckpt: can not be written.*the same call goes on"):
            train(SETTINGS, cache, tmp_path, on_batch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(tmp_path) == before
    train(SETTINGS, cache, tmp_path)
    assert_same_weights(whole, tmp_path)


def test_nothing_but_damaged_checkpoints(cache, tmp_path):
    stopped(cache, tmp_path, 2, 1)
    cut(tmp_path / "checkpoints/toy_epoch_001.ckpt")
    before = snapshot(tmp_path)
    with pytest.warns(UserWarning, match="toy_epoch_001"), pytest.raises(TrainingError, match="choose another folder"):
        train(SETTINGS, cache, tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("toy_epoch_007.ckpt", {"state_dict": {}}), ("model.ckpt", {"epoch": 3}), ("toy_epoch_007.ckpt", [1, 2])],
)
def test_a_foreign_checkpoint(cache, tmp_path, name, content):
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / name)
    before = snapshot(tmp_path)
    with pytest.warns(UserWarning, match="another program"), pytest.raises(TrainingError, match="another folder"):
        train(SETTINGS, cache, tmp_path)
    assert snapshot(tmp_path) == before


def test_a_checkpoint_that_would_run_code_does_not(cache, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    torch.save({"specdehaze": Path("x")}, tmp_path / "checkpoints/toy_epoch_001.ckpt")
    with pytest.warns(UserWarning), pytest.raises(TrainingError):
        train(SETTINGS, cache, tmp_path)


def test_metrics_of_something_else(cache, tmp_path):
    (tmp_path / "metrics.csv").write_text("mine\n")
    with pytest.raises(TrainingError, match="metrics without checkpoints"):
        train(SETTINGS, cache, tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"learning_rate": 1e-3}, "learning_rate 0.003, not 0.001"),
        ({"epochs": 5}, "epochs 4, not 5"),
        ({"seed": 1, "augment": False}, "augment True, not False; seed 0, not 1"),
        ({"loss": {"waveform": 1.0}}, "waveform"),
    ],
)
def test_other_settings(cache, whole, wish, said):
    before = snapshot(whole)
    with pytest.raises(TrainingError) as error:
        train(replace(SETTINGS, **wish), cache, whole)
    assert said in str(error.value) and snapshot(whole) == before


def test_another_network(cache, whole, monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", replace(TOY, base=3))
    with pytest.raises(TrainingError, match="base 2, not 3"):
        train(SETTINGS, cache, whole)


def test_another_cache(whole, tmp_path):
    with pytest.raises(TrainingError, match="cache '"):
        train(SETTINGS, make_cache(tmp_path / "other", ("train", "train", "validation")), whole)


@pytest.mark.parametrize(
    ("splits", "rate", "said"),
    [
        (("train", "test"), 16_000, "the split validation is empty"),
        (("validation", "test"), 16_000, "no split 'train'"),
        (("train", "validation"), 8000, "a cache at 8000 Hz, but toy is for 16000 Hz"),
    ],
)
def test_a_cache_that_does_not_fit(tmp_path, splits, rate, said):
    cache = make_cache(tmp_path / "cache", splits, rate)
    with pytest.raises((TrainingError, CacheError), match=said):
        train(SETTINGS, cache, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unfinished_cache(tmp_path):
    cache = make_cache(tmp_path / "cache")
    next(cache.glob("train*.pt")).unlink()
    with pytest.raises(CacheError, match="run preprocess again"):
        train(SETTINGS, cache, tmp_path / "run")


class Spoilt(training.Loss):
    "A loss one term of which becomes infinite at some time."

    calls, end = 0, 6

    def __call__(self, output, pairs):
        Spoilt.calls += 1
        parts = super().__call__(output, pairs)
        return parts | {"waveform": parts["waveform"] * torch.inf} if Spoilt.calls == self.end else parts


@pytest.mark.parametrize(("call", "where"), [(8, "in epoch 2, batch 2"), (5, "after epoch 1, validation clip 2")])
def test_a_loss_that_is_no_number(cache, whole, tmp_path, monkeypatch, call, where):
    monkeypatch.setattr(training, "Loss", Spoilt)
    monkeypatch.setattr(Spoilt, "calls", 0)
    monkeypatch.setattr(Spoilt, "end", call)
    with pytest.raises(TrainingError, match=f"{where}: waveform; try a lower --lr"):
        train(SETTINGS, cache, tmp_path)
    kept = [path.name for path in tmp_path.rglob("*.ckpt")]
    assert kept == (["toy_epoch_001.ckpt"] if call == 8 else [])
    train(SETTINGS, cache, tmp_path)
    assert_same_weights(whole, tmp_path)


def test_the_report_of_an_epoch(cache, tmp_path):
    reports = []

    def look(report):
        assert not report.network.training and not torch.is_grad_enabled()
        reports.append((report.rows[-1], report.clips[0].clean.shape, report.run_dir))

    train(replace(SETTINGS, epochs=2), cache, tmp_path, on_epoch=look)
    assert [row["epoch"] for row, _, _ in reports] == [1, 2] and [row["step"] for row, _, _ in reports] == [3, 6]
    assert reports[0][1:] == ((1, 32_000), tmp_path)


def test_the_judge_is_that_of_evaluation():
    pairs = Pairs(torch.randn(3, 4000), 0.3 * torch.randn(3, 4000))
    estimate = pairs.clean + 0.1 * pairs.noise + 0.1 * torch.randn(3, 4000)
    for n, (score, rise) in enumerate(si_sdr_rise(estimate, pairs).tolist()):
        before = si_sdr(pairs.noisy[n], pairs.clean[n])
        assert abs(score - si_sdr(estimate[n], pairs.clean[n])) < 1e-3 and abs(rise - score + before) < 1e-3
    silent = Pairs(torch.zeros(1, 100), torch.randn(1, 100))
    assert si_sdr_rise(silent.noisy, silent).isnan().all()


def test_unknown_names(cache, tmp_path):
    for wish in ({"logger": "paper"}, {"device": "abacus"}, {"strategy": "alone"}, {"strategy": "ddp_spawn"}):
        with pytest.raises(TrainingError, match=next(iter(wish))):
            train(SETTINGS, cache, tmp_path / "run", **wish)
    with pytest.raises(ValueError, match="no preset is called"):
        train(replace(SETTINGS, preset="toyy"), cache, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_processes_than_clips_to_judge_by(cache, tmp_path):
    with pytest.raises(TrainingError, match="4 processes, but 3 validation clips"):
        train(SETTINGS, cache, tmp_path / "run", devices=4, strategy="ddp")
    assert not (tmp_path / "run").exists()


def test_a_strategy_that_lacks_its_package(cache, tmp_path):
    with pytest.raises(TrainingError, match="strategy 'deepspeed' with 1 processes on cpu is not possible here"):
        train(SETTINGS, cache, tmp_path, strategy="deepspeed")


def test_tensorboard(cache, tmp_path):
    train(replace(SETTINGS, epochs=1), cache, tmp_path, logger="tensorboard")
    assert list((tmp_path / "tensorboard").glob("events*")) and (tmp_path / "metrics.csv").is_file()


def test_a_logger_that_is_not_installed(cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingError, match="pip install wandb"):
        train(SETTINGS, cache, tmp_path / "run", logger="wandb")


# Batch normalisation takes the statistics of a process's own share, so it is put out of action here.
GRADIENTS = """
import sys
import torch
cache, folder, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
made = training.build

def still(name):
    network = made(name)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.training, part.train = False, lambda mode=True, part=part: part
    return network

def keep(self, optimizer):
    gradients = [weight.grad.clone() for weight in self.network.parameters()]
    torch.save(gradients, f"{folder}/{processes}_{self.global_rank}_{self.trainer.global_step}.pt")

training.build, training.TrainingModule.on_before_optimizer_step = still, keep
settings = replace(settings, epochs=1, augment=False)
strategy = "ddp" if processes > 1 else "auto"
training.train(settings, cache, f"{folder}/run{processes}", devices=processes, strategy=strategy)
"""


def test_two_processes_find_the_gradients_of_one(cache, tmp_path):
    (tmp_path / "gradients.py").write_text(BEGIN + GRADIENTS)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for processes in (1, 2):
        call = [sys.executable, str(tmp_path / "gradients.py"), str(cache), str(tmp_path), str(processes)]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    alone, *shared = (torch.load(tmp_path / f"{name}_0.pt") for name in ("1_0", "2_0", "2_1"))
    for one, first, second in zip(alone, *shared):
        torch.testing.assert_close(first, one, rtol=1e-4, atol=1e-6)
        assert torch.equal(first, second)
    rows = [read_table(tmp_path / f"run{processes}" / "metrics.csv")[0] for processes in (1, 2)]
    for name in ("train_loss", "val_loss", "val_si_sdr"):
        assert math.isclose(rows[0][name], rows[1][name], rel_tol=1e-3)
