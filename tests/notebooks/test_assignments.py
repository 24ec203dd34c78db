"""Every assignment: what it asks, what its student's copy shows, and that its probes tell a solution from a blank."""

import ast
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from bigmodel_lab.course import repository_url
from bigmodel_lab.course.markers import MARKERS, read_source
from bigmodel_lab.course.plain import pack
from bigmodel_lab.course.questions import load
from bigmodel_lab.course.release import drifted, leaks, release, solution_copy, student_copy
from tests.course.small_assignment import small_assignment, write
from tests.notebooks import checks
from tests.notebooks.answering import answers, probes
from tests.notebooks.ledger import ROOT
from tests.notebooks.verdicts import none_of

FOLDER = ROOT / "notebooks" / "assignments"
ASSIGNMENTS = sorted(FOLDER.glob("*.ipynb"))
CHAPTERS = {2, 3, 4, 5, 6, 7, 8}
STUDENTS = ("Ada Example", "s7654321")
MOST_MINUTES = 120

each = pytest.mark.parametrize("path", ASSIGNMENTS, ids=lambda path: path.stem)


# ---- what is asked of an assignment: each returns problems -----------------------------------------------------------


def holds_together(path: Path) -> list[str]:
    """Four to eight questions of all kinds, points that add up, rubrics that give all points and no more."""
    assignment, problems = load(path), []
    kinds = [question.kind for question in assignment.questions]
    if not 4 <= len(kinds) <= 8:
        problems.append(f"{len(kinds)} questions, not 4 to 8")
    for kind, least in (("code", 2), ("experiment", 1), ("written", 1)):
        if kinds.count(kind) < least:
            problems.append(f"{kinds.count(kind)} questions of kind {kind}, at least {least} are needed")
    for question in assignment.questions:
        if question.rubric and rubric_points(question.rubric) != question.points:
            problems.append(f"{question.name}: {question.points} points, its rubric {rubric_points(question.rubric)}")
    names = [question.name for question in assignment.questions]
    if names != [f"q{number}" for number in range(1, len(names) + 1)]:
        problems.append(f"questions are named {names}, not q1, q2, …")
    if (assignment.name, assignment.name[:2]) != (path.stem, f"{assignment.chapter:02}"):
        problems.append(f"named {assignment.name} of chapter {assignment.chapter}, the file {path.stem}")
    if not 0 < assignment.minutes <= MOST_MINUTES:
        problems.append(f"{assignment.minutes} minutes")
    return problems + says_its_points(nbformat.read(path, as_version=4).cells[0].source, assignment)


def says_its_points(title: str, assignment) -> list[str]:
    """The first cell names the minutes and all points, as they are."""
    said = {name: re.search(rf"\*\*{name}\*\*\D*(\d+(?:\.\d+)?)", title) for name in ("Time", "Points")}
    meant = {"Time": assignment.minutes, "Points": assignment.points}
    return [
        f"the first cell says {found and found[1]} for {name}, the metadata {meant[name]}"
        for name, found in said.items()
        if found is None or float(found[1]) != meant[name]
    ]


def rubric_points(rubric: str) -> float:
    """The points of a rubric's criteria: list entries `- 1.5 points: …`, or a table's rows that end in a number."""
    entries = re.findall(r"^\s*[-*] (\d+(?:\.\d+)?) points?\b", rubric, re.MULTILINE)
    rows = re.findall(r"\|\s*(\d+(?:\.\d+)?)\s*\|\s*$", rubric, re.MULTILINE)
    return sum(map(float, entries + rows))


def is_tidy(path: Path) -> list[str]:
    """A notebook as it is committed, of which the first code cell installs the library; no machine's path."""
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    problems = checks.written_as_tidied(path.read_text(encoding="utf-8"))
    problems += checks.installs_first(notebook, repository_url(ROOT))
    return problems + [
        one for check in (checks.valid, checks.stripped, checks.names_no_machine) for one in check(notebook)
    ]


def hides_all(path: Path, folder: Path) -> list[str]:
    """The student's copy: it can be made, shows nothing, is Python, has one answer's cell or more for each question."""
    student, _ = release(path, folder)
    copy, problems = nbformat.read(student, as_version=4), leaks(path, student)
    for number, cell in checks.code_cells(copy):
        try:
            ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE))
        except SyntaxError as error:
            problems.append(f"cell {number} of the copy is not Python: {error}")
    marks = [next(iter(cell.metadata.get("course", {}).items()), ("", "")) for cell in copy.cells]
    for question in load(path).questions:
        if not {("question", question.name), ("answer", question.name)} <= set(marks):
            problems.append(f"{question.name} is not asked or cannot be answered")
        if question.kind == "code" and ("check", question.name) not in marks:
            problems.append(f"{question.name} has no check for the student")
    return problems


def asks_each_alike(path: Path) -> list[str]:
    """The judge asks one student the same each time, sends plain data, and has a name and a hint for each probe."""
    assignment, problems = load(path), []
    for question in (one for one in assignment.questions if one.probes):
        for student in STUDENTS:
            first, again = (probes(question, assignment.name, student) for _ in range(2))
            if [(p.expression, pack(p.inputs)) for p in first] != [(p.expression, pack(p.inputs)) for p in again]:
                problems.append(f"{question.name}: asks {student} something else the second time")
            if not first or not all(probe.name and probe.hint for probe in first):
                problems.append(f"{question.name}: no probes, or some without a name and a hint for the feedback")
    return problems


def solution_is_right(path: Path, folder: Path) -> list[str]:
    """Each probe gives the solution all of its points, whoever the student is."""
    problems = []
    for student in STUDENTS:
        try:
            found = answers(solution_copy(path), load(path), student, folder)
        except CellExecutionError as error:
            problems.append(f"{student}: the solution does not run: {stopped(error)}")
            continue
        problems += [
            f"{student}, {one.question}, {one.probe}: {one.share:.2f} of its points; {one.problem}"
            for one in found
            if one.share < 1
        ]
    return problems


def blank_is_not(path: Path, folder: Path) -> list[str]:
    """The student's copy runs to its end before anything is answered, and gets no question right."""
    assignment = load(path)
    try:
        found = answers(student_copy(path), assignment, STUDENTS[0], folder)
    except CellExecutionError as error:
        return [f"the blank copy does not run: {stopped(error)}"]
    asked = [question.name for question in assignment.questions if question.kind != "written"]
    lost = {one.question for one in found if one.share < 1}
    return [f"{name}: the blank copy has all points" for name in asked if name not in lost]


def stopped(error: CellExecutionError) -> str:
    """What stopped a notebook, and at which line of the cell."""
    line = re.search(r"^-+> *\d+ (.*)", re.sub(r"\x1b\[[\d;]*m", "", error.traceback), re.MULTILINE)
    return f"{error.ename}: {error.evalue.strip()}, at: {line[1].strip() if line else 'an unknown line'}"


# ---- the assignments -------------------------------------------------------------------------------------------------


def test_each_chapter_has_one():
    assert {load(path).chapter for path in ASSIGNMENTS} == CHAPTERS
    assert len(ASSIGNMENTS) == len(CHAPTERS)


@each
@pytest.mark.parametrize("check", [holds_together, is_tidy, asks_each_alike], ids=lambda check: check.__name__)
def test_source(path, check):
    none_of(check(path))


@each
def test_the_student_s_copy_hides_all(path, tmp_path):
    none_of(hides_all(path, tmp_path))


@each
def test_markers_are_alone_on_their_lines(path):
    """As nbgrader and Otter want them; read from the file itself, not by what makes the copy."""
    lines = [line for cell in nbformat.read(path, as_version=4).cells for line in cell.source.split("\n")]
    marked = [line.strip() for line in lines if "SOLUTION" in line]
    assert set(marked) <= {marker for pair in MARKERS.values() for marker in pair}
    assert [line.split()[1] for line in marked] == ["BEGIN", "END"] * (len(marked) // 2)
    assert len(marked) >= 8


@pytest.mark.slow
@each
def test_the_solution_gets_all_points(path, tmp_path):
    none_of(solution_is_right(path, tmp_path))


@pytest.mark.slow
@each
def test_the_blank_copy_runs_and_gets_no_question(path, tmp_path):
    none_of(blank_is_not(path, tmp_path))


def test_released_copies_in_the_repository_are_what_their_sources_make():
    git = subprocess.run(["git", "ls-files", "-z", "*.ipynb"], cwd=ROOT, capture_output=True, text=True, check=True)
    committed = [ROOT / name for name in git.stdout.split("\0") if name]
    copies = [path for path in committed if path.parent.name in ("students", "teacher")]
    sources = {path.stem: path for path in ASSIGNMENTS}
    for copy in copies:
        source = sources[copy.stem.removesuffix("-solution")]
        none_of([one for one in drifted(source, copy.parent.parent) if one.startswith(f"{copy.name} ")])


# ---- the checks themselves: a sound assignment passes, a spoiled one is found ----------------------------------------


def cell_of(notebook, role, question):
    return next(cell for cell in notebook.cells if cell.metadata.get("course", {}).get(role) == question)


def spoiled(folder, change=lambda notebook: None):
    notebook = small_assignment()
    change(notebook)
    return write(notebook, folder)


def replaced(role, question, old, new):
    def change(notebook):
        cell = cell_of(notebook, role, question)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


def set_mark(question, **values):
    return lambda notebook: cell_of(notebook, "question", question).metadata["course"].update(values)


def test_a_sound_one_passes(tmp_path):
    path = spoiled(tmp_path)
    none_of(holds_together(path) + hides_all(path, tmp_path) + asks_each_alike(path))
    assert len(read_source(path)[1]) == 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_mark("q4", points=4), "q4: 4 points, its rubric 3.0"),
        (set_mark("q2", points=3), "says 10 for Points, the metadata 11"),
        (set_mark("q1", kind="experiment"), "1 questions of kind code"),
        (replaced("rubric", "q4", "| 1 |", "| 0.5 |"), "its rubric 2.5"),
        (lambda nb: nb.metadata["course"].update(chapter=4), "of chapter 4"),
        (lambda nb: nb.metadata["course"].update(minutes=45), "says 30 for Time"),
        (lambda nb: [cell.metadata["course"].update({k: "q9" for k in ("question", "answer", "check", "judge")
                     if cell.metadata["course"].get(k) == "q2"}) for cell in nb.cells if "course" in cell.metadata],
         "questions are named"),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_does_not_hold_together_is_found(tmp_path, change, said):
    assert any(said in problem for problem in holds_together(spoiled(tmp_path, change)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("judge", "q1", "rng.normal(size=5)", "np.random.default_rng().normal(size=5)"), "the second time"),
        (replaced("judge", "q1", 'name="large scores"', 'name=""'), "without a name"),
        (replaced("judge", "q2", "    yield Probe", "    return\n    yield Probe"), "no probes"),
    ],
    ids=["chance", "names", "none"],
)
def test_probes_that_are_not_alike_are_found(tmp_path, change, said):
    assert any(said in problem for problem in asks_each_alike(spoiled(tmp_path, change)))


@pytest.mark.slow
class TestExecuted:
    def test_a_sound_one_passes(self, tmp_path):
        path = spoiled(tmp_path)
        none_of(solution_is_right(path, tmp_path) + blank_is_not(path, tmp_path))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (replaced("answer", "q1", " - np.max(scores)", " * 1"), "q1, large scores"),
            (replaced("answer", "q2", "before + 1", "before"), "q2, all layers"),
            (replaced("answer", "q3", "> 0.25", "> 0.75"), "q3, the measured share"),
            (replaced("judge", "q2", '"parameters"', '"no_such_name"'), "no_such_name"),
        ],
        ids=["q1", "q2", "q3", "judge"],
    )
    def test_a_wrong_solution_is_found(self, tmp_path, change, said):
        problems = solution_is_right(spoiled(tmp_path, change), tmp_path)
        assert len(problems) == len(STUDENTS)
        assert all(said in problem for problem in problems)

    def test_a_solution_that_stops_is_found(self, tmp_path):
        change = replaced("check", "q2", "100, 200", "200, 300")
        problems = solution_is_right(spoiled(tmp_path, change), tmp_path)
        assert len(problems) == len(STUDENTS)
        assert all("does not run: ExerciseError" in problem for problem in problems)

    def test_a_blank_copy_that_stops_is_found(self, tmp_path):
        change = replaced("check", "q2", "check.between(parameters, 100, 200)", "assert parameters > 100")
        (problem,) = blank_is_not(spoiled(tmp_path, change), tmp_path)
        assert "does not run: TypeError" in problem
        assert problem.endswith("at: assert parameters > 100")

    def test_a_question_that_a_blank_copy_answers_is_found(self, tmp_path):
        change = replaced("answer", "q2", "parameters = ...", "parameters = 147")
        assert blank_is_not(spoiled(tmp_path, change), tmp_path) == ["q2: the blank copy has all points"]
