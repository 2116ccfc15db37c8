"Lessons and labs in JupyterLab: every cell runs, every slider moves something, every sound plays."

import nbformat
import pytest

pytest.importorskip("playwright.sync_api", reason="pip install playwright, to drive a browser")
from source_tree import NOTEBOOKS

from .jupyter import broken_pictures, broken_sounds, move_everything, run_notebook, write_notebook

LESSONS = sorted((NOTEBOOKS / "lessons").glob("[0-9][0-9]_*.ipynb"))
QUICK = ("01",)  # lessons that every test run opens; `make browser` opens all
LABS = {
    "haze_lab": "from specdehaze.haze_lab import haze_lab\n\nhaze_lab()",
    "retinex_lab": "from specdehaze.retinex_lab import retinex_lab\n\nretinex_lab()",
    "hum_lab": "from specdehaze.hum_lab import hum_lab\n\nhum_lab()",
    "network_explorer": """from specdehaze.lab_parts import example_mix
from specdehaze.network_explorer import network_explorer

mix = example_mix()
network_explorer({1: "voice", 2: "hybrid"}, mix.noisy, mix.sample_rate, seconds=2.0)""",
}

pytestmark = pytest.mark.xdist_group("browser")


def some(names, quick):
    "Parameters of which only a few are for every test run."
    return [pytest.param(name, marks=[] if quick(name) else pytest.mark.whole) for name in names]


@pytest.mark.parametrize("name", some([path.stem for path in LESSONS], lambda name: name[:2] in QUICK))
def test_a_lesson_runs_and_its_sliders_move(name, page, jupyter):
    address, folder = jupyter
    notebook = nbformat.read(NOTEBOOKS / "lessons" / f"{name}.ipynb", as_version=4)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    run_notebook(page, address.format(f"{name}.ipynb"))
    labs = page.locator(".specdehaze-lab")
    assert labs.count() >= 1
    assert [fault for k in range(labs.count()) for fault in move_everything(labs.nth(k))] == []
    assert broken_sounds(page) == [] and broken_pictures(page) == 0


@pytest.mark.parametrize("name", some(LABS, lambda name: name == "hum_lab"))
def test_a_lab_follows_its_controls(name, page, jupyter, keep_screen):
    address, folder = jupyter
    write_notebook(folder / f"{name}.ipynb", LABS[name])
    run_notebook(page, address.format(f"{name}.ipynb"))
    lab = page.locator(".specdehaze-lab")
    assert move_everything(lab) == [] and broken_sounds(page) == []
    keep_screen(lab, name)
