"""The commands of coursework, from what was handed in to the file for Canvas, with a judge that needs no sandbox."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bigmodel_lab.course import coursework
from bigmodel_lab.course.__main__ import main
from bigmodel_lab.course.files import read_sheet, write_sheet
from bigmodel_lab.errors import MissingExtraError
from tests.course.fakes import Judge

TIME = 1_795_780_800  # 2026-11-27 12:00 UTC


def cell(make, source, **course):
    return make(source, metadata={"course": course})


def source_notebook():
    notebook = new_notebook(
        metadata={"course": {"assignment": "03_try", "title": "A try", "chapter": 3, "minutes": 60}}
    )
    notebook.cells = [
        new_markdown_cell("# A try"),
        new_code_cell('student = ""  # your name', metadata={"tags": ["student"]}),
        cell(new_markdown_cell, "## Add", question="q1", points=4, kind="code", title="Add"),
        cell(
            new_code_cell, "def add(a, b):\n    ### BEGIN SOLUTION\n    return a + b\n    ### END SOLUTION", answer="q1"
        ),
        cell(
            new_code_cell,
            'def probes(rng):\n    yield Probe(expression="add(x, 2)", inputs={"x": 40}, expected=42)',
            judge="q1",
        ),
        cell(new_markdown_cell, "## Why", question="q2", points=6, kind="written", title="Why"),
        cell(new_markdown_cell, "<!-- BEGIN SOLUTION -->\nBecause.\n<!-- END SOLUTION -->", answer="q2"),
        cell(new_markdown_cell, "6: a reason", rubric="q2"),
    ]
    return notebook


def hand_in(folder, student, text="pass", *, name="03_try.ipynb", after=0):
    path = folder / student / name
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(metadata={"course": {"assignment": "03_try"}})
    notebook.cells = [new_code_cell(f"student = {student!r}"), new_code_cell(text)]
    nbformat.write(notebook, path)
    os.utime(path, (TIME + after, TIME + after))
    return path


class Course:
    """A course's folder with one assignment and three submissions, and the commands run in it."""

    def __init__(self, root, capsys):
        self.root, self.capsys = root, capsys
        (root / "notebooks" / "assignments").mkdir(parents=True)
        self.source = root / "notebooks" / "assignments" / "03_try.ipynb"
        nbformat.write(source_notebook(), self.source)
        self.folder = root / "in"
        for student in ("Änne Müller", "Bo O'Hara", "=Eve"):
            hand_in(self.folder, student)
        self.out = root / "in-graded"

    def __call__(self, *args):
        code = main(["--root", str(self.root), *map(str, args)])
        said = self.capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err, last=(said.out.splitlines() or [""])[-1])

    def grade(self, *args):
        return self("grade", self.folder, "--assignment", "03_try", *args)

    def totals(self):
        sheet = read_sheet(self.out / "totals.csv")
        return {row[1]: dict(zip(sheet.header, row, strict=True)) for row in sheet.rows}


@pytest.fixture
def judge(monkeypatch):
    """In place of the sandbox and of the judge in it."""
    fake = Judge()
    monkeypatch.setattr(coursework, "sandbox", lambda trust: SimpleNamespace(name="a test", isolated=not trust))
    monkeypatch.setattr(
        coursework, "sandboxed", lambda part, path, *, student, trust: fake_read(fake, part, path, student)
    )
    return fake


def fake_read(fake, part, path, student):
    if "breaks the judge" in path.read_text(encoding="utf-8"):
        raise RuntimeError("no way")
    return fake(part, path, student=student)


@pytest.fixture
def course(tmp_path, capsys, judge):
    return Course(tmp_path, capsys)


def test_release_writes_a_copy_without_the_solution(course, tmp_path):
    said = course("release", "03_try", "--to", tmp_path / "out")
    assert said.code == 0, said.err
    (copy,) = (tmp_path / "out" / "students").glob("*.ipynb")
    assert "return a + b" not in copy.read_text(encoding="utf-8")
    assert str(copy) in said.out


def test_collect_lists_who_handed_in_what(course):
    said = course("collect", course.folder)
    assert said.code == 0
    assert said.last == "3 submissions by 3 students"
    assert "Änne Müller" in said.out


def test_grade_writes_the_tables_the_pages_and_a_last_line(course, judge):
    said = course.grade()
    assert said.code == 0, said.err
    assert said.last.startswith("3 graded, 0 reused, 0 failed; ")
    assert "s per submission" in said.last
    assert "[3/3]" in said.err
    assert len(list((course.out / "feedback").glob("*.html"))) == 3
    assert len(read_sheet(course.out / "grades.csv").rows) == 3 * 2
    row = course.totals()["Änne Müller"]
    assert (row["points"], row["most"], row["q1"], row["waiting"]) == ("2", "10", "2", "q2")
    assert (course.out / row["feedback"]).is_file()
    assert "'=Eve" in course.totals()
    again = course.grade()
    assert again.last == "0 graded, 3 reused, 0 failed"
    assert len(judge.asked) == 3


def test_stopping_by_hand_keeps_what_was_graded(course, judge, monkeypatch):
    def stop(part, path, *, student, trust):
        if judge.asked:
            raise KeyboardInterrupt
        return judge(part, path, student=student)

    monkeypatch.setattr(coursework, "sandboxed", stop)
    said = course.grade("--workers", "1")
    assert said.code == coursework.STOPPED
    assert "the same command goes on" in said.err
    monkeypatch.setattr(
        coursework, "sandboxed", lambda part, path, *, student, trust: judge(part, path, student=student)
    )
    said = course.grade()
    assert said.last.startswith("2 graded, 1 reused, 0 failed")
    assert said.err.count("1 of 3 were graded before") == 1


def test_all_answers_to_a_written_question_are_on_one_page(course):
    path = hand_in(course.folder, "Zoe")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(cell(new_markdown_cell, "Since <script>alert(1)</script> & so", answer="q2"))
    nbformat.write(notebook, path)
    (course.folder / "Broken").mkdir()
    (course.folder / "Broken" / "03_try.ipynb").write_text("{")
    course.grade()
    (page,) = (course.out / "reading").iterdir()
    text = page.read_text(encoding="utf-8")
    assert page.name == "q2.html"
    assert "<pre>6: a reason</pre>" in text
    assert "<pre>Since &lt;script&gt;alert(1)&lt;/script&gt; &amp; so</pre>" in text
    assert text.count("no answer was found") == 4
    assert "<script" not in text


def test_one_file_from_two_students_is_told(course):
    there = hand_in(course.folder, "Zoe", "'the name is in the file'")
    (course.folder / "Zack").mkdir()
    (course.folder / "Zack" / "03_try.ipynb").write_bytes(there.read_bytes().replace(b"student =", b"nobody ="))
    assert "one file" not in course.grade().err
    there.write_bytes((course.folder / "Zack" / "03_try.ipynb").read_bytes())
    assert "one file, several names: Zack, Zoe" in course.grade().err


def test_a_failed_submission_stops_nothing_and_sets_the_exit_code(course):
    hand_in(course.folder, "Zoe", "breaks the judge")
    said = course.grade()
    assert said.code == 1
    assert said.last.startswith("3 graded, 0 reused, 1 failed")
    assert "could not be judged: RuntimeError: no way" in said.err
    assert course.totals()["Zoe"]["points"] == "0"


def test_the_latest_counts_or_the_best_and_lateness_takes_off(course, judge):
    hand_in(course.folder, "Bo O'Hara", "better", name="late.ipynb", after=30 * 3600)
    said = course.grade("--deadline", "2026-11-27T12:00:00+00:00", "--late", "0.2")
    assert said.code == 0, said.err
    assert "handed in 2 files; late.ipynb is the latest and counts" in said.err
    assert len(judge.asked) == 3
    row = course.totals()["Bo O'Hara"]
    assert (row["points"], row["late_days"], row["penalty"]) == ("1.2", "2", "0.4")
    course.grade("--deadline", "2026-11-27T12:00:00+00:00", "--count", "best")
    assert course.totals()["Bo O'Hara"]["points"] == "2"
    course.grade()  # without a deadline nothing is late; nothing was judged again
    assert course.totals()["Bo O'Hara"]["points"] == "2"
    assert len(judge.asked) == 4


def test_a_deadline_that_is_a_date_means_the_end_of_that_day(course):
    said = course.grade("--deadline", "2026-11-27")
    assert "deadline: 2026-11-27 23:59:59" in said.err


def test_points_by_hand_go_the_whole_way_round(course, judge):
    assert "3 answers wait for points" in course.grade().out
    path = course.out / "waiting.csv"
    sheet = read_sheet(path)
    for row in sheet.rows[:2]:
        row[2:] = ["5,5", "<b>fine</b>"]
    write_sheet(path, sheet)
    filled = path.read_bytes()
    said = course.grade()
    assert "stays as it is" in said.out
    assert path.read_bytes() == filled
    said = course.grade("--manual", path)
    assert said.code == 0, said.err
    assert path.read_bytes() == filled
    assert sorted(row["points"] for row in course.totals().values()) == ["2", "7.5", "7.5"]
    pages = [page.read_text(encoding="utf-8") for page in (course.out / "feedback").glob("*.html")]
    assert sum("&lt;b&gt;fine&lt;/b&gt;" in page for page in pages) == 2
    assert not any("<b>" in page for page in pages)
    assert len(judge.asked) == 3


def test_wrong_points_by_hand_name_the_line_and_change_nothing(course, tmp_path):
    course.grade()
    before = {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()}
    wrong = tmp_path / "manual.csv"
    wrong.write_text("student,question,points,comment\nNobody,q2,3,\nBo O'Hara,q2,7,\n")
    said = course.grade("--manual", wrong)
    assert said.code == 2
    assert "line 2: no submission by Nobody" in said.err
    assert "line 3: 7 points for q2, which has 6" in said.err
    assert {path: path.read_bytes() for path in course.out.rglob("*") if path.is_file()} == before


def test_regrade_asks_one_question_again(course, judge):
    course.grade()
    assert course.grade("--regrade", "q1").last.startswith("3 graded")
    assert {asked[1:] for asked in judge.asked[3:]} == {("q1",)}


def test_export_fills_a_file_of_canvas_and_says_who_is_missing(course, tmp_path):
    course.grade()
    book = tmp_path / "canvas.csv"
    book.write_text('Student,ID,Section,03_try (7)\n    Points Possible,,,10\n"Müller, Änne",1,A,\n"Last, One",2,A,\n')
    said = course("export", "canvas", book, "--grades", course.out)
    assert said.code == 1
    assert "not exported: =Eve: not in the file" in said.err
    assert "no grade for Last, One" in said.err
    assert "3 grades still wait" in said.err
    assert said.last.endswith("canvas-filled.csv: 1 of 3 grades in '03_try (7)'")
    assert read_sheet(tmp_path / "canvas-filled.csv").rows[1] == ["Müller, Änne", "1", "A", "2"]


def test_export_finds_students_by_what_the_platform_called_their_files(course, tmp_path):
    for number, name in enumerate(["Ada Lovelace", "Alan Turing"]):
        path = hand_in(tmp_path / "moodle", f"{name}_{number + 41}_assignsubmission_file_")
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = f'student = "{number + 70}"'
        nbformat.write(notebook, path)
    said = course("grade", tmp_path / "moodle", "--assignment", "03_try")
    assert said.code == 0, said.err
    sheet = tmp_path / "sheet.csv"
    rows = "".join(f"Participant {n},{name},,10\n" for n, name in enumerate(["Ada Lovelace", "Alan Turing"]))
    sheet.write_text("Identifier,Full name,Grade,Maximum Grade\n" + rows, encoding="utf-8")
    said = course("export", "moodle", sheet, "--grades", tmp_path / "moodle-graded")
    assert said.code == 0, said.err
    assert [row[2] for row in read_sheet(tmp_path / "sheet-filled.csv").rows] == ["2", "2"]


def test_export_fills_a_worksheet_of_moodle(course, tmp_path):
    course.grade()
    sheet = tmp_path / "moodle.csv"
    rows = "".join(f"Participant {n},{name},,10\n" for n, name in enumerate(["Änne Müller", "Bo O'Hara", "=Eve"]))
    sheet.write_text("Identifier,Full name,Grade,Maximum Grade\n" + rows, encoding="utf-8")
    said = course("export", "moodle", sheet, "--grades", course.out, "--to", tmp_path / "to.csv")
    assert said.code == 0, said.err
    assert [row[2] for row in read_sheet(tmp_path / "to.csv").rows] == ["2", "2", "2"]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["release", "99_none"], "the name of an assignment: 03_try"),
        (["collect", "{root}/nowhere"], "a folder of submissions"),
        (["collect", "{root}/empty"], "at least one notebook"),
        (["grade", "{root}/in", "--assignment", "03_try", "--deadline", "tomorrow"], "'tomorrow'"),
        (["grade", "{root}/in", "--assignment", "03_try", "--late", "0.1"], "--deadline 2027"),
        (["grade", "{root}/in", "--assignment", "03_try", "--deadline", "2026-11-27", "--late", "10"], "a share"),
        (["grade", "{root}/in", "--assignment", "03_try", "--to", "{root}/in/out"], "a place outside"),
        (["grade", "{root}/in", "--assignment", "03_try", "--regrade", "q7"], "q1, q2, or all"),
        (["grade", "{root}/in", "--assignment", "03_try", "--workers", "0"], "at least one worker"),
        (["grade", "{root}/in", "--assignment", "03_try", "--manual", "{root}/none.csv"], "a CSV file at"),
        (["export", "canvas", "{root}/x.csv", "--grades", "{root}/in"], "a CSV file at"),
        (["export", "canvas", "{root}/x.csv", "--grades", "{root}/t.csv", "--to", "{root}/x.csv"], "another file"),
    ],
)
def test_each_mistake_says_what_was_expected(course, tmp_path, args, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("assignment,student,points,most\n03_try,A,1,2\n")
    said = course(*[arg.format(root=tmp_path) for arg in args])
    assert said.code == 2
    assert "expected:" in said.err
    assert why in said.err


def test_without_a_sandbox_nothing_is_run_and_nobody_gets_0(course, judge, monkeypatch):
    def none(trust):
        if not trust:
            raise MissingExtraError("a sandbox", hint="sudo apt-get install bubblewrap")
        return SimpleNamespace(name="none", isolated=False)

    monkeypatch.setattr(coursework, "sandbox", none)
    said = course.grade()
    assert (said.code, judge.asked) == (2, [])
    assert "bubblewrap" in said.err
    assert not (course.out / "totals.csv").exists()
    said = course.grade("--trust-students")
    assert "NO SANDBOX" in said.err
    assert said.code == 0


def test_a_name_cannot_steer_the_terminal(course):
    path = hand_in(course.folder, "Mal")
    text = path.read_text(encoding="utf-8").replace("'Mal'", json.dumps("'Mal\x1b[2J'")[1:-1])
    path.write_text(text, encoding="utf-8")
    for said in (course("collect", course.folder), course.grade()):
        assert "\x1b" not in said.out + said.err


def test_without_jupyter_the_other_commands_work_and_these_name_the_extra():
    line = (
        "import sys; sys.modules['nbformat'] = None; from bigmodel_lab.course.__main__ import main; main(sys.argv[1:])"
    )
    for args, said in ((["collect", "x"], "pip install 'bigmodel-lab[grading]'"), (["check"], "")):
        ran = subprocess.run(
            [sys.executable, "-c", line, *args], capture_output=True, text=True, cwd=Path(__file__).parents[2]
        )
        assert ran.returncode == 0
        assert said in ran.stderr
        assert bool(said) == bool(ran.stderr)


def test_help_names_the_commands_and_their_limits():
    ran = subprocess.run(
        [sys.executable, "-m", "bigmodel_lab.course", "--help"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    for name in ("release", "collect", "grade", "export", "point-at", "serve"):
        assert name in ran.stdout
