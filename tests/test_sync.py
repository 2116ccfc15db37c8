"README.md, the package and the notebooks are in step, and the notebooks are clean."

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import NOTEBOOKS, PACKAGE, ROOT, all_notebooks


def texts(root: Path, pattern: str) -> dict[str, str]:
    paths = (path for path in root.rglob(pattern) if ".ipynb_checkpoints" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_package_is_what_the_notebooks_export(repo_copy, tool_environment):
    shutil.rmtree(repo_copy / "specdehaze")
    shutil.copytree(PACKAGE, repo_copy / "specdehaze", ignore=lambda folder, names: {*names} - {"__init__.py"})
    subprocess.run(["nbdev_export"], cwd=repo_copy, env=tool_environment, check=True)
    fresh, committed = texts(repo_copy / "specdehaze", "*.py"), texts(PACKAGE, "*.py")
    assert fresh.keys() == committed.keys()
    differing = [name for name in fresh if fresh[name] != committed[name]]
    assert not differing, "run `make export`, or move a change made in the package into its notebook"


def test_notebooks_are_clean(repo_copy, tool_environment):
    subprocess.run(["nbdev_clean"], cwd=repo_copy, env=tool_environment, check=True)
    fresh, committed = texts(repo_copy / "nbs", "*.ipynb"), texts(NOTEBOOKS, "*.ipynb")
    assert [name for name in fresh if fresh[name] != committed[name]] == [], "run `make export`"


def words_and_numbers(text: str) -> tuple[str, list[str]]:
    number = r"\d+(?:\.\d+)?"
    return re.sub(number, "#", text), re.findall(number, text)


def last_place(number: str) -> float:
    return 10.0 ** -len(number.partition(".")[2])


def test_readme_is_the_front_page(repo_copy, tool_environment):
    command = [sys.executable, "tests/readme.py"]
    subprocess.run(command, cwd=repo_copy, env=tool_environment | {"PYTHONPATH": str(repo_copy)}, check=True)
    rendered, committed = repo_copy / "README.md", ROOT / "README.md"
    fresh, fresh_numbers = words_and_numbers(rendered.read_text(encoding="utf-8"))
    words, numbers = words_and_numbers(committed.read_text(encoding="utf-8"))
    assert fresh == words, "run `make export`"
    # The tables of figures/ are measured: on another processor `make report` may round the last digit the other way.
    far = [(a, b) for a, b in zip(fresh_numbers, numbers) if abs(float(a) - float(b)) > 1.01 * last_place(b)]
    assert not far, "run `make export`"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    targets = [link.split(")")[0].split("#")[0] for link in text.split("](")[1:]]
    local = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_no_notebook_stands_where_nbdev_does_not_look():
    hidden = [path for path in all_notebooks() if any(part.startswith(("_", ".")) for part in path.parts[-2:])]
    assert hidden == []
