"Imports point downwards only: each module may use what stands below it, and nothing above."

import ast

import pytest
from source_tree import PACKAGE, imported_packages, imported_siblings, module_notebooks, modules, read_notebook

# What each module may lean on directly; what those lean on comes with them. "*" is everything above it in this table.
LEANS_ON = {
    "tables": [],
    "choices": [],
    "files": [],
    "writing": ["files"],
    "audio": ["writing"],
    "haze": ["audio"],
    "veil": ["audio", "haze"],
    "hum": ["audio"],
    "harmonics": [],
    "hum_clock": ["harmonics"],
    "hum_smoother": ["harmonics"],
    "hum_switches": ["hum_smoother"],
    "hum_tracking": ["harmonics", "hum", "hum_clock", "hum_smoother", "hum_switches"],
    "hum_live": ["harmonics", "hum_tracking"],
    "blocks": [],
    "workers": [],
    "recordings": ["audio"],
    "containers": [],
    "packages": ["containers", "recordings"],
    "disturbances": ["audio", "hum", "recordings"],
    "sources": ["packages", "disturbances", "tables", "workers"],
    "plan": ["sources"],
    "corpus": ["plan"],
    "pairs": ["corpus", "veil"],
    "cache": ["pairs", "tables", "workers"],
    "augmentation": ["audio"],
    "bank": ["sources"],
    "mixing": ["bank", "augmentation"],
    "networks": ["audio"],
    "spectrogram_unet": ["networks"],
    "hybrid_unet": ["networks", "veil"],
    "voice_network": ["audio", "haze"],
    "losses": ["audio", "choices"],
    "perceptual_losses": [],
    "checkpoints": ["spectrogram_unet", "hybrid_unet", "voice_network", "recordings", "tables", "choices"],
    "batches": ["cache", "augmentation"],
    "training": ["batches", "checkpoints", "losses"],
    "inference": ["checkpoints", "audio"],
    "methods": ["*"],
    "dehazer": ["*"],
    "evaluation": ["*"],
    "partials": ["evaluation"],
    "hum_evaluation": ["audio", "hum", "evaluation"],
    "bounds": ["audio", "harmonics", "hum_clock", "hum_smoother", "hum_tracking", "evaluation"],
    "archive": ["*"],
    "voice_peers": [],
    "hum_peers": ["hum"],
    "peers": ["methods", "audio", "choices", "hum", "voice_peers", "hum_peers"],
    "cases": ["*"],
    "hum_cases": ["*"],
    "benchmark": ["*"],
    "voice_training": ["mixing", "batches", "checkpoints", "choices", "losses", "perceptual_losses", "evaluation"],
    "plots": ["*"],
    "network_pictures": ["*"],
    "run_pictures": ["*"],
    "study_figures": ["*"],
    "figures": ["*"],
    "players": ["*"],
    "widgets": ["plots"],
    "exercises": [],
    "lab_parts": ["*"],
    "haze_lab": ["*"],
    "retinex_lab": ["*"],
    "hum_lab": ["*"],
    "mask_painter": ["widgets"],
    "listening_test": ["widgets"],
    "own_audio": ["widgets"],
    "network_explorer": ["lab_parts", "widgets"],
    "reports": ["*"],
    "console": [],
    "corpus_commands": ["*"],
    "evaluate_commands": ["*"],
    "demo_answers": ["*"],
    "demo": ["*"],
    "train_command": ["*"],
    "cli": ["*"],
}
ORDER = list(LEANS_ON)


def reachable(module: str) -> set[str]:
    "Every module that `module` may import."
    direct = LEANS_ON[module]
    if direct == ["*"]:
        return set(ORDER[: ORDER.index(module)])
    return set(direct).union(*(reachable(below) for below in direct))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_imports_point_downwards(path):
    upward = imported_siblings(path) - reachable(path.stem)
    assert not upward, f"{path.stem} may import {sorted(reachable(path.stem))}, not {sorted(upward)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_package_runs_without_the_tools_it_is_written_with(path):
    imports = imported_packages(ast.parse(path.read_text(encoding="utf-8")))
    assert not imports & {"nbdev", "fastcore", "execnb", "pytest", "hypothesis"}


def test_notebook_numbers_follow_the_layers():
    numbers = {path.stem[3:]: int(path.stem[:2]) for path in module_notebooks()}
    assert not numbers.keys() - set(ORDER), "give the new module its place in LEANS_ON"
    in_layers = [numbers[module] for module in ORDER if module in numbers]
    assert in_layers == sorted(in_layers)


@pytest.mark.parametrize("path", module_notebooks(), ids=lambda path: path.stem)
def test_notebook_exports_the_module_it_is_named_after(path):
    directives = [directive for cell in read_notebook(path) for directive in cell.directives]
    assert [d.split()[1] for d in directives if d.startswith("default_exp")] == [path.stem[3:]]


def test_every_module_has_its_notebook():
    exported = {path.stem[3:] for path in module_notebooks()}
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "_modidx"} == exported
