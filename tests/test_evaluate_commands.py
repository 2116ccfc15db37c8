"Evaluation from the shell: what is written and printed, what is refused, stopped and gone on with."

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from source_tree import ROOT
from typer.testing import CliRunner

from specdehaze.cli import app
from specdehaze.corpus import build_corpus
from specdehaze.evaluate_commands import summary_rows
from specdehaze.methods import METHODS, Method
from specdehaze.plan import CorpusSettings
from specdehaze.tables import read_table, write_table

pytestmark = pytest.mark.usefixtures("plain_output")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("evaluate") / "voice", CorpusSettings())


@pytest.fixture(scope="module")
def evaluated(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "results.csv"
    methods = "noisy, mmse_lsa,oracle_ratio_mask"
    return run("evaluate", "--corpus", corpus.root, "--methods", methods, "--out", out, "--no-listeners"), out


def test_the_table_holds_every_mix_of_the_split(corpus, evaluated):
    result, out = evaluated
    assert result.exit_code == 0, result.output
    rows = read_table(out)
    mixes = [mix.id for mix in corpus.mixes("test")]
    assert [row["mix"] for row in rows] == [mix for mix in mixes for _ in range(3)]
    assert {row["split"] for row in rows} == {"test"}
    assert [*rows[0]][:4] == ["method", "split", "si_sdr", "psnr"] and "pesq_wb" not in rows[0]


def test_the_summary_is_printed_and_the_table_named_last(evaluated):
    lines = evaluated[0].stdout.splitlines()
    assert lines[-1] == str(evaluated[1])
    (line,) = (line for line in lines if "mmse_lsa" in line)
    assert re.search(r"8 .* -?\d+\.\d \(-?\d+\.\d to -?\d+\.\d\) .* \d\.\d{4}", line)


def test_listeners_and_a_limit(corpus, tmp_path):
    out = tmp_path / "t.csv"
    result = run("evaluate", "--corpus", corpus.root, "--methods", "noisy", "--limit", 1, "--out", out)
    assert result.exit_code == 0 and "dnsmos_overall" in result.stdout
    (row,) = read_table(out)
    assert 1 <= row["pesq_wb"] <= 4.64 and 0 < row["estoi"] < row["stoi"] < 1


def test_a_failure_is_a_line_and_the_reason_is_said(corpus, tmp_path, monkeypatch):
    def fail(waveform, rate, state):
        raise RuntimeError("no idea")

    monkeypatch.setitem(METHODS, "hopeless", Method("hopeless", "", "baseline", fail))
    call = ["evaluate", "--corpus", corpus.root, "--limit", 2, "--no-listeners", "--out", tmp_path / "t.csv"]
    result = run(*call, "--methods", "noisy,hopeless")
    assert result.exit_code == 0 and "2 of 2 failed" in result.stdout
    assert result.stderr.count("failed: RuntimeError: no idea") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "nosy"], "did you mean 'noisy'"),
        (["--methods", ","], "at least one case and one contender"),
        (["--split", "tests"], "train, validation, test"),
        (["--out", "results.json"], "a table is a .csv file"),
        (["--device", "abacus"], "try 'cpu' or 'auto'"),
        (["--corpus", "nowhere"], "no corpus there"),
        (["--workers", "0"], "than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_advice(corpus, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", "--corpus", corpus.root, *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


SCRIPT = """
import time
from specdehaze.cli import app
from specdehaze.methods import Method, register

def clean(waveform, rate, state):
    time.sleep(1)
    return waveform

register(Method("slow", "", "baseline", clean))
app(prog_name="specdehaze")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_stopped_and_gone_on_with(corpus, tmp_path, monkeypatch):
    out, part = tmp_path / "t.csv", tmp_path / "t.csv.part"
    call = ["evaluate", "--corpus", corpus.root, "--methods", "noisy,slow", "--no-listeners", "--out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *map(str, call), str(out)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors and not out.exists()
    assert "the same command goes on" in errors
    monkeypatch.setitem(METHODS, "slow", Method("slow", "", "baseline", lambda waveform, rate, state: waveform))
    other = run(*call, out, "--split", "train")
    assert other.exit_code == 2 and "begun as another benchmark" in other.stderr
    assert run(*call, out).exit_code == run(*call, tmp_path / "whole.csv").exit_code == 0
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes() and not part.exists()


def test_a_plot_stands_beside_its_table(evaluated):
    result = run("plot", evaluated[1])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(evaluated[1].with_name("results_si_sdr.png"))
    assert Image.open(result.stdout.strip()).size[0] > 400


def test_a_plot_where_it_is_wanted(evaluated, tmp_path):
    result = run("plot", evaluated[1], "--score", "psnr", "--out", tmp_path / "new" / "p.png")
    assert result.exit_code == 0 and (tmp_path / "new" / "p.png").is_file()


def test_a_table_with_failures_is_plotted_without_them(tmp_path):
    row = {"method": "a", "split": "test", "si_sdr": 1.0, "psnr": 20.0, "status": "", "clip": "c", "snr_db": 0.0}
    rows = [row, row | {"method": "b", "si_sdr": "", "psnr": "", "status": "failed: no"}]
    rows += [dict.fromkeys(row, "") | {"method": "c", "status": "not installed"}]
    assert run("plot", write_table(rows, tmp_path / "t.csv", {})).exit_code == 0


@pytest.mark.parametrize(
    ("rows", "arguments", "status", "said"),
    [
        ([{"method": "a", "si_sdr": 1.0, "snr_db": 0.0}], ["--score", "sisdr"], 2, "did you mean 'si_sdr'"),
        ([{"method": "a", "si_sdr": 1.0}], [], 2, "no methods, ratios"),
        ([{"method": "a", "si_sdr": "", "snr_db": ""}], [], 2, "no scores to plot"),
        ([{"file": "a"}], [], 2, "make one with specdehaze evaluate"),
        ([{"method": "a", "si_sdr": "good", "snr_db": 0.0}], [], 2, "scores and ratios numbers"),
        ([{"method": 1, "si_sdr": 1.0, "snr_db": 0.0}], [], 2, "methods are text"),
        ([{"method": "a", "si_sdr": 1.0, "snr_db": 0.0}], ["--out", "t.svg"], 2, "a picture is a .png file"),
        (None, [], 1, "No such file"),
    ],
)
def test_what_can_not_be_plotted(tmp_path, rows, arguments, status, said):
    if rows:
        write_table(rows, tmp_path / "t.csv", {})
    result = run("plot", tmp_path / "t.csv", *arguments)
    assert result.exit_code == status and said in result.stderr and "Traceback" not in result.output


def test_a_file_of_other_cells_is_no_table(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    result = run("plot", tmp_path / "t.csv")
    assert result.exit_code == 2 and "t.csv: is no table" in result.stderr


def test_rows_that_are_too_short_make_no_plot(tmp_path):
    (tmp_path / "t.csv").write_text('"method","snr_db","si_sdr"\n"a",5\n')
    result = run("plot", tmp_path / "t.csv")
    assert result.exit_code == 2 and "t.csv: is no table" in result.stderr


@pytest.mark.parametrize("beside", ["[]", "{", '{"contenders": ["a"]}'])
def test_settings_of_something_else_are_no_hindrance(tmp_path, beside):
    rows = [{"method": "a", "si_sdr": 1.0, "snr_db": 0.0}, {"method": "a", "si_sdr": 2.0, "snr_db": ""}]
    table = write_table(rows, tmp_path / "t.csv", {})
    table.with_suffix(".json").write_text(beside)
    assert run("plot", table).exit_code == 0


def test_a_table_that_can_not_be_written_is_named(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    call = ["evaluate", "--corpus", corpus.root, "--methods", "noisy", "--no-listeners", "--limit", 1]
    result = run(*call, "--out", tmp_path / "file" / "t.csv")
    assert result.exit_code == 1 and f"{tmp_path / 'file'}: " in result.stderr and "Errno" not in result.stderr


def test_the_summary_names_every_delay():
    rows = [
        {"method": "a", "clip": c, "si_sdr": 1.0, "delay": d, "status": ""} for c, d in (("x", 12.0), ("y", 33.0))
    ]
    assert summary_rows(rows, {"a": 0.5})[0] == {
        "method": "a", "clips": "2", "si_sdr": "1.0 (1.0 to 1.0)", "delay": "12 33", "RTF": "0.5000", "note": ""
    }  # fmt: skip


def test_help_comes_at_once():
    quiet = "import sys, specdehaze.cli; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", quiet], env=environment).returncode == 0
    listed = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200"}).output
    options = ("--corpus", "--split", "--methods", "--out", "--limit", "--workers", "--device", "--no-listeners")
    assert [option for option in options if not re.search(rf"{option}\b", listed)] == []
