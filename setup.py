"Build specdehaze. Every fact about it stands in settings.ini; this file only hands them to setuptools."

from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
EXTRAS = ("dev", "peers", "demo", "docs", "scale", "train")

config = ConfigParser(delimiters=["="])
config.read(ROOT / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


class BuildPackage(build_py):
    "Leaves the script that made the recordings in the checkout: it is no part of the package."

    def find_package_modules(self, package, package_dir):
        return [] if package == "specdehaze._data" else super().find_package_modules(package, package_dir)


setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=settings["keywords"].split(),
    author=settings["author"],
    author_email=settings["author_email"],
    license_expression=settings["license"],
    license_files=["LICENSE"],
    url=settings["git_url"],
    python_requires=">=" + settings["min_python"],
    install_requires=settings["requirements"].split(),
    extras_require={extra: settings[f"{extra}_requirements"].split() for extra in EXTRAS},
    entry_points={"console_scripts": settings["console_scripts"].split()},
    # The recordings and the report templates keep their places in the checkout and travel inside the package.
    packages=["specdehaze", "specdehaze._data", "specdehaze._reports"],
    package_dir={"specdehaze": "specdehaze", "specdehaze._data": "data", "specdehaze._reports": "nbs/reports"},
    package_data={
        "specdehaze._data": ["*.md", "*.csv", "LICENSES/*.txt", "**/*.flac", "weights/*.md", "weights/*.safetensors"],
        "specdehaze._reports": ["*.ipynb"],
    },
    cmdclass={"build_py": BuildPackage},
    zip_safe=False,
)
