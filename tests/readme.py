"""Render README.md from nbs/index.ipynb: `python tests/readme.py`.

The notebook is run, and its cells become text: code in fences, printed text below it, Markdown outputs as they are.
A cell marked `#| hide` leaves nothing behind, one marked `#| echo: false` its output only.
Links and paths are turned from the notebook's folder to the repository's.
"""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
FRONT_PAGE = ROOT / "nbs" / "index.ipynb"


def from_the_root(text: str) -> str:
    "Paths that lead out of nbs/ lose their `../`; links to notebooks beside the front page gain `nbs/`."
    text = re.sub(r"""(?<=[("'])\.\./""", "", text)
    return re.sub(r"\]\((?!\w+:|#|nbs/)([\w/]+\.ipynb|lessons/\w+\.md)", r"](nbs/\1", text)


def output_text(output: nbformat.NotebookNode) -> str:
    "Markdown as it is, other text in a fence, and nothing of pictures: those stand in figures/."
    if "text/markdown" in output.get("data", {}):
        return output.data["text/markdown"].strip()
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    has_picture = any(kind.startswith("image/") for kind in output.get("data", {}))
    return f"```text\n{text.rstrip()}\n```" if text.strip() and not has_picture else ""


def cell_text(cell: nbformat.NotebookNode) -> list[str]:
    "The parts of README.md that a cell becomes."
    if cell.cell_type == "markdown":
        return [from_the_root(cell.source.strip())]
    directives = [line[2:].strip() for line in cell.source.splitlines() if line.startswith("#|")]
    if "hide" in directives:
        return []
    code = "\n".join(line for line in cell.source.splitlines() if not line.startswith("#|")).strip()
    parts = [] if "echo: false" in directives else [f"```python\n{from_the_root(code)}\n```"]
    return parts + [from_the_root(output_text(output)) for output in cell.outputs]


def render(front_page: Path = FRONT_PAGE) -> str:
    "Run the front page and write it down as Markdown; neighbouring code shares one fence."
    notebook = nbformat.read(front_page, as_version=4)
    client = NotebookClient(notebook, timeout=600, extra_arguments=["--log-level=ERROR"])
    client.execute(cwd=str(front_page.parent))
    parts: list[str] = []
    for part in (part for cell in notebook.cells for part in cell_text(cell) if part):
        if part.startswith("```python") and parts[-1].startswith("```python"):
            part = parts.pop().removesuffix("```") + part.removeprefix("```python")
        parts.append(part)
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(render(), encoding="utf-8")
