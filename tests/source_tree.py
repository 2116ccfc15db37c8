"The repository as data: where things stand, and notebooks and modules as parsed source."

import ast
import json
import shutil
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "nbs"
PACKAGE = ROOT / "specdehaze"
FOLDERS = ("data", "figures", "nbs", "specdehaze", "tests")


def settings() -> dict[str, str]:
    "The one section of settings.ini."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


def copy_repository(target: Path) -> Path:
    "Copy what is under version control, for a test that changes it or builds from it."
    target.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, target)
    litter = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.egg-info")
    for folder in FOLDERS:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, target / folder, ignore=litter)
    return target


@dataclass(frozen=True)
class Cell:
    "A cell of a notebook: `index` counts all cells from 0."

    notebook: str
    index: int
    kind: str
    source: str
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.notebook} cell {self.index}"

    @property
    def directives(self) -> list[str]:
        "The nbdev directives at the head of the cell, such as `export` or `default_exp audio`."
        lines = [line.strip() for line in self.source.splitlines()]
        return [line[2:].strip() for line in lines if line.startswith("#|")]

    @property
    def exported(self) -> bool:
        return any(directive.split()[0] in ("export", "exporti", "exports") for directive in self.directives)

    @property
    def hidden(self) -> bool:
        return "hide" in self.directives

    @property
    def code(self) -> list[str]:
        "Its lines without directives, blank lines and comments of their own."
        lines = (line for line in self.source.splitlines() if line.strip())
        return [line for line in lines if not line.lstrip().startswith("#")]

    @property
    def tree(self) -> ast.Module:
        "Its syntax tree, IPython magics left out."
        lines = self.source.splitlines()
        return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines))


def read_notebook(path: Path) -> list[Cell]:
    "The cells of a notebook."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    name = path.relative_to(NOTEBOOKS).as_posix()
    return [
        Cell(name, i, cell["cell_type"], "".join(cell["source"]), tuple(cell["metadata"].get("tags", ())))
        for i, cell in enumerate(cells)
    ]


def module_notebooks() -> list[Path]:
    "The numbered notebooks that the package is exported from."
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def all_notebooks() -> list[Path]:
    "Every notebook: modules, front page, lessons and report templates."
    paths = (path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    return sorted(paths)


def modules() -> list[Path]:
    "The exported modules."
    return sorted(path for path in PACKAGE.glob("*.py") if not path.name.startswith("_"))


def imported_packages(tree: ast.AST, *, top_level_only: bool = False) -> set[str]:
    "Names of the packages that absolute imports in `tree` ask for."
    nodes = ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree)  # the walk begins with `tree` itself
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def imported_siblings(path: Path) -> set[str]:
    "Names of the specdehaze modules that a module imports, wherever in it the import stands."
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute = [alias.name.split(".") for alias in node.names]
            names.update(parts[1] for parts in absolute if parts[0] == "specdehaze" and len(parts) > 1)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level == 1:
                names.update([module[0]] if node.module else [alias.name for alias in node.names])
            elif module[0] == "specdehaze":
                names.update([module[1]] if len(module) > 1 else [alias.name for alias in node.names])
    return names
