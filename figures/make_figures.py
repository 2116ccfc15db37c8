"""Draw the pictures of this folder anew from the tables beside them: python make_figures.py [NAME ...].

Without a name, all of them. Only the pictures after an epoch of a training stay as they are.
"""

import sys
from pathlib import Path

from specdehaze.figures import save_figures

if __name__ == "__main__":
    for path in save_figures(Path(__file__).parent, sys.argv[1:]):
        print(path)
