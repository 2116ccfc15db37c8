"""Copy the course into a working folder: python make_course.py FOLDER.

The lessons link to the notebooks of the package, and these read `data/` and show `figures/`, so the copy has all of
them at the same places. A file that is there already is left as it is: it may hold somebody's work.
"""

import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def copy_course(
    folder: Path,  # new, or of a course that was begun
) -> int:  # how many notebooks were copied
    "Copy every notebook that is not there yet, and link what they read."
    copied, hidden = 0, (".ipynb_checkpoints", "__pycache__")
    for source in [*sorted((CHECKOUT / "nbs").rglob("*.ipynb")), CHECKOUT / "nbs/lessons/README.md"]:
        target = folder / source.relative_to(CHECKOUT)
        if target.exists() or any(part in hidden for part in source.parts):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        copied += source.suffix == ".ipynb"
    for name in ("data", "figures", "README.md", "CONTRIBUTING.md"):
        if not (folder / name).exists():
            (folder / name).symlink_to(CHECKOUT / name)
    return copied


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    course = Path(sys.argv[1]).expanduser()
    count = copy_course(course)
    print(f"{course}: {count} notebooks copied, what was there before is as it was")
