"The notebooks keep the style that CONTRIBUTING.md asks for."

import ast

import pytest
from source_tree import NOTEBOOKS, Cell, all_notebooks, module_notebooks, modules, read_notebook

# CONTRIBUTING.md asks for about 25 lines, a dozen, and so on: a test allows what a good reason might need.
MOST_FUNCTION_LINES = 40
MOST_CLASS_LINES = 80
MOST_EXAMPLE_LINES = 16
MOST_CHECK_LINES = 30  # of an answer in a lesson: folded, and nobody has to read it
MOST_CODE_CELLS = 60
MOST_MODULE_LINES = 400

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


def name_of(path) -> str:
    return path.relative_to(NOTEBOOKS).as_posix()


each_notebook = pytest.mark.parametrize("path", all_notebooks(), ids=name_of)
each_module_notebook = pytest.mark.parametrize("path", module_notebooks(), ids=name_of)


def code_cells(path) -> list[Cell]:
    return [cell for cell in read_notebook(path) if cell.kind == "code" and cell.source.strip()]


def passes_on(node: ast.stmt) -> bool:
    "Whether a statement is nbdev's `_all_ = [...]`, which names imports that the module passes on."
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("_all_", "__all__")


def report(problems: list) -> None:
    assert not problems, "\n" + "\n".join(str(problem) for problem in problems)


@each_notebook
def test_opens_with_a_title_and_a_summary(path):
    first = read_notebook(path)[0]
    lines = [line for line in first.source.splitlines() if line.strip()]
    assert first.kind == "markdown"
    assert lines[0].startswith("# ") and lines[1].startswith("> ")


@each_notebook
def test_imports_name_what_they_take(path):
    nodes = ((cell, node) for cell in code_cells(path) for node in ast.walk(cell.tree))
    report([cell for cell, node in nodes if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"])


@each_notebook
def test_imports_have_cells_of_their_own(path):
    problems = []
    for cell in code_cells(path):
        kinds = {isinstance(node, IMPORTS) for node in cell.tree.body if not passes_on(node)}
        if kinds == {True, False} and not cell.hidden:
            problems.append(cell)
    report(problems)


@each_notebook
def test_cells_are_short(path):
    problems = []
    for cell in code_cells(path):
        most = MOST_CHECK_LINES if "check" in cell.tags else MOST_EXAMPLE_LINES
        if cell.exported:
            holds_class = any(isinstance(node, ast.ClassDef) for node in cell.tree.body)
            most = MOST_CLASS_LINES if holds_class else MOST_FUNCTION_LINES
        if len(cell.code) > most and not cell.hidden:
            problems.append(f"{cell}: {len(cell.code)} lines, at most {most}")
    report(problems)


@each_notebook
def test_notebook_is_short(path):
    assert len(code_cells(path)) <= MOST_CODE_CELLS


@each_notebook
def test_asserts_say_more_than_that_something_came_back(path):
    nodes = ((cell, node) for cell in code_cells(path) for node in ast.walk(cell.tree))
    asserts = [(cell, ast.unparse(node.test)) for cell, node in nodes if isinstance(node, ast.Assert)]
    report([f"{cell}: {claim}" for cell, claim in asserts if claim.endswith(" is not None")])


@each_module_notebook
def test_an_exported_cell_holds_one_definition(path):
    problems = []
    for cell in code_cells(path):
        definitions = [node for node in cell.tree.body if isinstance(node, DEFINITIONS)]
        if cell.exported and (len(definitions) > 1 or (definitions and len(cell.tree.body) > 1)):
            problems.append(f"{cell}: {[node.name for node in definitions]} and {len(cell.tree.body)} statements")
    report(problems)


@each_module_notebook
def test_the_last_cell_exports(path):
    last = read_notebook(path)[-1]
    assert last.hidden and last.code == ["from nbdev import nbdev_export", "nbdev_export()"]


@each_module_notebook
def test_every_public_definition_is_used_in_front_of_the_reader(path):
    cells = code_cells(path)
    shown = "\n".join(cell.source for cell in cells if not cell.exported)
    definitions = [(cell, node) for cell in cells if cell.exported for node in cell.tree.body]
    public = [(cell, node.name) for cell, node in definitions if isinstance(node, DEFINITIONS) and node.name[0] != "_"]
    report([f"{cell}: {name}" for cell, name in public if name not in shown])


def public_functions(tree: ast.Module):
    "Public functions, and the methods of public classes that a caller meets."
    met = ("__init__", "__call__")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef))
            yield from (inner for inner in methods if inner.name in met or not inner.name.startswith("_"))


def missing_docments(function: ast.FunctionDef, lines: list[str]) -> list[str]:
    "What of a function's signature has no comment on its line."
    properties = {ast.unparse(decorator) for decorator in function.decorator_list}
    if properties & {"property", "cached_property", "overload"}:
        return []
    asked = function.args
    arguments = [*asked.posonlyargs, *asked.args, asked.vararg, *asked.kwonlyargs, asked.kwarg]
    named = [argument for argument in arguments if argument and argument.arg not in ("self", "cls")]
    missing = [argument.arg for argument in named if "#" not in lines[argument.end_lineno - 1]]
    returns = "None" if function.returns is None else ast.unparse(function.returns)
    if returns not in ("None", "Self") and "#" not in lines[function.returns.end_lineno - 1]:
        missing.append("the return")
    return missing


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_every_parameter_says_what_it_is(path):
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    missing = {function.name: missing_docments(function, lines) for function in public_functions(ast.parse(source))}
    report([f"{name}: {', '.join(words)}" for name, words in missing.items() if words])


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_every_public_definition_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions = [node for node in tree.body if isinstance(node, DEFINITIONS) and not node.name.startswith("_")]
    report([node.name for node in definitions if not ast.get_docstring(node)])


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_module_is_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= MOST_MODULE_LINES


def test_report_templates_name_their_parameters():
    templates = sorted((NOTEBOOKS / "reports").glob("*.ipynb"))
    tagged = [[cell for cell in read_notebook(path) if "parameters" in cell.tags] for path in templates]
    assert [len(cells) for cells in tagged] == [1] * len(templates)
