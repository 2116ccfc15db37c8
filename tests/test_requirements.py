"What settings.ini asks pip for is what the code imports: no more, no less."

import ast
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions, requires

from source_tree import ROOT, all_notebooks, imported_packages, modules, read_notebook, settings

# Needed at run time by something the package imports, yet imported by no line of its own.
INDIRECT = {
    "ipykernel": "runs the report notebooks for papermill",
    "ipywidgets": "papermill's progress bar, imported in such a notebook, warns in the report without it",
    "librosa": "speechmos imports it, and its wheel does not say so",
    "onnxruntime": "the same",
    "requests": "the same",
}
# Cleaning does without these modules, so what they import at their top may come from the train extra.
TRAINING = {"training"}
OURS = {"specdehaze", "fake_sources", "source_tree", "readme", "widget_page"} | set(sys.stdlib_module_names)


def distribution(requirement: str) -> str:
    "`Ray[data]>=2` -> `ray`."
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def asked_for(*keys: str) -> set[str]:
    "Names of the distributions under these keys of settings.ini."
    return {distribution(item) for key in keys for item in settings()[key].split()}


@cache
def holders() -> dict[str, list[str]]:
    "Which distributions hold each importable package."
    return packages_distributions()


def distributions(packages: set[str]) -> set[str]:
    "Names of the distributions that hold these importable packages."
    return {holders().get(name, [name])[0].lower().replace("_", "-") for name in packages - OURS}


def module_imports(*, top_level_only: bool = False, without: set[str] = frozenset()) -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules() if path.stem not in without]
    packages = set().union(*(imported_packages(tree, top_level_only=top_level_only) for tree in trees))
    return distributions(packages)


def notebook_imports(folder: str = "") -> set[str]:
    "What notebooks import besides the cells that they export, which are the modules."
    paths = [path for path in all_notebooks() if folder in path.parts or not folder]
    cells = [cell for path in paths for cell in read_notebook(path) if cell.kind == "code" and not cell.exported]
    return distributions(set().union(*(imported_packages(cell.tree) for cell in cells)))


def test_requirements_are_what_the_package_imports():
    required = asked_for("requirements")
    assert required - set(INDIRECT) <= module_imports() | notebook_imports("reports"), "asked for, but not imported"
    assert module_imports(top_level_only=True, without=TRAINING) <= required, "imported, but not asked for"
    assert module_imports(top_level_only=True) <= required | asked_for("train_requirements")


def test_imports_inside_functions_are_required_or_an_extra():
    extras = asked_for(*(f"{extra}_requirements" for extra in ("peers", "demo", "docs", "scale", "train")))
    assert module_imports() <= asked_for("requirements") | extras


def test_report_templates_need_no_more_than_the_package():
    assert notebook_imports("reports") <= asked_for("requirements")


def test_notebooks_and_tests_need_no_more_than_the_dev_and_train_extras():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").glob("*.py")]
    tests = distributions(set().union(*(imported_packages(tree) for tree in trees)))
    assert tests | notebook_imports() <= asked_for("requirements", "dev_requirements", "train_requirements")


def closure(names: set[str]) -> set[str]:
    "The distributions that pip brings along with these; extras where a distribution asks for one, as `bleach[css]`."
    found: set[tuple[str, str]] = set()
    waiting = {(name, "") for name in names}
    while waiting:
        name, extra = waiting.pop()
        found.add((name, extra))
        try:
            needs = requires(name) or []
        except ModuleNotFoundError:  # wanted on another platform only
            continue
        for need in needs:
            condition = re.search(r"extra == ['\"]([^'\"]+)", need)
            if (condition.group(1) if condition else "") == extra:
                wanted = re.search(r"^[\w.-]+ *\[([^]]*)\]", need)
                extras = ["", *(wanted.group(1).replace(" ", "").split(",") if wanted else [])]
                waiting |= {(distribution(need), one) for one in extras} - found
    return {name for name, _ in found}


BARE = """
import importlib, json, sys
from importlib.metadata import packages_distributions

allowed, modules, statements = json.load(sys.stdin)
holders = packages_distributions()

class Bare:
    "Hides every package that a bare environment would lack from one who finds packages."
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        owners = holders.get(name.split(".")[0], [])
        if not owners or any(owner.lower().replace("_", "-") in allowed for owner in owners):
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path]
for module in modules:
    importlib.import_module(module)
for statement in statements:
    exec(statement)
"""


def test_every_module_works_with_the_requirements_alone():
    "Imports each module but those of training, and whatever its functions import, with all other packages hidden."
    required, bare = asked_for("requirements"), [path for path in modules() if path.stem not in TRAINING]
    nodes = [node for path in bare for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    absolute = [node for node in nodes if isinstance(node, ast.Import) or getattr(node, "level", None) == 0]
    statements = {ast.unparse(node) for node in absolute if distributions(imported_packages(node)) <= required}
    statements = {line for line in statements if not any(f"specdehaze.{name} " in line for name in TRAINING)}
    question = [[*closure(required), "specdehaze"], [f"specdehaze.{path.stem}" for path in bare], [*statements]]
    command = [sys.executable, "-c", BARE]
    answer = subprocess.run(command, input=json.dumps(question), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
