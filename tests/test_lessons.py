"The lessons: their form, and one run of each in which every exercise is looked at unanswered and with its solution."

import gc
import importlib.util
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from execnb.shell import CaptureShell
from ipywidgets import Widget
from source_tree import NOTEBOOKS, ROOT, Cell, read_notebook

from specdehaze.widgets import Lab

FOLDER = NOTEBOOKS / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
QUESTION = re.compile(r"^## Exercise (\d): \S", re.M)
MOST_SECONDS = 90  # of one processor core
# What a reader who went wrong is likely to have: each must be answered with a hint.
MISTAKES: dict[str, dict[int, list[str]]] = {
    "05": {
        1: ["answer_1 = 0.5", "answer_1 = 6.02", "answer_1 = -3", "answer_1 = -12", "answer_1 = 'half'"],
        2: ["answer_2 = lambda power, veil: (1 - 2 * veil / power).clamp_min(0)",
            "answer_2 = lambda power, veil: (1 - 2 * veil / power).clamp_min(0.01)",
            "answer_2 = lambda power, veil: (1 - veil / power).clamp_min(0.1)",
            "answer_2 = lambda power, veil: (1 - veil / power / 2).clamp_min(0.1)",
            "answer_2 = lambda power, veil: 0.1"],
        3: ["answer_3 = lambda S, Y: S * Y.conj() / Y.abs() ** 2",
            "answer_3 = lambda S, Y: (S * Y.conj()).real.clamp(0, 1)",
            "answer_3 = lambda S, Y: (S / Y).real", "answer_3 = lambda S, Y: (S / Y).real.clamp_max(1)",
            "answer_3 = lambda S, Y: (S / Y).abs().clamp(0, 1)",
            "answer_3 = lambda S, Y: ((S * Y).real / Y.abs() ** 2).clamp(0, 1)"],
    },
    "06": {
        1: ["answer_1 = cleaned", "answer_1 = steady", "answer_1 = steady_hum", "answer_1 = 28.0",
            "answer_1 = steady - sound_of(dots[:, ~quiet].mean(1, keepdim=True).expand_as(dots), 50.04)",
            "answer_1 = steady + sound_of(dots[:, quiet].mean(1, keepdim=True).expand_as(dots), 50.04)"],
        2: ["answer_2 = -0.05", "answer_2 = 49.8", "answer_2 = 50.05", "answer_2 = 49.88", "answer_2 = 49.51"],
        3: ["answer_3 = lambda dots, weights, width: follow(dots, width)",
            "answer_3 = lambda dots, weights, width: follow(dots * weights, width)",
            "answer_3 = lambda dots, weights, width: weights / weights.sum() * follow(dots, width)",
            "answer_3 = lambda dots, weights, _: (dots @ (weights + 0j) / weights.sum())[:, None].expand_as(dots)"],
    },
    "07": {
        1: ["answer_1 = 8", "answer_1 = 0.128", "answer_1 = 48", "answer_1 = 256", "answer_1 = 2"],
        2: ["answer_2 = lambda mask: mask", "answer_2 = lambda mask: mask.clamp_min(10 ** (-15 / 10))",
            "answer_2 = lambda mask: mask + 10 ** (-15 / 20)", "answer_2 = lambda mask: mask[0].clamp_min(0.18)"],
        3: ["answer_3 = lambda one, other, share: share * one + (1 - share) * other",
            "answer_3 = lambda one, other, share: (one * other) ** 0.5",
            "answer_3 = lambda one, other, share: one ** (1 - share) * other**share"],
    },
    "08": {
        1: ["answer_1 = 0.35", "answer_1 = 0.3", "answer_1 = 0.05", "answer_1 = 1.5"],
        2: ["answer_2 = [heads['mask'][cells].mean() for cells in (of_voice, of_fire)]",
            "answer_2 = [heads['gate'][cells].mean() for cells in (of_fire, of_voice)]", "answer_2 = 0.8"],
        3: ["answer_3 = lambda power: power.log()", "answer_3 = lambda power: (power / power.mean()).log()",
            "answer_3 = lambda power: power / power.max().clamp_min(1e-30)", "answer_3 = torch.ones_like",
            "answer_3 = lambda power: ((power + 1e-6) / power.mean().clamp_min(1e-30)).log()",
            "answer_3 = lambda power: (power / power.mean(0).clamp_min(1e-30) + 1e-6).log()"],
    },
    "09": {
        1: ["answer_1 = 16", "answer_1 = 2", "answer_1 = -3", "answer_1 = 0.4", "answer_1 = 'six'"],
        2: ["answer_2 = si_sdr", "answer_2 = lambda e, r: remove_delay(e, constant_delay(e, r, rate))",
            "answer_2 = lambda e, r: si_sdr(remove_delay(e, -constant_delay(e, r, rate)), r)",
            "answer_2 = lambda e, r: si_sdr(remove_delay(e, max(0, constant_delay(e, r, rate))), r)",
            "answer_2 = lambda e, r: si_sdr(remove_delay(e, 16), r)", "answer_2 = lambda e, r: 30.0"],
        3: ["answer_3 = lambda a, b: mean_interval(a)[1:]", "answer_3 = lambda a, b: mean_interval(a - b)",
            "answer_3 = lambda a, b: mean_interval(b - a)[1:]", "answer_3 = lambda a, b: mean_interval(a - b)[2:0:-1]",
            "answer_3 = lambda a, b: numpy.quantile(a - b, [0.025, 0.975])"],
    },
    "10": {
        1: ["answer_1 = 1 / peak", "answer_1 = 20 * torch.tensor(peak).log10()",
            "answer_1 = -10 * torch.tensor(peak).log10()"],
        2: ["answer_2 = cleaned['mmse_lsa']", "answer_2 = no_hum", "answer_2 = no_hum / 3", "answer_2 = 0.8",
            "answer_2 = Dehazer('mmse_lsa', strength=0.32)(no_hum, rate)",
            "answer_2 = Dehazer('mmse_lsa', strength=0.95)(no_hum, rate)"],
        3: ["answer_3 = lambda b, a: torch.corrcoef(torch.stack([frame_levels(b - a), frame_levels(a)]))",
            "answer_3 = lambda b, a: torch.corrcoef(torch.stack([frame_levels(b - a), frame_levels(a)]))[1, 1]",
            "answer_3 = lambda b, a: torch.corrcoef(torch.stack([frame_levels(b), frame_levels(a)]))[0, 1]",
            "answer_3 = lambda b, a: torch.corrcoef(torch.cat([b - a, a]))[0, 1]"],
    },
    "11": {
        1: ["answer_1 = 10", "answer_1 = 5", "answer_1 = 0"],
        2: ["answer_2 = lambda hum, rate: torch.fft.rfft(hum).abs().topk(3).indices.tolist()",
            "answer_2 = lambda hum, rate: [x * rate / len(hum) for x in torch.fft.rfft(hum).abs().topk(3).indices]",
            "answer_2 = lambda hum, rate: [160, 440, 100]", "answer_2 = lambda hum, rate: [100, 160, 440]"],
        3: ["answer_3 = results['60 Hz, 3 lines']", "answer_3 = identity", "answer_3 = notch_score(50.0, 5, 7, None)"],
    },
}

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read_notebook(path) if cell.kind == "markdown")


def local_links(text: str) -> list[str]:
    "What links and pictures of a page point to, without what lies in the world outside."
    code = re.sub(r"```.*?```|`[^`\n]*`|\$[^$\n]*\$", "", text, flags=re.S)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", code)]
    return [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]


@dataclass(frozen=True)
class Exercise:
    "An exercise: where its cells stand, and the code that solves it."

    number: int
    question: int  # cells by their place
    exercise: int
    check: int
    solution: str


def exercises(path: Path) -> list[Exercise]:
    "The exercises of a lesson, each with four cells: question, code to fill in, check, folded solution."
    cells, found = read_notebook(path), []
    for place, cell in enumerate(cells):
        if "exercise" not in cell.tags:
            continue
        question = max(k for k in range(place) if QUESTION.search(cells[k].source) and cells[k].kind == "markdown")
        check = next(k for k in range(place, len(cells)) if "check" in cells[k].tags)
        folded = next(c.source for c in cells[check:] if c.source.startswith("<details><summary>Solution</summary>"))
        number = int(QUESTION.findall(cells[question].source)[-1])
        found.append(Exercise(number, question, place, check, re.search(r"```python\n(.*?)```", folded, re.S)[1]))
    return found


def test_there_are_eleven_lessons():
    assert [path.stem[:2] for path in LESSONS] == [f"{number:02}" for number in range(1, 12)]


@each_lesson
def test_opens_with_what_one_will_be_able_to_do(path):
    opening = read_notebook(path)[0].source
    title, _, summary, *rest = opening.splitlines()
    assert re.fullmatch(rf"# {path.stem[:2]} \S.*", title) and summary.startswith("> ")
    rest = "\n".join(rest)
    promised = rest.partition("After this lesson you can")[2]
    assert 3 <= len(re.findall(r"^- ", promised, re.M)) <= 5, "three to five things that one can do afterwards"
    assert re.search(r"\d+ minutes", rest), "how long it takes"


@each_lesson
def test_asks_before_it_shows(path):
    assert 2 <= prose(path).count("**Predict, then run.**") <= 5


@each_lesson
def test_three_exercises_each_with_check_and_solution(path):
    cells = read_notebook(path)
    assert [exercise.number for exercise in exercises(path)] == [1, 2, 3]
    assert sum("check" in cell.tags for cell in cells) == 3
    for exercise in exercises(path):
        places = exercise.question, exercise.exercise, exercise.check
        assert sorted(places) == [*places] and "..." in cells[exercise.exercise].source
        assert "check_answer(" in cells[exercise.check].source and exercise.solution.strip()
    folded = [cell.source for cell in cells if cell.source.startswith("<details><summary>Solution</summary>")]
    assert len(folded) == 3
    assert all(source.count("```") == 2 and source.rstrip().endswith("</details>") for source in folded)


@each_lesson
def test_checks_are_folded_and_nothing_was_left_behind_by_a_run(path):
    raw = json.loads(path.read_text(encoding="utf-8"))["cells"]
    checks = [cell for cell in raw if "check" in cell["metadata"].get("tags", ())]
    assert all(cell["metadata"]["jupyter"] == {"source_hidden": True} for cell in checks)
    assert not [cell for cell in raw if cell.get("outputs") or cell.get("execution_count")]


@each_lesson
def test_ends_with_what_to_remember_and_where_to_go(path):
    text = prose(path)
    links = local_links(text.partition("## What to remember")[2])
    following = [other.name for other in LESSONS[LESSONS.index(path) + 1 :][:1]]
    assert links and all(name in links for name in following), "the next lesson"
    assert any(re.fullmatch(r"\.\./(reports/)?\w+\.ipynb", link) for link in links), "a notebook that goes deeper"


@pytest.mark.parametrize("path", [*LESSONS, FOLDER / "README.md"], ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path)
    assert [link for link in local_links(text) if not (FOLDER / link).exists()] == []


def test_the_page_for_teachers_knows_every_lesson():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in LESSONS if f"({path.name})" not in page] == []


def processor_seconds() -> float:
    "What this process and those that it started and waited for have used."
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@dataclass
class Run:
    "What came of a run of a lesson."

    errors: list[str] = field(default_factory=list)
    widgets: int = 0
    unanswered: dict[int, str] = field(default_factory=dict)  # exercise -> what its check said
    answered: dict[int, str] = field(default_factory=dict)
    mistaken: dict[str, str] = field(default_factory=dict)  # wrong answer -> what the check said
    seconds: float = 0.0  # of one processor core


class Runner:
    "Runs the cells of a lesson in this process, as nbdev_test does, so that what they import is imported once."

    def __init__(self, path: Path):
        self.cells, self.run = read_notebook(path), Run()
        self.exercises = {exercise.check: exercise for exercise in exercises(path)}
        self.mistakes = MISTAKES.get(path.stem[:2], {})
        self.shell = CaptureShell(path, mpl_format="png")

    def code(self, source: str, where: object) -> str:
        "Run some code; the HTML that it shows."
        shown = self.shell.run(source)
        if self.shell.exc:
            self.run.errors.append(f"{where}: {type(self.shell.exc).__name__}: {self.shell.exc}")
        self.run.widgets += isinstance(self.shell.result, (Lab, Widget))
        return "".join("".join(one["data"].get("text/html", "")) for one in shown if "data" in one)

    def check(self, exercise: Exercise, cell: Cell) -> None:
        "Look at an exercise that is solved, at one that went wrong, and at last at one that nobody has answered."
        number = exercise.number
        for answer in [exercise.solution, *self.mistakes.get(number, [])]:
            self.code(answer, f"{cell}, answer {answer!r}")
            said = self.run.answered if answer is exercise.solution else self.run.mistaken
            said[number if answer is exercise.solution else f"{number}: {answer}"] = self.code(cell.source, cell)
        self.code(self.cells[exercise.exercise].source, self.cells[exercise.exercise])
        self.run.unanswered[number] = self.code(cell.source, cell)

    def all(self) -> Run:
        "Run it from top to bottom; what follows an exercise meets it unanswered, as a reader in a hurry does."
        began = processor_seconds()
        for place, cell in enumerate(self.cells):
            if place in self.exercises:
                self.check(self.exercises[place], cell)
            elif cell.kind == "code":
                self.code(cell.source, cell)
        self.run.seconds = processor_seconds() - began
        return self.run


@pytest.fixture
def a_desk(monkeypatch):
    "Where a notebook finds itself, and a tidy process afterwards."
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("IN_TEST", "1")
    yield
    plt.switch_backend("Agg")
    CaptureShell.clear_instance()
    Widget.close_all()
    gc.collect()


@each_lesson
def test_runs_and_its_exercises_tell_right_from_wrong(path, a_desk):
    run = Runner(path).all()
    print(f"{path.stem}: {run.seconds:.1f} s of one core")
    assert run.errors == []
    assert run.widgets >= 1, "something to touch"
    assert [said for said in run.unanswered.values() if "Not answered yet" not in said] == []
    assert [*run.unanswered] == [1, 2, 3]
    assert [said for said in run.answered.values() if "Right." not in said] == [] and len(run.answered) == 3
    assert [mistake for mistake, said in run.mistaken.items() if "Look again." not in said] == []
    assert run.seconds < MOST_SECONDS


@pytest.fixture
def make_course():
    "The script that copies the course."
    where = FOLDER / "make_course.py"
    spec = importlib.util.spec_from_file_location("make_course", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_copy_of_the_course_is_made_once_and_never_overwritten(make_course, tmp_path):
    desk = tmp_path / "a desk"
    assert make_course.copy_course(desk) >= len(LESSONS)
    mine = desk / "nbs" / "lessons" / LESSONS[0].name
    mine.write_text("my answers")
    (desk / "nbs" / "lessons" / LESSONS[1].name).unlink()
    assert make_course.copy_course(desk) == 1, "what was lost comes back"
    assert mine.read_text() == "my answers" and LESSONS[0].stat().st_size > 1000


def test_links_of_a_copy_lead_somewhere_as_well(make_course, tmp_path):
    make_course.copy_course(tmp_path)
    place = tmp_path / "nbs" / "lessons"
    links = {link for path in LESSONS for link in local_links(prose(path))}
    assert [link for link in links if not (place / link).exists()] == []
    assert (tmp_path / "data" / "speech").is_dir() and not (tmp_path / "figures").is_symlink()


def test_make_runs_the_lessons_once():
    "They run here; nbdev_test, which `make test-notebooks` calls, leaves out a folder with this file."
    assert (FOLDER / ".notest").exists() and (ROOT / "Makefile").exists()
