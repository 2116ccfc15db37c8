"""Copy the course into a working folder: python make_course.py FOLDER.

The lessons link to the notebooks of the package, and these read `data/` and show `figures/`, so the copy has all of
them at the same places. A file that is there already is left as it is: it may hold somebody's work.
"""

import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("nbs/**/*.ipynb", "nbs/lessons/README.md", "figures/**/*.png", "figures/*.csv", "figures/*.json", "*.md")
LINKED = "data"  # is read only. JupyterLab shows no picture that lies behind a link, so the others are copied.


def copy_course(
    folder: Path,  # new, or of a course that was begun
) -> int:  # how many notebooks were copied
    "Copy every file that is not there yet, and link the recordings."
    copied = 0
    for source in sorted(path for pattern in COPIED for path in CHECKOUT.glob(pattern)):
        target = folder / source.relative_to(CHECKOUT)
        if not target.exists() and ".ipynb_checkpoints" not in source.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            copied += source.suffix == ".ipynb"
    if not (folder / LINKED).exists():
        (folder / LINKED).symlink_to(CHECKOUT / LINKED)
    return copied


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    course = Path(sys.argv[1]).expanduser()
    count = copy_course(course)
    print(f"{course}: {count} notebooks copied; what was there before is as it was")
