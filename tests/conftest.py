"What all tests share: one thread, one seed, quiet figures, and a copy of the repository to work on."

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import HealthCheck, settings
from source_tree import ROOT, copy_repository

from specdehaze.audio import mix_at_snr, read_audio

torch.set_num_threads(1)
# Examples are drawn the same way each time, so that a failure on one machine is a failure on every machine.
settings.register_profile(
    "specdehaze", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("specdehaze")


@pytest.fixture(autouse=True)
def seed() -> None:
    "Every test starts from the same random state."
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def voice() -> torch.Tensor:
    "Four seconds of a French voice, (1, samples) at 16 kHz."
    return read_audio(ROOT / "data/speech/fr_02.flac", frames=4 * 16_000)[0]


@pytest.fixture(scope="session")
def noisy(voice: torch.Tensor) -> torch.Tensor:
    "That voice 5 dB above white noise."
    generator = torch.Generator().manual_seed(0)
    return mix_at_snr(voice, torch.randn(voice.shape, generator=generator), 5.0)[0]


@pytest.fixture
def repo_copy(tmp_path: Path) -> Path:
    "A copy of the repository that a test may change."
    return copy_repository(tmp_path / "specdehaze")


@pytest.fixture
def tool_environment() -> dict[str, str]:
    "Environment for a command: the tools of this Python first in PATH, and nbdev free to export."
    environment = {key: value for key, value in os.environ.items() if key not in ("IN_TEST", "PYTHONPATH")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    return environment


@pytest.fixture
def plain_output(monkeypatch) -> None:
    "No colours, whatever the machine that runs the tests says."
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
