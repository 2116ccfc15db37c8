"The built wheel works from any folder, and brings its recordings and report templates along."

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from source_tree import NOTEBOOKS, PACKAGE, ROOT, copy_repository, modules, settings

pytestmark = pytest.mark.xdist_group("wheel")  # to one worker, so that the wheel is built once


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    "A folder with the source archive and the wheel that was built from it, so that both are tested."
    scratch = tmp_path_factory.mktemp("wheel")
    copy_repository(scratch / "source")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(scratch / "dist"), "source"]
    subprocess.run(build, cwd=scratch, check=True, stdout=subprocess.PIPE)
    return scratch / "dist"


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    "A folder with the wheel unpacked by pip."
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, stdin=subprocess.DEVNULL)
    return target


@pytest.fixture
def run_python(installed, tmp_path):
    "Run Python in an empty folder, where `import specdehaze` finds the installed wheel."
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    return run


def test_wheel_holds_code_recordings_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = (path for path in (ROOT / "data").rglob("*") if path.is_file() and not path.match("*.py*"))
    expected = {f"specdehaze/_data/{path.relative_to(ROOT / 'data').as_posix()}" for path in data}
    expected |= {f"specdehaze/_reports/{path.name}" for path in (NOTEBOOKS / "reports").glob("*.ipynb")}
    expected |= {f"specdehaze/{path.name}" for path in (*modules(), PACKAGE / "__init__.py", PACKAGE / "_modidx.py")}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_source_archive_holds_what_the_checkout_does(built, tmp_path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    copy = copy_repository(tmp_path / "copy")
    expected = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {name for name in expected if not name.startswith(".")} <= names
    assert not [name for name in names if "__pycache__" in name or ".ipynb_checkpoints" in name]


def test_metadata_is_what_settings_say(run_python):
    script = "import json; from importlib.metadata import metadata; print(json.dumps(metadata('specdehaze').json))"
    found, wanted = json.loads(run_python("-c", script)), settings()
    required = [need for need in found["requires_dist"] if "extra ==" not in need]
    assert (found["name"], found["version"]) == (wanted["lib_name"], wanted["version"])
    assert found["summary"] == wanted["description"]
    assert sorted(required) == sorted(wanted["requirements"].split())
    assert set(found["provides_extra"]) == {"dev", "peers", "demo", "docs", "scale", "train"}
    assert found["license_expression"] == wanted["license"] == "Apache-2.0"


def test_installed_modules_import_from_another_folder(run_python, installed):
    names = [f"specdehaze.{path.stem}" for path in modules()]
    script = f"import importlib; print(*{{importlib.import_module(name).__file__ for name in {names}}}, sep='\\n')"
    files = run_python("-c", script).split()
    assert len(files) == len(names) and all(Path(file).is_relative_to(installed) for file in files)


def test_installed_package_finds_its_recordings(run_python, installed):
    script = (
        "from specdehaze.recordings import bundled_recordings, resource_folder\n"
        "print(resource_folder('data'), *(recording.path for recording in bundled_recordings()), sep='\\n')"
    )
    folder, *paths = run_python("-c", script).split("\n")[:-1]
    assert Path(folder) == installed / "specdehaze" / "_data"
    assert paths and all(Path(path).is_file() and Path(path).is_relative_to(installed) for path in paths)


def test_installed_command_answers(run_python, installed):
    assert "mmse_lsa" in run_python(str(installed / "bin" / "specdehaze"), "methods")
