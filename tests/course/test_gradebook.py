"""The gradebook: nothing is lost in a kill, nothing is graded twice, and what counts is worked out from it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.files import read_sheet, same, write_sheet
from bigmodel_lab.course.gradebook import Gradebook, fingerprints
from bigmodel_lab.course.grading import grade_all
from bigmodel_lab.course.marks import (
    ByHand,
    Late,
    counting,
    latest,
    read_by_hand,
    settled,
    table,
    totals,
    waiting,
    waits,
)
from bigmodel_lab.course.questions import Grade, QuestionResult
from bigmodel_lab.errors import DataError, InputError
from tests.course.fakes import NOON, Judge, assignment


def submission(folder, student, text="answer", *, hours=0.0, notes=()):
    path = folder / f"{len(list(folder.iterdir()))}.ipynb"
    path.write_text(text)
    return Submission(student=student, path=path, modified=NOON + timedelta(hours=hours), notes=notes)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def book(tmp_path):
    return Gradebook(tmp_path / "book")


def points(run):
    return {grade.student: [result.points for result in grade.questions] for _, grade in run.grades}


def test_each_submission_is_judged_once_however_often_the_run_is_repeated(folder, book):
    submissions = [submission(folder, name, name) for name in ("Anna", "Bo", "Chen")]
    judge = Judge()
    first = grade_all(assignment(), submissions, book, judge)
    second = grade_all(assignment(), submissions, Gradebook(book.folder), judge)
    assert (first.graded, first.reused, first.failed) == (3, 0, 0)
    assert (second.graded, second.reused, second.failed) == (0, 3, 0)
    assert len(judge.asked) == 3
    assert first.grades == second.grades
    assert points(first)["Bo"] == [2, 3, 0]
    assert [one for one, _ in first.grades] == submissions


def test_a_new_file_of_a_student_is_judged_and_the_same_file_of_another_student_too(folder, book):
    judge = Judge()
    grade_all(assignment(), [submission(folder, "Anna", "one")], book, judge)
    run = grade_all(assignment(), [submission(folder, "Anna", "two"), submission(folder, "Bo", "one")], book, judge)
    assert run.graded == 2
    assert len(judge.asked) == 3


def test_two_spellings_of_a_name_and_one_file_are_one_task(folder, book):
    judge = Judge()
    run = grade_all(assignment(), [submission(folder, "Anna  B"), submission(folder, "anna b", hours=30)], book, judge)
    assert (len(judge.asked), run.graded, len(run.grades)) == (1, 1, 2)


SCRIPT = """
import sys, time
from datetime import datetime, UTC
from pathlib import Path
sys.path[:0] = [{root!r}]
from bigmodel_lab.course.gradebook import Gradebook
from bigmodel_lab.course.grading import grade_all
from bigmodel_lab.course.collect import Submission
from tests.course.fakes import NOON, Judge, assignment
folder = Path(sys.argv[1])
judge = Judge()
def slow(part, path, *, student):
    with (folder / "calls").open("a") as stream:
        stream.write(student + "\\n")
    time.sleep(0.02)
    return judge(part, path, student=student)
files = sorted((folder / "in").iterdir())
submissions = [Submission(student=path.stem, path=path, modified=NOON, notes=()) for path in files]
run = grade_all(assignment(), submissions, Gradebook(folder / "book"), slow, again=sys.argv[2:])
print(run.graded, run.reused, run.failed)
"""


def run_and_kill(folder, until, *again):
    """Start the run in a process of its own, kill it when `until` submissions were begun, start it again."""
    root = str(Path(__file__).parents[2])
    line = [sys.executable, "-c", SCRIPT.format(root=root), str(folder), *again]
    calls = folder / "calls"
    process = subprocess.Popen(line, cwd=root, stdout=subprocess.PIPE)
    while not calls.exists() or len(calls.read_text().split()) < until:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    saved = {json.loads(path.read_text())["grade"]["student"] for path in (folder / "book").glob("*.json")}
    before = calls.read_text().split()
    again_line = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True)
    return saved, before, calls.read_text().split()[len(before) :], again_line.stdout.split()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_goes_on_with_nothing_lost_and_nothing_saved_judged_again(tmp_path):
    (tmp_path / "in").mkdir()
    names = {f"student{number:02}" for number in range(30)}
    for name in names:
        (tmp_path / "in" / f"{name}.ipynb").write_text(name)
    saved, before, after, counts = run_and_kill(tmp_path, 12)
    assert 10 <= len(saved) <= len(before) < 30
    assert not saved & set(after)
    assert saved | set(after) == names
    assert len(after) == len(set(after))
    assert len(before) - len(saved) <= 2  # what the two workers had in hand
    assert counts == [str(len(after)), str(len(saved)), "0"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_regrading_goes_on_too(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"s{number:02}.ipynb").write_text(str(number))
    files = [Submission(student=p.stem, path=p, modified=NOON, notes=()) for p in sorted((tmp_path / "in").iterdir())]
    grade_all(assignment(), files, Gradebook(tmp_path / "book"), Judge())
    _, before, after, _ = run_and_kill(tmp_path, 6, "q2")
    assert 12 <= len(before) + len(after) <= 12 + 2
    run = grade_all(assignment(), files, Gradebook(tmp_path / "book"), judge := Judge(), again=["q2"])
    assert (run.graded, len(judge.asked)) == (12, 12)  # the killed one has ended; this is a new request


def test_two_hundred_submissions_resume_and_finish(folder, book):
    submissions = [submission(folder, f"s{number}", str(number)) for number in range(200)]

    class Stops(Judge):
        def __call__(self, *args, **named):
            if len(self.asked) == 120:
                raise KeyboardInterrupt
            return super().__call__(*args, **named)

    with pytest.raises(KeyboardInterrupt):
        grade_all(assignment(), submissions, book, Stops())
    steps = []
    run = grade_all(assignment(), submissions, book, judge := Judge(), progress=steps.append)
    assert run.reused >= 117
    assert run.graded == len(judge.asked) == 200 - run.reused
    assert [step.done for step in steps] == list(range(1, 201))
    assert all(values == [2, 3, 0] for values in points(run).values())


@pytest.mark.parametrize("text", ["breaks the judge", "leaves the judge"])
def test_a_failure_in_the_judge_is_a_grade_of_0_with_a_note_and_stops_nothing(folder, book, text):
    submissions = [submission(folder, "Anna", text), submission(folder, "Bo", "fine")]
    steps = []
    run = grade_all(assignment(), submissions, book, Judge(), progress=steps.append)
    assert (run.graded, run.failed) == (1, 1)
    assert points(run) == {"Anna": [0, 0, 0], "Bo": [2, 3, 0]}
    assert "ask your teacher" in run.grades[0][1].notes[0]
    assert run.grades[0][1].questions[2].by_hand
    problems = [step.problem for step in steps if step.problem]
    assert len(problems) == 1
    assert "expected 42" in problems[0] or "SystemExit" in problems[0]
    assert "expected 42" not in str(run.grades)  # what the judge knows is not for students


def test_what_failed_is_tried_again_by_the_next_run(folder, book):
    one = submission(folder, "Anna", "breaks the judge")
    grade_all(assignment(), [one], book, Judge())
    run = grade_all(
        assignment(), [one], book, lambda part, path, *, student: replace(good(part, student), submission="")
    )
    assert (run.graded, points(run)) == (1, {"Anna": [4, 6, 0]})
    assert "judged" not in str(run.grades[0][1].notes)


def good(part, student):
    results = [
        QuestionResult(
            name=q.name, points=0.0 if q.kind == "written" else q.points, most=q.points, by_hand=q.kind == "written"
        )
        for q in part.questions
    ]
    return Grade(student=student, assignment=part.name, submission="", questions=tuple(results))


def test_a_file_that_cannot_be_read_fails_alone(folder, book):
    gone, link, there = (submission(folder, name, name) for name in ("Anna", "Bo", "Chen"))
    gone.path.unlink()
    link.path.unlink()
    link.path.symlink_to(there.path)  # to the work of another
    run = grade_all(assignment(), [gone, link, there], book, judge := Judge())
    assert (run.graded, run.failed, len(judge.asked)) == (1, 2, 1)
    assert points(run) == {"Anna": [0, 0, 0], "Bo": [0, 0, 0], "Chen": [2, 3, 0]}
    assert len(list(book.folder.glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"points": 99.0}, "99.0 of 4 points"),
        ({"points": -1.0}, "-1.0 of 4 points"),
        ({"points": float("nan")}, "nan of 4 points"),
        ({"most": 9.0}, "points for q1"),
        ({"name": "q9"}, "was asked for"),
    ],
)
def test_results_that_cannot_be_are_a_failure_of_the_judge(folder, book, change, why):
    def wrong(part, path, *, student):
        grade = good(part, student)
        return replace(grade, questions=(replace(grade.questions[0], **change), *grade.questions[1:]))

    steps = []
    run = grade_all(assignment(), [submission(folder, "Anna")], book, wrong, progress=steps.append)
    assert (run.failed, points(run)) == (1, {"Anna": [0, 0, 0]})
    assert why in steps[0].problem


def test_a_file_that_changes_under_the_judge_is_not_recorded(folder, book):
    run = grade_all(
        assignment(),
        [submission(folder, "Anna")],
        book,
        lambda p, path, *, student: replace(good(p, student), submission="00"),
    )
    assert run.failed == 1


def test_only_questions_that_changed_are_judged_again(folder, book):
    one = submission(folder, "Anna")
    grade_all(assignment(), [one], book, Judge())
    changed = assignment(q2={"probes": "def probes(rng): yield"}, q1={"title": "New words", "rubric": "for you"})
    run = grade_all(changed, [one], book, judge := Judge(share=1.0))
    assert judge.asked == [("Anna", "q2")]
    assert points(run) == {"Anna": [2, 6, 0]}
    back = grade_all(assignment(), [one], book, again := Judge())  # the old assignment is still in the book
    assert (points(back), again.asked) == ({"Anna": [2, 3, 0]}, [])


def test_a_question_that_is_gone_or_new_changes_only_itself(folder, book):
    one = submission(folder, "Anna")
    old = assignment()
    grade_all(replace(old, questions=old.questions[:2]), [one], book, Judge())
    run = grade_all(replace(old, questions=old.questions[1:]), [one], book, judge := Judge())
    assert judge.asked == [("Anna", "q3")]
    assert points(run) == {"Anna": [3, 0]}


@pytest.mark.parametrize(("again", "asked"), [(["q2"], ("Anna", "q2")), (["all"], ("Anna", "q1", "q2", "q3"))])
def test_regrading_asks_what_was_named(folder, book, again, asked):
    one = submission(folder, "Anna")
    grade_all(assignment(), [one], book, Judge())
    run = grade_all(assignment(), [one], book, judge := Judge(share=1.0), again=again)
    assert judge.asked == [asked]
    assert points(run)["Anna"][1] == 6
    assert points(grade_all(assignment(), [one], book, judge)) == points(run)


def test_a_regrading_that_fails_keeps_the_points(folder, book):
    one = submission(folder, "Anna")
    grade_all(assignment(), [one], book, Judge())

    def broken(part, path, *, student):
        raise OSError("no disk")

    run = grade_all(assignment(), [one], book, broken, again=["all"])
    assert (run.failed, points(run)) == (1, {"Anna": [2, 3, 0]})
    later = grade_all(assignment(), [one], book, judge := Judge())
    assert (later.reused, judge.asked, points(later)) == (1, [], {"Anna": [2, 3, 0]})


def test_a_full_disk_stops_the_run_and_says_so(folder, book, monkeypatch):
    def full(*_):
        raise InputError("a place to write", got="No space left on device")

    monkeypatch.setattr(Gradebook, "save", full)
    with pytest.raises(InputError, match="No space left"):
        grade_all(assignment(), [submission(folder, "Anna")], book, Judge())


def test_an_unknown_question_and_no_worker_are_refused(folder, book):
    with pytest.raises(InputError, match=r"q1, q2, q3, or all"):
        grade_all(assignment(), [], book, Judge(), again=["q7"])
    with pytest.raises(InputError, match="at least one worker"):
        grade_all(assignment(), [], book, Judge(), workers=0)


def test_a_second_run_at_the_same_time_is_refused(folder, book):
    pytest.importorskip("fcntl", reason="Windows has no lock for it")
    with book.alone(), pytest.raises(InputError, match="another run is filling it"):
        grade_all(assignment(), [], Gradebook(book.folder), Judge())
    assert grade_all(assignment(), [], book, Judge()).graded == 0


def test_a_record_that_is_broken_or_foreign_is_judged_again(folder, book):
    one = submission(folder, "Anna")
    grade_all(assignment(), [one], book, Judge())
    (record,) = book.folder.glob("*.json")
    for text in ("", '{"grade": 3}', record.read_text().replace("03_try", "04_other")):
        record.write_text(text)
        assert grade_all(assignment(), [one], book, judge := Judge()).graded == 1
        assert len(judge.asked) == 1


def test_names_that_are_no_file_names_are_kept_apart(folder, book):
    names = ["../../etc/passwd", "a/b", "a b", "M\udcfcller", "M\udcf6ller", "王", "", "x" * 300]
    run = grade_all(assignment(), [submission(folder, name, "same") for name in names], book, judge := Judge())
    assert len(judge.asked) == len(names) == run.graded
    assert len(list(book.folder.glob("*.json"))) == len(names)
    assert grade_all(assignment(), [one for one, _ in run.grades], book, judge).reused == len(names)


def test_the_fingerprint_is_of_what_decides_points():
    same_points = assignment(q1={"title": "other", "rubric": "other"})
    assert fingerprints(assignment()) == fingerprints(same_points)
    for change in ({"points": 5}, {"probes": "other"}, {"kind": "experiment"}):
        assert fingerprints(assignment())["q1"] != fingerprints(assignment(q1=change))["q1"]


# --- what counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "days", "penalty"),
    [(-1, 0, 0), (0, 0, 0), (0.4, 0, 0), (0.6, 1, 0.1), (24, 1, 0.1), (24.1, 2, 0.2), (24 * 9, 9, 0.35)],
)
def test_lateness_counts_days_begun_after_the_grace(hours, days, penalty):
    late = Late(deadline=NOON, per_day=0.1, most=0.35, grace=timedelta(minutes=30))
    assert late.of(NOON + timedelta(hours=hours)) == (days, pytest.approx(penalty))


def test_lateness_takes_a_share_of_the_points_and_a_naive_deadline_is_local():
    grade = settled(
        good(assignment(), "Anna"), NOON + timedelta(hours=30), late=Late(deadline=NOON, per_day=0.2), by_hand={}
    )
    assert (grade.late_days, grade.points) == (2, pytest.approx(10 * 0.6))
    naive = NOON.astimezone().replace(tzinfo=None)
    assert Late(deadline=naive).of(NOON + timedelta(seconds=1)) == Late(deadline=NOON).of(NOON + timedelta(seconds=1))


@pytest.mark.parametrize("wrong", [{"per_day": 1.5}, {"most": -0.1}, {"grace": timedelta(minutes=-1)}])
def test_a_late_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError):
        Late(deadline=NOON, **wrong)


def test_the_latest_submission_counts_or_the_best(folder, book):
    tries = [
        submission(folder, name, text, hours=hours)
        for name, text, hours in [("Anna", "second", 2), ("anna ", "first", 1), ("Bo", "only", 0)]
    ]
    assert [one.path.read_text() for one in latest(tries)] == ["second", "only"]
    grades = [
        replace(good(assignment(), one.student), penalty=penalty)
        for one, penalty in zip(tries, (0.5, 0.1, 0), strict=True)
    ]
    assert [grade.penalty for grade in counting(grades, keep="best")] == [0.1, 0]
    with pytest.raises(InputError, match="latest, best"):
        counting(grades, keep="first")


def manual(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "manual.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_points_given_by_hand_are_merged_and_leave_the_book_alone(folder, book, tmp_path):
    one = submission(folder, "Müller, Änne")
    run = grade_all(assignment(), [one], book, Judge())
    (record,) = book.folder.glob("*.json")
    before = record.read_bytes()
    path = manual(
        tmp_path, '\ufeffStudent;Question;Points;Comment\r\n"müller,  änne";q3;4,5;"gut; ""sehr"" gut"\r\n;;;\r\n'
    )
    by_hand = read_by_hand(path, assignment(), [one.student])
    grade = settled(run.grades[0][1], NOON, late=None, by_hand=by_hand)
    assert [result.points for result in grade.questions] == [2, 3, 4.5]
    assert grade.questions[2].comment == 'gut; "sehr" gut'
    assert waits(run.grades[0][1], {}) == ["q3"]
    assert waits(grade, by_hand) == []
    assert record.read_bytes() == before


def test_points_by_hand_may_replace_points_of_the_judge(tmp_path):
    by_hand = read_by_hand(manual(tmp_path, "student,question,points\nAnna,q1,0\n"), assignment(), ["Anna"])
    grade = settled(good(assignment(), "Anna"), NOON, late=None, by_hand=by_hand)
    assert [result.points for result in grade.questions] == [0, 6, 0]
    assert [row[4] for row in table([grade], by_hand).rows] == ["by hand", "judged", "waits"]


def test_every_wrong_line_is_named_and_nothing_is_taken(tmp_path):
    text = 'student,question,points,comment\nAnna,q1,4,"two\nlines"\nEve,q1,1,\nAnna,q9,1,\nAnna,q2,6.5,\nAnna,q2,-1,\n'
    text += "Anna,q2,many,\nAnna,q2,nan,\nAnna,q1,3,\nAnna,q3,,later\n,q3,1,\n"
    with pytest.raises(DataError) as error:
        read_by_hand(manual(tmp_path, text), assignment(), ["Anna", "Bo"])
    lines = [line.strip() for line in error.value.got.splitlines()]
    assert lines == [
        "line 4: no submission by Eve",
        "line 5: no question 'q9', only q1, q2, q3",
        "line 6: 6.5 points for q2, which has 6",
        "line 7: -1 points for q2, which has 6",
        "line 8: 'many' is no number of points",
        "line 9: 'nan' is no number of points",
        "line 10: Anna has points for q1 already",
        "line 12: no submission by a student without a name",
    ]


@pytest.mark.parametrize(
    ("text", "encoding", "why"),
    [
        ("student,points\nAnna,3\n", "utf-8", "columns student, question, points"),
        ("student,question,points\nMüller,q1,3\n", "cp1252", "other bytes at line 2"),
        ("", "utf-8", "an empty file"),
        ("student,question,points\nAnna,q1,3,good, but\n", "utf-8", "at most 3 cells at line 2"),
        ('student,question,points\nAnna,q1,"3\n', "utf-8", "CSV in manual.csv"),
    ],
)
def test_a_file_of_points_that_cannot_be_read_says_why(tmp_path, text, encoding, why):
    with pytest.raises(DataError, match=why):
        read_by_hand(manual(tmp_path, text, encoding), assignment(), ["Anna", "Müller"])


def test_the_tables_have_all_rows_no_bom_and_no_formula(folder, tmp_path):
    names = ["Änne", "=HYPERLINK(1)", "+1", "-1", "@x", "a\nb"]
    grades = [replace(good(assignment(), name), notes=('=cmd|"/c calc"!A1',)) for name in names]
    by_hand = {("änne", "q3"): ByHand(points=2.5, comment="=1+1")}
    grades = [settled(grade, NOON, late=None, by_hand=by_hand) for grade in grades]
    for name, sheet in (("grades", table(grades, by_hand)), ("totals", totals(assignment(), grades, by_hand, {}))):
        raw = write_sheet(tmp_path / f"{name}.csv", sheet).read_bytes()
        assert raw.startswith((b"student,question", b"assignment,student"))
        read = read_sheet(tmp_path / f"{name}.csv")
        assert not [cell for row in read.rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert len(read_sheet(tmp_path / "grades.csv").rows) == 6 * 3
    first = read.rows[0]
    assert first[:4] == ["03_try", "Änne", "12.5", "15"]
    assert [row[read.header.index("waiting")] for row in read.rows] == ["", *["q3"] * 5]


def test_what_waits_can_be_filled_in_and_read_back(tmp_path):
    names = ["=1+1", "Anna", "a\udcfcb"]
    grades = [good(assignment(), name) for name in names]
    sheet = waiting(grades, {})
    for row in sheet.rows:
        row[2:] = ["5", "fine"]
    by_hand = read_by_hand(write_sheet(tmp_path / "waiting.csv", sheet), assignment(), names)
    assert by_hand == {(same(name), "q3"): ByHand(points=5, comment="fine") for name in names}
    assert waiting(grades, by_hand).rows == []
